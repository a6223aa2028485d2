package convert

import (
	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
)

// minZoneAware is how many endpoints a region has at least for zones to be kept to; Istio's
// and Envoy's default.
const minZoneAware = 6

func loadBalancer(from *v1alpha1.LoadBalancerSettings) *mesh.LoadBalancer {
	if from == nil {
		return nil
	}
	to := &mesh.LoadBalancer{Algorithm: mesh.LeastRequest, Locality: locality(from)}
	switch from.Simple {
	case string(mesh.RoundRobin), string(mesh.Random), string(mesh.Passthrough):
		to.Algorithm = mesh.Algorithm(from.Simple)
	}
	if hash := from.ConsistentHash; hash != nil {
		to.Hash = hashKey(hash)
		to.Algorithm = mesh.MaglevHash
		switch {
		case hash.RingHash != nil:
			to.Algorithm, to.TableSize = mesh.RingHash, uint64(hash.RingHash.MinimumRingSize)
		case hash.MinimumRingSize > 0:
			to.Algorithm, to.TableSize = mesh.RingHash, uint64(hash.MinimumRingSize)
		case hash.Maglev != nil:
			to.TableSize = uint64(hash.Maglev.TableSize)
		}
	}
	switch warmup := from.Warmup; {
	case warmup != nil:
		to.Warmup = &mesh.Warmup{
			Duration: duration(&warmup.Duration), MinimumPercent: float64(orElse(warmup.MinimumPercent, 10)), Aggression: float64(orElse(warmup.Aggression, 1)),
		}
	case from.WarmupDurationSecs != nil:
		to.Warmup = &mesh.Warmup{Duration: duration(from.WarmupDurationSecs), MinimumPercent: 10, Aggression: 1}
	}
	return to
}

func hashKey(from *v1alpha1.ConsistentHashLB) *mesh.Hash {
	to := &mesh.Hash{Header: from.HTTPHeaderName, Query: from.HTTPQueryParameterName, SourceIP: from.UseSourceIP}
	if cookie := from.HTTPCookie; cookie != nil {
		to.Cookie = &mesh.Cookie{Name: cookie.Name, Path: cookie.Path, TTL: orZero(cookie.TTL)}
		for _, attribute := range cookie.Attributes {
			to.Cookie.Attributes = append(to.Cookie.Attributes, mesh.HeaderValue{Name: attribute.Name, Value: attribute.Value})
		}
	}
	return to
}

func locality(from *v1alpha1.LoadBalancerSettings) *mesh.LocalityPreference {
	switch setting, zones := from.LocalityLbSetting, from.ZoneAwareLbSetting; {
	case setting != nil:
		to := &mesh.LocalityPreference{
			Off: !orElse(setting.Enabled, true), Failover: failover(setting.Failover), Priority: setting.FailoverPriority,
		}
		for _, share := range setting.Distribute {
			shares := make(map[string]uint32, len(share.To))
			for place, weight := range share.To {
				shares[place] = uint32(weight)
			}
			to.Distribute = append(to.Distribute, mesh.Distribution{From: share.From, To: shares})
		}
		return to
	case zones != nil && orElse(zones.Enabled, true):
		return &mesh.LocalityPreference{
			ZoneAware: uint32(orElse(zones.MinClusterSize, minZoneAware)), Failover: failover(zones.Failover), Priority: zones.FailoverPriority,
		}
	}
	return nil
}

func failover(from []v1alpha1.LocalityFailover) []mesh.Failover {
	var to []mesh.Failover
	for _, pair := range from {
		to = append(to, mesh.Failover{From: pair.From, To: pair.To})
	}
	return to
}
