package convert

import (
	"fmt"
	"slices"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/validate"
)

func fault(from *v1alpha1.HTTPFaultInjection) *mesh.Fault {
	if from == nil {
		return nil
	}
	to := &mesh.Fault{}
	if delay := from.Delay; delay != nil {
		to.Delay = &mesh.FaultDelay{Percent: percent(delay.Percentage, delay.Percent), For: duration(delay.FixedDelay)}
	}
	if abort := from.Abort; abort != nil {
		to.Abort = &mesh.FaultAbort{Percent: percent(abort.Percentage), HTTPStatus: uint32(abort.HTTPStatus)}
		to.Abort.GRPCStatus, _ = validate.GRPCStatus(abort.GRPCStatus)
	}
	return to
}

// percent returns a share in percent: what is said exactly, or in one of the older ways, the
// first that is set; all, where nothing is said.
func percent(exact *v1alpha1.Percent, whole ...*int32) float64 {
	if exact != nil {
		return float64(exact.Value)
	}
	for _, number := range whole {
		if number != nil {
			return float64(*number)
		}
	}
	return 100
}

// mirrors returns where copies go, those for which there is a share.
func (c names) mirrors(path string, from *v1alpha1.HTTPRoute) []mesh.Mirror {
	var to []mesh.Mirror
	if from.Mirror != nil {
		to = append(to, mesh.Mirror{
			Destination: c.destination(path+".mirror", from.Mirror),
			Percent:     percent(from.MirrorPercentage, from.MirrorPercent, from.MirrorPercentUnderscore),
		})
	}
	for i := range from.Mirrors {
		to = append(to, mesh.Mirror{
			Destination: c.destination(fmt.Sprintf("%s.mirrors[%d].destination", path, i), &from.Mirrors[i].Destination),
			Percent:     percent(from.Mirrors[i].Percentage),
		})
	}
	return slices.DeleteFunc(to, func(mirror mesh.Mirror) bool { return mirror.Percent == 0 })
}

func cors(from *v1alpha1.CORSPolicy) *mesh.CORS {
	if from == nil {
		return nil
	}
	to := &mesh.CORS{
		Methods:         from.AllowMethods,
		Headers:         from.AllowHeaders,
		ExposeHeaders:   from.ExposeHeaders,
		MaxAge:          duration(from.MaxAge),
		Credentials:     from.AllowCredentials,
		IgnoreUnmatched: from.UnmatchedPreflights == "IGNORE",
	}
	for i := range from.AllowOrigins {
		to.Origins = append(to.Origins, *stringMatch(&from.AllowOrigins[i]))
	}
	if len(to.Origins) == 0 {
		for _, origin := range from.AllowOrigin {
			to.Origins = append(to.Origins, mesh.StringMatch{Kind: mesh.Exact, Value: origin})
		}
	}
	return to
}
