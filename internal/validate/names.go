package validate

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

var (
	dnsName     = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$`)
	subsetNames = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$`)
	// authorities are hosts with or without a port, in the characters that RFC 3986
	// allows there; a user name before an "@" has no place in HTTP.
	authorities = regexp.MustCompile(`^[-A-Za-z0-9._~!$&'()*+,;=:\[\]]+$`)
)

// routedHost checks a host that traffic is routed by, perhaps with a wildcard, and reports
// whether it is one.
func (c *checker) routedHost(path *field.Path, host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		c.notImplemented(path, "IP addresses as hosts are", "name the service")
		return false
	}
	// After a wildcard comes the rest of a label, or of a name.
	rest, wild := strings.CutPrefix(host, "*")
	switch {
	case wild && rest == "":
		return true
	case wild:
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, "."), "-")
	}
	return c.host(path, rest)
}

// exportTo checks the namespaces that see an object.
func (c *checker) exportTo(path *field.Path, namespaces []string) {
	for i, namespace := range namespaces {
		switch namespace {
		case "*", ".", mesh.Nowhere:
		default:
			if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
				c.invalid(path.Index(i), fmt.Sprintf("%q is not a namespace", namespace), `write namespaces, "." for this one, "*" for all or "~" for none`)
			}
		}
	}
}

// host checks a service's name and reports whether it is one. That an IP address names no
// service is found when it is looked for.
func (c *checker) host(path *field.Path, host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if len(host) > validation.DNS1123SubdomainMaxLength || !dnsName.MatchString(host) {
		c.invalid(path, fmt.Sprintf("%q is not a host name", host), "write a name such as reviews or reviews.prod.svc.cluster.local, without scheme, port or path")
		return false
	}
	return true
}

func (c *checker) subsetName(path *field.Path, name string) {
	if len(name) > validation.DNS1123LabelMaxLength || !subsetNames.MatchString(name) {
		c.invalid(path, fmt.Sprintf("%q is not a subset's name", name), "use letters, digits and hyphens, at most 63")
	}
}

// labels checks labels as the API server does for Pods: no Pod could have any others.
func (c *checker) labels(path *field.Path, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		at := path.Key(key)
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			c.invalid(at, fmt.Sprintf("%q cannot be a label's name", key), problems[0])
		}
		if problems := validation.IsValidLabelValue(labels[key]); len(problems) > 0 {
			c.invalid(at, fmt.Sprintf("%q cannot be a label's value", labels[key]), problems[0])
		}
	}
}

func (c *checker) port(path *field.Path, number int32) {
	if problems := validation.IsValidPortNum(int(number)); len(problems) > 0 {
		c.invalid(path, fmt.Sprintf("%d is not a port", number), "set a port from 1 to 65535")
	}
}

// maxDuration is the longest that Envoy 1.40 takes, found by trying: one second more is
// refused as out of range.
const maxDuration = 9223372035 * time.Second

func (c *checker) duration(path *field.Path, duration v1alpha1.Duration) {
	if d, err := duration.Parse(); err != nil || d < time.Millisecond || d > maxDuration {
		c.invalid(path, fmt.Sprintf("%q is not a duration from 1ms to 292 years", string(duration)), "write a number with a unit of h, m, s or ms, such as 5s or 1m30s")
	}
}

// authority checks a new host for requests or redirects.
func (c *checker) authority(path *field.Path, authority string) {
	if authority != "" && !authorities.MatchString(authority) {
		c.invalid(path, fmt.Sprintf("%q is not an authority", authority), "write a host, with or without a port, without scheme or path")
	}
}

// newPath checks a path that is to take the place of another.
func (c *checker) newPath(path *field.Path, value string) {
	switch {
	case value == "":
	case !strings.HasPrefix(value, "/"):
		c.invalid(path, fmt.Sprintf("%q is not an absolute path", value), "begin it with /")
	case !printable(value):
		c.invalid(path, "it contains spaces or control characters", "write such characters in percent encoding, as %20")
	}
}

// regex checks an expression and returns it compiled, nil if it is not one. How large an
// expression may become in a proxy is a setting of the proxy (re2.max_program_size).
func (c *checker) regex(path *field.Path, expression string) *regexp.Regexp {
	// Go's syntax is RE2's, apart from \C (RE2: one byte), which Go refuses, and from code
	// points above \x{FF}, which Envoy refuses, as it compares bytes.
	compiled, err := regexp.Compile(expression)
	if escape := escapeBeyondByte(expression); err == nil && escape != "" {
		err = fmt.Errorf("%s is above \\x{FF}: write the character itself", escape)
	}
	var syntaxError *syntax.Error
	if errors.As(err, &syntaxError) {
		// Its own text repeats the expression or a part of it.
		err = errors.New(syntaxError.Code.String())
	}
	if err != nil {
		c.add(message.InvalidRegex(c.object, path.String(), expression, err))
		return nil
	}
	return compiled
}

// escapes are a backslash with what belongs to it.
var escapes = regexp.MustCompile(`\\(x\{[0-9A-Fa-f]+\}|.)`)

// escapeBeyondByte returns the first escape of a code point above 0xFF, nothing if there is none.
func escapeBeyondByte(expression string) string {
	for _, escape := range escapes.FindAllString(expression, -1) {
		digits, isCodePoint := strings.CutPrefix(escape, `\x{`)
		if isCodePoint && len(strings.TrimLeft(strings.TrimSuffix(digits, "}"), "0")) > 2 {
			return escape
		}
	}
	return ""
}

// printable reports whether the text has no white space and no control characters.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
