package validate

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
)

func (c *checker) loadBalancer(path *field.Path, settings *v1alpha1.LoadBalancerSettings) {
	passthrough := settings.Simple == "PASSTHROUGH"
	if settings.Simple != "" && settings.ConsistentHash != nil {
		c.conflict(path, "simple and consistentHash are both set", "set one of them")
	}
	if settings.ConsistentHash != nil {
		c.consistentHash(path.Child("consistentHash"), settings.ConsistentHash)
	}
	if warms := settings.Warmup != nil || settings.WarmupDurationSecs != nil; warms && (settings.ConsistentHash != nil || passthrough || settings.Simple == "RANDOM") {
		c.conflict(path, "warm-up works with ROUND_ROBIN and LEAST_REQUEST only", "change simple, or remove the warm-up")
	}
	if passthrough && (settings.LocalityLbSetting != nil || settings.ZoneAwareLbSetting != nil) {
		c.conflict(path, "PASSTHROUGH chooses no endpoint", "change simple, or remove localityLbSetting and zoneAwareLbSetting")
	}
	c.optionalDuration(path.Child("warmupDurationSecs"), settings.WarmupDurationSecs)
	if warmup := settings.Warmup; warmup != nil {
		at := path.Child("warmup")
		c.duration(at.Child("duration"), warmup.Duration)
		c.share(at.Child("minimumPercent"), warmup.MinimumPercent)
		if warmup.Aggression != nil && *warmup.Aggression < 1 {
			c.invalid(at.Child("aggression"), fmt.Sprintf("%v is below 1", *warmup.Aggression), "set 1 for a share that grows linearly, or more")
		}
	}
	if settings.LocalityLbSetting != nil {
		c.localities(path.Child("localityLbSetting"), settings.LocalityLbSetting)
	}
	if zones := settings.ZoneAwareLbSetting; zones != nil {
		at := path.Child("zoneAwareLbSetting")
		c.failover(at.Child("failover"), zones.Failover)
		c.failoverPriority(at.Child("failoverPriority"), zones.FailoverPriority, corev1.LabelTopologyRegion, corev1.LabelTopologyZone, "topology.istio.io/subzone")
		if settings.LocalityLbSetting != nil {
			c.conflict(path, "localityLbSetting and zoneAwareLbSetting are both set", "set one of them")
		}
	}
}

func (c *checker) consistentHash(path *field.Path, hash *v1alpha1.ConsistentHashLB) {
	keys := 0
	for _, set := range []bool{hash.HTTPHeaderName != "", hash.HTTPCookie != nil, hash.UseSourceIP, hash.HTTPQueryParameterName != ""} {
		if set {
			keys++
		}
	}
	if keys != 1 {
		c.conflict(path, fmt.Sprintf("%d keys are set", keys), "set exactly one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName")
	}
	if hash.HTTPHeaderName != "" {
		c.headerName(path.Child("httpHeaderName"), strings.TrimPrefix(hash.HTTPHeaderName, ":"))
	}
	if !printable(hash.HTTPQueryParameterName) {
		c.invalid(path.Child("httpQueryParameterName"), "it has spaces or control characters", "write the name as it stands in requests")
	}
	if cookie := hash.HTTPCookie; cookie != nil {
		c.cookie(path.Child("httpCookie"), cookie)
	}
	if hash.RingHash != nil && hash.Maglev != nil || hash.MinimumRingSize > 0 && (hash.RingHash != nil || hash.Maglev != nil) {
		c.conflict(path, "more than one algorithm is set", "set only one of ringHash, maglev and minimumRingSize")
	}
	if maglev := hash.Maglev; maglev != nil && maglev.TableSize != 0 && !big.NewInt(maglev.TableSize).ProbablyPrime(0) {
		c.invalid(path.Child("maglev", "tableSize"), fmt.Sprintf("%d is not a prime", maglev.TableSize), "set a prime such as 65537, 131071 or 524287")
	}
}

// cookie checks what becomes a Set-Cookie header.
func (c *checker) cookie(path *field.Path, cookie *v1alpha1.HTTPCookie) {
	const fix = "use letters, digits and hyphens"
	c.durationOrZero(path.Child("ttl"), cookie.TTL)
	if !headerNames.MatchString(cookie.Name) {
		c.invalid(path.Child("name"), fmt.Sprintf("%q is not a cookie's name", cookie.Name), fix)
	}
	if !cookieText(cookie.Path) {
		c.invalid(path.Child("path"), fmt.Sprintf("%q is not a cookie's path", cookie.Path), "write a path such as /")
	}
	for i, attribute := range cookie.Attributes {
		at := path.Child("attributes").Index(i)
		if !headerNames.MatchString(attribute.Name) || !cookieText(attribute.Value) {
			c.invalid(at, fmt.Sprintf("%s=%s is not a cookie's attribute", attribute.Name, attribute.Value), fix)
		}
		if cookie.TTL == nil {
			c.conflict(at, "the proxy makes no cookie without a ttl", "set ttl, or remove attributes")
		}
	}
	if cookie.Path != "" && cookie.TTL == nil {
		c.conflict(path.Child("path"), "the proxy makes no cookie without a ttl", "set ttl, or remove path")
	}
}

