package schema

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Choices decide what a random value is: each byte one decision. Where none is left, nothing
// more is set.
type Choices []byte

// next returns a number below n.
func (c *Choices) next(n int) int {
	if len(*c) == 0 || n == 0 {
		return 0
	}
	first := int((*c)[0])
	*c = (*c)[1:]
	return first % n
}

// Value makes one of the schema, such as fields may have that belong together: names of the
// things that there are, and some that mean nothing. A field is given where it is required and
// by choice.
func Value(name string, schema apiextensionsv1.JSONSchemaProps, c *Choices) any {
	switch {
	case len(schema.Enum) > 0:
		return strings.Trim(string(schema.Enum[c.next(len(schema.Enum))].Raw), `"`)
	case schema.XIntOrString:
		return pick(c, "10%", "0%", "100%", "3")
	}
	switch schema.Type {
	case "object":
		return object(schema, c)
	case "array":
		list := []any{}
		for range 1 + c.next(3) {
			list = append(list, Value(strings.TrimSuffix(name, "s"), *schema.Items.Schema, c))
		}
		return list
	case "boolean":
		return c.next(2) == 1
	case "integer":
		if strings.Contains(strings.ToLower(name), "status") {
			return pick(c, 200, 503, 404, 301, 600)
		}
		return pick(c, 1, 0, 80, 100, 9080, 50, 443, 301, 65536, -1)
	case "number":
		return pick(c, 50.0, 0.0, 100.0, 0.1, 100.5)
	}
	return text(name, schema, c)
}

func object(schema apiextensionsv1.JSONSchemaProps, c *Choices) any {
	value := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		if slices.Contains(schema.Required, name) || c.next(4) == 1 {
			value[name] = Value(name, schema.Properties[name], c)
		}
	}
	if more := schema.AdditionalProperties; more != nil {
		for range 1 + c.next(2) {
			value[pick(c, "version", "x-a", "app", "eu/eu-1/*", "Host", "")] = Value("value", *more.Schema, c)
		}
	}
	return value
}

// text is a string that may stand in a field of the name.
func text(name string, schema apiextensionsv1.JSONSchemaProps, c *Choices) string {
	lower := strings.ToLower(name)
	given := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(lower, part) })
	}
	switch {
	case given("percent"):
		return pick(c, "10", "100", "0")
	case given("timeout", "delay", "interval", "ttl", "backoff", "time", "duration", "age", "keepalive", "probe"):
		return pick(c, "1s", "10ms", "0s", "1h", "-1s", "x")
	case given("host", "authority", "sni", "domain"):
		return pick(c, "reviews", "store.default.svc.cluster.local", "*.example.com", "shop.example", "*", "default/*", "./reviews", "192.0.2.7", "nowhere")
	case given("uri", "path", "prefix", "rewrite"):
		return pick(c, "/", "/a/b", "a", `/\1`, "")
	case given("regex", "match"):
		return pick(c, ".*", "/v([0-9]+)", "(", "a{1000}", "")
	case given("subset", "version", "name"):
		return pick(c, "v1", "v2", "http", "x-a", "default", "a/b")
	case given("gateway"):
		return pick(c, "mesh", "public", "default/public")
	case given("namespace", "exportto"):
		return pick(c, "default", "*", ".", "~", "other")
	case given("address", "subnet", "cidr", "endpoint", "bind"):
		return pick(c, "192.0.2.7", "10.0.0.0/8", "2001:db8::1", "unix:///x", "outside.example", "0.0.0.0")
	case schema.Format == "byte":
		return pick(c, "AAEC", "")
	}
	return pick(c, "v1", "GET", "a", "eu", "eu-1", "http", "spiffe://cluster.local/ns/a/sa/b", "", "é", "%")
}

func pick[T any](c *Choices, list ...T) T { return list[c.next(len(list))] }

// Prune takes a field, such as spec.http[0].match[1].headers, out of an object or, if it is not
// there, what it would stand in. It reports whether there was anything to take.
func Prune(object map[string]any, path string) bool {
	var take func()
	var value any = object
	for _, word := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		switch in := value.(type) {
		case map[string]any:
			below, found := in[word]
			if !found {
				continue
			}
			take = func() { delete(in, word) }
			value = below
		case []any:
			i, err := strconv.Atoi(word)
			if err != nil || i >= len(in) {
				continue
			}
			outer := take
			take = func() {
				if len(in) == 1 {
					outer()
					return
				}
				in[i] = in[(i+1)%len(in)] // a list of the same length, so that nothing above changes
			}
			value = in[i]
		}
	}
	if take == nil || path == "spec" {
		return false
	}
	take()
	return true
}
