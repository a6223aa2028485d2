package v1alpha1

// LoadBalancerSettings say how an endpoint is chosen.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.simple) && has(self.consistentHash))",message="set loadBalancer.simple or loadBalancer.consistentHash, not both"
// +kubebuilder:validation:XValidation:rule="!(has(self.localityLbSetting) && has(self.zoneAwareLbSetting))",message="set loadBalancer.localityLbSetting or loadBalancer.zoneAwareLbSetting, not both"
// +kubebuilder:validation:XValidation:rule="!(has(self.warmup) && has(self.warmupDurationSecs))",message="set loadBalancer.warmup only: warmupDurationSecs is its older form"
// +kubebuilder:validation:XValidation:rule="!(has(self.warmup) || has(self.warmupDurationSecs)) || !(has(self.consistentHash) || (has(self.simple) && self.simple in ['RANDOM', 'PASSTHROUGH']))",message="loadBalancer.warmup works with simple ROUND_ROBIN or LEAST_REQUEST only: change simple, or remove warmup"
type LoadBalancerSettings struct {
	// The algorithm. LEAST_CONN is LEAST_REQUEST's older name; UNSPECIFIED or unset:
	// LEAST_REQUEST; PASSTHROUGH: the address that the caller chose.
	// +optional
	// +kubebuilder:validation:Enum=UNSPECIFIED;LEAST_CONN;RANDOM;PASSTHROUGH;ROUND_ROBIN;LEAST_REQUEST
	Simple string `json:"simple,omitempty"`

	// Send what has the same key to the same endpoint, as far as endpoints stay.
	// +optional
	ConsistentHash *ConsistentHashLB `json:"consistentHash,omitempty"`

	// Preferences between localities, in place of the Service's trafficDistribution.
	// +optional
	LocalityLbSetting *LocalityLbSetting `json:"localityLbSetting,omitempty"`

	// Keep traffic within the zone, in proportion to its endpoints.
	// +optional
	ZoneAwareLbSetting *ZoneAwareLbSetting `json:"zoneAwareLbSetting,omitempty"`

	// Send new endpoints little at first.
	// +optional
	Warmup *WarmupConfiguration `json:"warmup,omitempty"`

	// The older form of warmup.duration.
	// +optional
	WarmupDurationSecs *Duration `json:"warmupDurationSecs,omitempty"`
}

// ConsistentHashLB chooses endpoints by a hash of a part of the request.
//
// +kubebuilder:validation:XValidation:rule="[has(self.httpHeaderName), has(self.httpCookie), has(self.useSourceIp), has(self.httpQueryParameterName)].exists_one(x, x)",message="set exactly one of consistentHash.httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName"
// +kubebuilder:validation:XValidation:rule="!has(self.useSourceIp) || self.useSourceIp",message="consistentHash.useSourceIp takes only true: remove it to use another key"
// +kubebuilder:validation:XValidation:rule="[has(self.ringHash), has(self.maglev), has(self.minimumRingSize)].filter(x, x).size() <= 1",message="set only one of consistentHash.ringHash, maglev and minimumRingSize (ringHash.minimumRingSize's older form)"
type ConsistentHashLB struct {
	// The key is this header.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	HTTPHeaderName string `json:"httpHeaderName,omitempty"`

	// The key is this cookie.
	// +optional
	HTTPCookie *HTTPCookie `json:"httpCookie,omitempty"`

	// The key is the caller's address.
	// +optional
	UseSourceIP bool `json:"useSourceIp,omitempty"`

	// The key is this query parameter.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	HTTPQueryParameterName string `json:"httpQueryParameterName,omitempty"`

	// Use a hash ring. When one of n endpoints goes, up to two of n keys move.
	// +optional
	RingHash *RingHash `json:"ringHash,omitempty"`

	// Use a Maglev table (also when no algorithm is set).
	// +optional
	Maglev *Maglev `json:"maglev,omitempty"`

	// The older form of ringHash.minimumRingSize.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=8388608
	MinimumRingSize int64 `json:"minimumRingSize,omitempty"`
}

