package validate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
)

// maxBody is the largest body of a direct response, as the kind's schema has it.
const maxBody = 1 << 20

func (c *checker) redirect(path *field.Path, redirect *v1alpha1.HTTPRedirect) {
	if redirect.URI == "" && redirect.PrefixRewrite == "" && redirect.Authority == "" &&
		redirect.Scheme == "" && redirect.Port == 0 && redirect.DerivePort == "" {
		c.conflict(path, "it changes nothing", "set uri, prefixRewrite, authority, scheme, port or derivePort")
	}
	if redirect.URI != "" && redirect.PrefixRewrite != "" {
		c.conflict(path, "uri and prefixRewrite are both set", "set one of them")
	}
	c.newPath(path.Child("uri"), redirect.URI)
	c.newPath(path.Child("prefixRewrite"), redirect.PrefixRewrite)
	c.authority(path.Child("authority"), redirect.Authority)
	if redirect.Port != 0 {
		c.port(path.Child("port"), redirect.Port)
		if redirect.DerivePort != "" {
			c.conflict(path, "port and derivePort are both set", "set one of them")
		}
	}
	if !slices.Contains([]string{"", v1alpha1.FromProtocolDefault, v1alpha1.FromRequestPort}, redirect.DerivePort) {
		c.invalid(path.Child("derivePort"), fmt.Sprintf("%q is unknown", redirect.DerivePort), "use FROM_PROTOCOL_DEFAULT or FROM_REQUEST_PORT")
	}
	if !slices.Contains([]string{"", "http", "https"}, redirect.Scheme) {
		c.invalid(path.Child("scheme"), fmt.Sprintf("%q is not a scheme", redirect.Scheme), "use http or https")
	}
	if !slices.Contains([]int32{0, 301, 302, 303, 307, 308}, redirect.RedirectCode) {
		c.invalid(path.Child("redirectCode"), fmt.Sprintf("%d is not a code for redirects", redirect.RedirectCode), "use 301, 302, 303, 307 or 308")
	}
}

func (c *checker) directResponse(path *field.Path, response *v1alpha1.HTTPDirectResponse) {
	if response.Status < 200 || response.Status > 599 {
		c.invalid(path.Child("status"), fmt.Sprintf("%d is not a status", response.Status), "use 200 to 599")
	}
	body := response.Body
	if body == nil {
		return
	}
	path = path.Child("body")
	if (body.String != nil) == (body.Bytes != nil) {
		c.conflict(path, "a body is either text or bytes", "set exactly one of string and bytes")
		return
	}
	if len(body.Bytes) > maxBody || body.String != nil && len(*body.String) > maxBody {
		c.invalid(path, "it is longer than 1 MiB", "answer from a service instead")
	}
}

func (c *checker) rewrite(path *field.Path, rewrite *v1alpha1.HTTPRewrite) {
	regex := rewrite.URIRegexRewrite
	switch {
	case rewrite.URI != "" && regex != nil:
		c.conflict(path, "uri and uriRegexRewrite are both set", "set one of them")
	case rewrite.URI == "" && regex == nil && rewrite.Authority == "":
		c.conflict(path, "it changes nothing", "set uri, uriRegexRewrite or authority")
	}
	c.newPath(path.Child("uri"), rewrite.URI)
	c.authority(path.Child("authority"), rewrite.Authority)
	if regex == nil {
		return
	}
	path = path.Child("uriRegexRewrite")
	if regex.Match == "" {
		c.invalid(path.Child("match"), "it is empty", "write an expression for what is to be replaced")
		return
	}
	if compiled := c.regex(path.Child("match"), regex.Match); compiled != nil {
		if cause := substitutionFault(regex.Rewrite, compiled.NumSubexp()); cause != "" {
			c.add(message.InvalidSubstitution(c.object, path.Child("rewrite").String(), regex.Rewrite, cause))
		}
	}
}

// substitutionFault says what is wrong with a substitution for an expression with so many
// groups, as RE2::CheckRewriteString does; nothing, if it can be used.
func substitutionFault(substitution string, groups int) string {
	if strings.ContainsAny(substitution, "\x00\r\n") || !utf8.ValidString(substitution) {
		return "it contains line breaks" // refused by envoy.type.matcher.v3.RegexMatchAndSubstitute
	}
	for i := 0; i < len(substitution); i++ {
		if substitution[i] != '\\' {
			continue
		}
		i++
		switch {
		case i == len(substitution):
			return "it ends with a single backslash"
		case substitution[i] == '\\':
		case substitution[i] < '0' || substitution[i] > '9':
			return "a backslash is followed by neither a digit nor a backslash"
		case int(substitution[i]-'0') > groups:
			return fmt.Sprintf("there is no group %c, the expression has %d", substitution[i], groups)
		}
	}
	return ""
}

// retryConditions are the words of Envoy's x-envoy-retry-on and x-envoy-retry-grpc-on:
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter
var retryConditions = []string{
	"5xx", "cancelled", "connect-failure", "deadline-exceeded", "envoy-ratelimited", "gateway-error",
	"http3-post-connect-failure", "internal", "refused-stream", "reset", "reset-before-request",
	"resource-exhausted", "retriable-4xx", "retriable-headers", "retriable-status-codes", "unavailable",
}

func (c *checker) retries(path *field.Path, retries *v1alpha1.HTTPRetry) {
	if retries.Attempts != nil {
		switch {
		case *retries.Attempts < 0:
			c.invalid(path.Child("attempts"), fmt.Sprintf("%d is below zero", *retries.Attempts), "set 0 for no retry, or more")
		case *retries.Attempts == 0 && (retries.PerTryTimeout != nil || retries.RetryOn != "" || retries.Backoff != nil ||
			retries.RetryRemoteLocalities != nil || retries.RetryIgnorePreviousHosts != nil):
			c.conflict(path, "attempts is 0, which turns retries off", "remove the other fields of retries, or raise attempts")
		}
	}
	if retries.PerTryTimeout != nil {
		c.duration(path.Child("perTryTimeout"), *retries.PerTryTimeout)
	}
	if retries.Backoff != nil {
		c.duration(path.Child("backoff"), *retries.Backoff)
	}
	if retries.RetryOn == "" {
		return
	}
	for word := range strings.SplitSeq(retries.RetryOn, ",") {
		word = strings.TrimSpace(word)
		code, err := strconv.ParseUint(word, 10, 16)
		isCode := err == nil && code >= 100 && code <= 599 && len(word) == 3
		if !isCode && !slices.Contains(retryConditions, word) {
			c.add(message.RetryOn(c.object, path.Child("retryOn").String(), word, retryConditions))
		}
	}
}
