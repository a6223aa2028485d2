package bootstrap

func statsConfig() object {
	return object{
		"use_all_default_tags": false,
		"stats_tags":           statsTags(),
		"stats_matcher":        object{"inclusion_list": object{"patterns": keptStats()}},
	}
}

// statsTags take what varies out of a metric's name and make it a label. Labels that
// Envoy has itself keep its names, for the sake of dashboards, but not its expressions:
// those end a cluster's name at its first dot, and there are dots in every host. Envoy's
// other labels would be looked for in vain.
func statsTags() []object {
	// What follows a service's cluster is one word, save for failures of TLS, and that its
	// requests are counted three times: all of them, and those from inside and outside.
	// Nothing is certain of a host's name, so that word is looked for from the end.
	const failures = `ssl\.(?:connection_error|fail_verify_\w+)`
	const afterHost = `\.(?:(?:external|internal)\.upstream_rq_\w+|` + failures + `|\w+)$`
	const cluster = `^cluster\.`
	tag := func(name, regex string) object { return object{"tag_name": name, "regex": regex} }
	return []object{
		// The whole name, as /clusters has it: outbound|<port>|<subset>|<host>, app|<port>,
		// or one without a dot.
		tag("envoy.cluster_name", cluster+`(([^.|]+|[^.|]+\|.+?(?=`+afterHost+`))\.)`),
		tag("destination_port", cluster+`(?:outbound|app)\|((\d+))(?:\||\.)`),
		tag("destination_subset", cluster+`outbound\|\d+\|(([^|]+))\|`),
		tag("destination_host", cluster+`outbound\|\d+\|[^|]*\|((.+?))`+afterHost),
		tag("listener", `^listener\.((.+?)\.)(?:worker_\d+\.|main_thread\.|http\..+?\.)?(?:`+failures+`|\w+)$`),
		{"tag_name": "envoy.http_conn_manager_prefix"},
		{"tag_name": "envoy.tcp_prefix"},
		{"tag_name": "envoy.worker_id"},
		{"tag_name": "envoy.response_code_class"},
	}
}

// keptStats is what somebody reads: the agent, a person with a question, or a
// dashboard. All else would cost about a hundred counters for each cluster.
func keptStats() []object {
	var kept []object
	for _, prefix := range []string{
		"cluster_manager.",
		"control_plane.",
		"listener_manager.",
		"overload.",
		"runtime.",
		"server.",
		"cluster." + XDSCluster + ".",
	} {
		kept = append(kept, object{"prefix": prefix})
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
		// The failures of both sides' handshakes, which tell that certificates are wrong.
		"ssl.connection_error",
		"ssl.fail_verify_cert_hash",
		"ssl.fail_verify_error",
		"ssl.fail_verify_no_cert",
		"ssl.fail_verify_san",
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
		kept = append(kept, object{"suffix": suffix})
	}
	return kept
}