func cookieText(text string) bool { return printable(text) && !strings.Contains(text, ";") }

func (c *checker) localities(path *field.Path, setting *v1alpha1.LocalityLbSetting) {
	c.failover(path.Child("failover"), setting.Failover)
	c.failoverPriority(path.Child("failoverPriority"), setting.FailoverPriority)
	if len(setting.Distribute) > 0 && len(setting.Failover)+len(setting.FailoverPriority) > 0 {
		c.conflict(path, "distribute fixes the shares, and failover moves them", "set distribute, or failover and failoverPriority")
	}
	for i, share := range setting.Distribute {
		at := path.Child("distribute").Index(i)
		c.locality(at.Child("from"), share.From)
		sum := 0
		for _, place := range slices.Sorted(maps.Keys(share.To)) {
			c.locality(at.Child("to").Key(place), place)
			sum += int(share.To[place])
		}
		if sum != 100 {
			c.invalid(at.Child("to"), fmt.Sprintf("the shares sum up to %d", sum), "give shares of which the sum is 100")
		}
	}
}

// locality checks "region/zone/subzone", which "*" may end.
func (c *checker) locality(path *field.Path, text string) {
	parts := strings.Split(text, "/")
	for i, part := range parts {
		if part == "" || i > 2 || strings.Contains(part, "*") && (part != "*" || i < len(parts)-1) {
			c.invalid(path, fmt.Sprintf("%q is not a locality", text), `write region, region/zone or region/zone/subzone, with "*" as the last part for all`)
			return
		}
	}
}

func (c *checker) failover(path *field.Path, pairs []v1alpha1.LocalityFailover) {
	first := map[string]*field.Path{}
	for i, pair := range pairs {
		at := path.Index(i)
		for name, region := range map[string]string{"from": pair.From, "to": pair.To} {
			if region == "" || strings.ContainsAny(region, "*/") {
				c.invalid(at.Child(name), fmt.Sprintf("%q is not a region", region), "write the name of one region, without zone and wildcard")
			}
		}
		if pair.From == pair.To {
			c.conflict(at, "a region cannot stand in for itself", "change from or to")
		}
		if other := first[pair.From]; other != nil {
			c.add(message.Repeated(c.object, at.Child("from").String(), fmt.Sprintf("%q", pair.From), other.String()))
			continue
		}
		first[pair.From] = at.Child("from")
	}
}

func (c *checker) failoverPriority(path *field.Path, labels []string, taken ...string) {
	for i, label := range labels {
		key, value, _ := strings.Cut(label, "=")
		problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...)
		switch {
		case len(problems) > 0:
			c.invalid(path.Index(i), fmt.Sprintf("%q is not a label", label), problems[0])
		case slices.Contains(taken, key):
			c.conflict(path.Index(i), key+" is taken into account already", "remove it")
		}
	}
}

func (c *checker) optionalDuration(path *field.Path, duration *v1alpha1.Duration) {
	if duration != nil {
		c.duration(path, *duration)
	}
}

func (c *checker) durationOrZero(path *field.Path, duration *v1alpha1.DurationOrZero) {
	if duration == nil {
		return
	}
	if d, err := duration.Parse(); err != nil || d != 0 {
		c.duration(path, v1alpha1.Duration(*duration))
	}
}

// seconds checks a duration that the kernel takes in whole seconds.
func (c *checker) seconds(path *field.Path, duration *v1alpha1.Duration) {
	if duration == nil {
		return
	}
	if d, err := duration.Parse(); err != nil || d < time.Second || d%time.Second != 0 || d > 32767*time.Second {
		c.invalid(path, fmt.Sprintf("%q is not a number of whole seconds up to 32767s", string(*duration)), "write a duration such as 30s")
	}
}

func (c *checker) share(path *field.Path, percent *v1alpha1.Double) {
	if percent != nil && !(*percent >= 0 && *percent <= 100) {
		c.invalid(path, fmt.Sprintf("%v is not a share in percent", *percent), "set 0 to 100")
	}
}