// HTTPCookie is a cookie that identifies a client.
type HTTPCookie struct {
	// Its name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`

	// Its path, when the proxy makes it.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`

	// Its lifetime, when the proxy makes it; 0s: the browser's session. Unset: the proxy
	// makes none.
	// +optional
	TTL *DurationOrZero `json:"ttl,omitempty"`

	// More attributes, when the proxy makes it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Attributes []HTTPCookieAttribute `json:"attributes,omitempty"`
}

// HTTPCookieAttribute is an attribute of a cookie, such as SameSite=Strict.
type HTTPCookieAttribute struct {
	// Its name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`

	// Its value, if it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value,omitempty"`
}

// RingHash sizes the hash ring.
type RingHash struct {
	// Entries at least, up to Envoy's bound of 8388608. 0 or unset: 1024.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=8388608
	MinimumRingSize int64 `json:"minimumRingSize,omitempty"`
}

// Maglev sizes the Maglev table.
type Maglev struct {
	// Entries: a prime below 5000011. 0 or unset: 65537.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=5000011
	TableSize int64 `json:"tableSize,omitempty"`
}

// WarmupConfiguration lets a new endpoint's share grow.
type WarmupConfiguration struct {
	// How long until it has its full share.
	// +required
	Duration Duration `json:"duration"`

	// The share it starts with, in percent. Unset: 10.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MinimumPercent *Double `json:"minimumPercent,omitempty"`

	// How the share grows; 1.0: linearly, more: faster at first; no less. Unset: 1.0.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=0
	Aggression *Double `json:"aggression,omitempty"`
}

// LocalityLbSetting are preferences between localities, "region/zone/subzone".
//
// +kubebuilder:validation:XValidation:rule="!has(self.distribute) || !(has(self.failover) || has(self.failoverPriority))",message="set localityLbSetting.distribute, or failover and failoverPriority, not both"
type LocalityLbSetting struct {
	// Fixed shares by the caller's locality.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Distribute []LocalityDistribute `json:"distribute,omitempty"`

	// Which region stands in for which. Takes effect with outlierDetection.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Failover []LocalityFailover `json:"failover,omitempty"`

	// Labels in falling order of weight: endpoints that share more of them with the caller
	// ("key"), or have more of the values given ("key=value"), come first. Takes effect
	// with outlierDetection.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	FailoverPriority []string `json:"failoverPriority,omitempty"`

	// Whether localities count at all. Unset: they do.
	// +optional
	// +nullable
	Enabled *bool `json:"enabled,omitempty"`
}

// LocalityDistribute gives the shares for callers of one locality.
type LocalityDistribute struct {
	// The caller's locality; "*" may end it.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	From string `json:"from,omitempty"`

	// Shares by the endpoints' locality, in percent; their sum is 100.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	To map[string]LocalityWeight `json:"to,omitempty"`
}

// LocalityWeight is a share in percent, 0 to 100.
//
// +kubebuilder:validation:Minimum=0
// +kubebuilder:validation:Maximum=100
type LocalityWeight int32

// LocalityFailover names the region that stands in for another.
type LocalityFailover struct {
	// The region that fails.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	From string `json:"from,omitempty"`

	// The region that stands in.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	To string `json:"to,omitempty"`
}

// ZoneAwareLbSetting keeps traffic within the caller's zone while that has its share of
// the region's endpoints.
type ZoneAwareLbSetting struct {
	// Whether it is on. Unset: it is.
	// +optional
	// +nullable
	Enabled *bool `json:"enabled,omitempty"`

	// Which region stands in for which. Takes effect with outlierDetection.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Failover []LocalityFailover `json:"failover,omitempty"`

	// Labels as in localityLbSetting.failoverPriority; region, zone and subzone are already
	// taken into account and are not allowed here.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	FailoverPriority []string `json:"failoverPriority,omitempty"`

	// Fewer endpoints than this in the region turn it off. Unset: 6.
	// +optional
	// +nullable
	// +kubebuilder:validation:Minimum=1
	MinClusterSize *int32 `json:"minClusterSize,omitempty"`
}
