package validate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
)

func (c *checker) fault(path *field.Path, fault *v1alpha1.HTTPFaultInjection) {
	if fault.Delay == nil && fault.Abort == nil {
		c.conflict(path, "it does nothing", "set delay, abort or both")
	}
	if delay := fault.Delay; delay != nil {
		at := path.Child("delay")
		c.percent(at, delay.Percentage, delay.Percent)
		if delay.FixedDelay != nil {
			c.duration(at.Child("fixedDelay"), *delay.FixedDelay)
		} else if delay.ExponentialDelay == nil {
			c.conflict(at, "it does not say how long", "set fixedDelay")
		}
	}
	abort := fault.Abort
	if abort == nil {
		return
	}
	path = path.Child("abort")
	c.percent(path, abort.Percentage)
	if (abort.HTTPStatus == 0) == (abort.GRPCStatus == "") && abort.HTTP2Error == "" {
		c.conflict(path, "it does not say one thing to answer", "set exactly one of httpStatus and grpcStatus")
	}
	if abort.HTTPStatus != 0 && (abort.HTTPStatus < 200 || abort.HTTPStatus > 599) {
		c.invalid(path.Child("httpStatus"), fmt.Sprintf("%d is not a status", abort.HTTPStatus), "use 200 to 599")
	}
	if _, known := GRPCStatus(abort.GRPCStatus); !known && abort.GRPCStatus != "" {
		c.invalid(path.Child("grpcStatus"), fmt.Sprintf("%q is not a status of gRPC", abort.GRPCStatus),
			"use 0 to 16, or one of "+strings.Join(grpcStatuses, ", "))
	}
}

// grpcStatuses are gRPC's, each at the place of its number:
// https://grpc.github.io/grpc/core/md_doc_statuscodes.html
var grpcStatuses = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
	"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// GRPCStatus returns the number of a status of gRPC that is given by name or number, and
// whether there is such a one.
func GRPCStatus(text string) (uint32, bool) {
	number := slices.Index(grpcStatuses, strings.ToUpper(text))
	if number < 0 {
		parsed, err := strconv.ParseUint(text, 10, 8)
		if number = int(parsed); err != nil || number >= len(grpcStatuses) {
			return 0, false
		}
	}
	return uint32(number), true
}

// percent checks a share in percent, in all the ways that it may be given.
func (c *checker) percent(path *field.Path, exact *v1alpha1.Percent, whole ...*int32) {
	const text, fix = "a share is from 0 to 100", "give a share in percent"
	// Written so that it finds what is not a number, too.
	if exact != nil && !(exact.Value >= 0 && exact.Value <= 100) {
		c.invalid(path.Child("percentage", "value"), text, fix)
	}
	for _, number := range whole {
		if number != nil && (*number < 0 || *number > 100) {
			c.invalid(path.Child("percent"), text, fix)
		}
	}
}

// mirrors checks where copies go.
func (c *checker) mirrors(path *field.Path, route *v1alpha1.HTTPRoute) {
	percents := []*int32{route.MirrorPercent, route.MirrorPercentUnderscore}
	switch {
	case route.Mirror != nil && len(route.Mirrors) > 0:
		c.conflict(path.Child("mirror"), "mirror and mirrors are both set", "move mirror into mirrors")
	case route.Mirror != nil:
		c.destination(path.Child("mirror"), route.Mirror)
		c.percent(path.Child("mirror"), route.MirrorPercentage, percents...)
	case route.MirrorPercentage != nil || percents[0] != nil || percents[1] != nil:
		c.conflict(path, "mirrorPercentage has no effect without mirror", "set mirror, or put the percentage into mirrors")
	}
	for i := range route.Mirrors {
		at := path.Child("mirrors").Index(i)
		c.destination(at.Child("destination"), &route.Mirrors[i].Destination)
		c.percent(at, route.Mirrors[i].Percentage)
	}
}

func (c *checker) cors(path *field.Path, policy *v1alpha1.CORSPolicy) {
	for i := range policy.AllowOrigins {
		c.stringMatch(path.Child("allowOrigins").Index(i), &policy.AllowOrigins[i], true)
	}
	for _, list := range []struct {
		name   string
		tokens []string
	}{{"allowMethods", policy.AllowMethods}, {"allowHeaders", policy.AllowHeaders}, {"exposeHeaders", policy.ExposeHeaders}} {
		for i, token := range list.tokens {
			if !headerNames.MatchString(token) {
				c.invalid(path.Child(list.name).Index(i), fmt.Sprintf("%q has characters that neither methods nor headers have", token),
					`write one name, or "*"`)
			}
		}
	}
	if policy.MaxAge != nil {
		at := path.Child("maxAge")
		c.duration(at, *policy.MaxAge)
		if age, err := policy.MaxAge.Parse(); err == nil && age%time.Second != 0 {
			c.invalid(at, fmt.Sprintf("%q is told to browsers in whole seconds", string(*policy.MaxAge)), "use whole seconds")
		}
	}
	if !slices.Contains([]string{"", "UNSPECIFIED", "FORWARD", "IGNORE"}, policy.UnmatchedPreflights) {
		c.invalid(path.Child("unmatchedPreflights"), fmt.Sprintf("%q is unknown", policy.UnmatchedPreflights), "use FORWARD or IGNORE")
	}
}
