package validate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
)

// headerNames are tokens, by RFC 9110 section 5.1. Envoy takes at most 16384 bytes; the
// bound here is that of the kind's schema.
var headerNames = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]{1,256}$")

func (c *checker) headerName(path *field.Path, name string) {
	if !headerNames.MatchString(name) {
		c.add(message.HeaderName(c.object, path.String(), fmt.Sprintf("%q is not a header's name", name), "use letters, digits and hyphens, at most 256"))
	}
}

func (c *checker) headers(path *field.Path, headers *v1alpha1.Headers) {
	if headers == nil {
		return
	}
	if request := headers.Request; request != nil {
		request = request.DeepCopy()
		c.newHost(path.Child("request", "set"), request.Set)
		c.headerOperations(path.Child("request"), request)
	}
	c.headerOperations(path.Child("response"), headers.Response)
}

// newHost checks the header that is another host for requests, and takes it from the others.
func (c *checker) newHost(path *field.Path, set map[string]string) {
	first := ""
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if lower := strings.ToLower(name); lower != "host" && lower != ":authority" {
			continue
		}
		if first != "" {
			c.add(message.Repeated(c.object, path.Key(name).String(), fmt.Sprintf("%q", name), fmt.Sprintf("%q", first)))
		}
		first = name
		if set[name] == "" {
			c.add(message.HeaderValue(c.object, path.Key(name).String(), "a request has a host", "write a host, with or without a port"))
		}
		c.authority(path.Key(name), set[name])
		delete(set, name)
	}
}

func (c *checker) headerOperations(path *field.Path, operations *v1alpha1.HeaderOperations) {
	if operations == nil {
		return
	}
	c.headerValues(path.Child("set"), operations.Set)
	c.headerValues(path.Child("add"), operations.Add)
	for i, name := range operations.Remove {
		c.changedHeader(path.Child("remove").Index(i), name)
	}
}

func (c *checker) headerValues(path *field.Path, values map[string]string) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		at := path.Key(name)
		lower := strings.ToLower(name)
		if first, found := seen[lower]; found {
			c.add(message.Repeated(c.object, at.String(), fmt.Sprintf("%q", name), fmt.Sprintf("%q", first)))
		}
		seen[lower] = name
		c.changedHeader(at, name)
		c.headerValue(at, values[name])
	}
}

// changedHeader checks the name of a header that is to be changed. Envoy refuses changes
// of pseudo-headers and of host (see its page "Custom request/response headers").
func (c *checker) changedHeader(path *field.Path, name string) {
	if strings.HasPrefix(name, ":") || strings.EqualFold(name, "host") {
		c.add(message.HeaderName(c.object, path.String(), fmt.Sprintf("%q cannot be changed among headers", name), "set it in request.set for the host, and use rewrite.uri for the path"))
		return
	}
	c.headerName(path, name)
}

// commandOperator is one of Envoy's, such as %REQ(x-user:x-other):20%, or a literal percent sign.
var commandOperator = regexp.MustCompile(`^%([A-Z][A-Z0-9_]*(\([^)]*\))?(:[0-9]+)?)?%`)

func (c *checker) headerValue(path *field.Path, value string) {
	// envoy.config.core.v3.HeaderValue.value: at most 16384 bytes, no NUL, CR or LF.
	if len(value) > 16384 || strings.ContainsAny(value, "\x00\r\n") {
		c.add(message.HeaderValue(c.object, path.String(), "the value has line breaks or is longer than 16384 bytes", "write it in one shorter line"))
		return
	}
	for rest := value; ; {
		i := strings.IndexByte(rest, '%')
		if i < 0 {
			return
		}
		operator := commandOperator.FindString(rest[i:])
		if operator == "" {
			c.add(message.HeaderValue(c.object, path.String(), fmt.Sprintf("the percent sign at %q begins no command operator of Envoy", rest[i:min(i+20, len(rest))]), "write a literal percent sign as %%"))
			return
		}
		rest = rest[i+len(operator):]
	}
}
