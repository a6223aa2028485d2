package bootstrap

func statsConfigOf() statsConfig {
	return statsConfig{
		StatsTags:    statsTags(),
		StatsMatcher: statsMatcher{InclusionList: keptStats()},
	}
}

// statsTags take what varies out of a metric's name and make it a label. Labels that
// Envoy has itself keep its names, for the sake of dashboards, but not its expressions:
// those end a cluster's name at its first dot, and there are dots in every host. Envoy's
// other labels would be looked for in vain.
func statsTags() []statsTag {
	// What follows a service's cluster is one word, save that its requests are counted
	// three times: all of them, and those from inside and outside. Nothing is certain of
	// a host's name, so that word is looked for from the end.
	const afterHost = `\.(?:(?:external|internal)\.upstream_rq_\w+|\w+)$`
	const cluster = `^cluster\.`
	return []statsTag{
		// The whole name, as /clusters has it: outbound|<port>|<subset>|<host>, app|<port>,
		// or one without a dot.
		{"envoy.cluster_name", cluster + `(([^.|]+|[^.|]+\|.+?(?=` + afterHost + `))\.)`},
		{"destination_port", cluster + `(?:outbound|app)\|((\d+))(?:\||\.)`},
		{"destination_subset", cluster + `outbound\|\d+\|(([^|]+))\|`},
		{"destination_host", cluster + `outbound\|\d+\|[^|]*\|((.+?))` + afterHost},
		{"listener", `^listener\.((.+?)\.)(?:worker_\d+\.|main_thread\.|http\..+?\.)?\w+$`},
		{TagName: "envoy.http_conn_manager_prefix"},
		{TagName: "envoy.tcp_prefix"},
		{TagName: "envoy.worker_id"},
		{TagName: "envoy.response_code_class"},
	}
}

// keptStats is what somebody reads: the agent, a person with a question, or a
// dashboard. All else would cost about a hundred counters for each cluster.
func keptStats() stringMatchers {
	var kept stringMatchers
	for _, prefix := range []string{
		"cluster_manager.",
		"control_plane.",
		"listener_manager.",
		"overload.",
		"runtime.",
		"server.",
		"cluster." + XDSCluster + ".",
	} {
		kept.Patterns = append(kept.Patterns, stringMatcher{Prefix: prefix})
	}
	for _, suffix := range []string{
		"downstream_cx_active",
		// Which of them a drain has to wait for.
		"downstream_cx_http1_active",
		"downstream_cx_http2_active",
		"downstream_cx_overflow",
		"downstream_cx_total",
		"downstream_rq_2xx",
		"downstream_rq_3xx",
		"downstream_rq_4xx",
		"downstream_rq_5xx",
		"downstream_rq_active",
		"downstream_rq_time",
		"downstream_rq_total",
		"membership_healthy",
		"membership_total",
		"no_cluster",
		"no_route",
		"update_rejected",
		"upstream_cx_active",
		"upstream_cx_connect_fail",
		"upstream_cx_overflow",
		"upstream_cx_total",
		"upstream_rq_2xx",
		"upstream_rq_4xx",
		"upstream_rq_5xx",
		"upstream_rq_active",
		"upstream_rq_pending_overflow",
		"upstream_rq_retry",
		"upstream_rq_timeout",
		"upstream_rq_total",
		// Deferred counters remember by this gauge that they had been in use when a
		// cluster is replaced; filtered out, they would start again.
		".initialized",
	} {
		kept.Patterns = append(kept.Patterns, stringMatcher{Suffix: suffix})
	}
	return kept
}
