package workload

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
	"fairlead.dev/fairlead/internal/mesh"
)

// Options are what a person says of a workload, as text where the text has a form of
// its own.
type Options struct {
	// Data is the data folder of `fairlead up`.
	Data string
	// Agent is the path of fairlead-agent.
	Agent string

	Name, Namespace, ServiceAccount string
	// Labels are "key=value,key=value".
	Labels string
	// Ports are "PORT" or "PORT/PROTOCOL".
	Ports []string
	// OutboundTCP are "SERVICE:PORT".
	OutboundTCP []string
	// Drain is how long the workload serves on after its callers began to hear of its end.
	Drain time.Duration
	// Grace is how long the command has between SIGTERM and SIGKILL.
	Grace time.Duration
	// Gateway is whether the proxy serves Gateways, and there is no command beside it.
	Gateway bool
	// Command is the program to run, with its arguments.
	Command []string
	// Say tells a person what happened.
	Say func(format string, args ...any)
}

// request is Options, understood.
type request struct {
	Options
	labels      map[string]string
	ports       []port
	outboundTCP []outboundTCP
}

// port is one that the proxy serves on the workload's address.
type port struct {
	number   uint16
	protocol mesh.Protocol
}

// outboundTCP is a TCP service that the command calls.
type outboundTCP struct {
	// said is how the person wrote the service's name.
	said string
	host string
	port uint16
}

// portProtocols are what may stand behind the slash, as a Service's port names begin.
var portProtocols = []mesh.Protocol{mesh.HTTP, mesh.HTTP2, mesh.GRPC, mesh.TCP}

const clusterDomain = "cluster.local"

// understand checks everything that can be checked without a cluster, and returns every
// problem that it finds.
func (o Options) understand() (request, error) {
	r := request{Options: o}
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	for _, name := range []struct {
		flag, value string
		check       func(string) []string
	}{
		{"name", o.Name, validation.IsDNS1123Subdomain},
		{"namespace", o.Namespace, validation.IsDNS1123Label},
		{"service-account", o.ServiceAccount, validation.IsDNS1123Subdomain},
	} {
		if name.value == "" {
			problem("--%s is missing: say which", name.flag)
		} else if words := name.check(name.value); len(words) > 0 {
			problem("--%s %q: %s", name.flag, name.value, words[0])
		}
	}
	if o.Gateway {
		o.aloneWithGateway(problem)
	} else if len(o.Command) == 0 {
		problem("the command is missing: write it after \"--\", with its arguments")
	}
	if o.Drain < 0 {
		problem("--drain %s: use 0 or a longer time, such as 1s", o.Drain)
	}
	if o.Grace <= 0 && !o.Gateway {
		problem("--grace %s: use a time above 0, such as 10s", o.Grace)
	}
	var err error
	if r.labels, err = parseLabels(o.Labels); err != nil {
		problem("--labels %w", err)
	}
	if r.ports, err = parsePorts(o.Ports); err != nil {
		problem("--port %w", err)
	}
	if r.outboundTCP, err = parseOutboundTCP(o.OutboundTCP, o.Namespace); err != nil {
		problem("--tcp %w", err)
	}
	return r, errors.Join(errs...)
}

// aloneWithGateway finds what is said of a command, where there is none.
func (o Options) aloneWithGateway(problem func(format string, args ...any)) {
	if len(o.Command) > 0 {
		problem("--gateway runs no command: leave out %q and what follows it, or --gateway", "-- "+o.Command[0])
	}
	if len(o.Ports) > 0 {
		problem("--port does not go with --gateway: Gateways say which ports are served; leave it out")
	}
	if len(o.OutboundTCP) > 0 {
		problem("--tcp does not go with --gateway: a Gateway and a VirtualService with tcp routes lead to such a service; leave it out")
	}
	if o.Grace != 0 {
		problem("--grace does not go with --gateway: there is no command to wait for; leave it out")
	}
}

func parseLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	if text == "" {
		return labels, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q: write each label as key=value and separate them by commas", pair)
		}
		if _, twice := labels[key]; twice {
			return nil, fmt.Errorf("has %q twice: a label has one value", key)
		}
		if key == objects.ManagedByLabel {
			return nil, fmt.Errorf("has %q, which `fairlead run` sets itself: leave it out", key)
		}
		labels[key] = value
	}
	if errs := metav1validation.ValidateLabels(labels, field.NewPath("labels")); len(errs) > 0 {
		return nil, fmt.Errorf("%q: %s", text, errs[0].Detail)
	}
	return labels, nil
}

func parsePorts(texts []string) ([]port, error) {
	var ports []port
	for _, text := range texts {
		number, protocol, said := strings.Cut(text, "/")
		p := port{protocol: mesh.HTTP}
		if said {
			p.protocol = mesh.Protocol(protocol)
			if !slices.Contains(portProtocols, p.protocol) {
				return nil, fmt.Errorf("%q: %q is none of http, http2, grpc and tcp", text, protocol)
			}
		}
		var err error
		if p.number, err = parsePort(number); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		if p.number == mesh.ExplicitOutboundPort {
			return nil, fmt.Errorf("%q: the proxy takes outbound requests on port %d: choose another one", text, mesh.ExplicitOutboundPort)
		}
		if slices.ContainsFunc(ports, func(other port) bool { return other.number == p.number }) {
			return nil, fmt.Errorf("%q is given twice", number)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func parseOutboundTCP(texts []string, namespace string) ([]outboundTCP, error) {
	var list []outboundTCP
	for _, text := range texts {
		host, number, ok := strings.Cut(text, ":")
		if !ok {
			return nil, fmt.Errorf("%q: write SERVICE:PORT, such as mysql:3306 or mysql.data:3306", text)
		}
		t := outboundTCP{said: host}
		var err error
		if t.port, err = parsePort(number); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		if t.host, err = qualify(host, namespace); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		if slices.ContainsFunc(list, func(other outboundTCP) bool { return other.host == t.host && other.port == t.port }) {
			return nil, fmt.Errorf("%q is given twice", text)
		}
		list = append(list, t)
	}
	return list, nil
}

// qualify completes a service's name as the search list of a Pod's resolv.conf would.
func qualify(host, namespace string) (string, error) {
	parts := strings.Split(host, ".")
	for _, part := range parts {
		if words := validation.IsDNS1123Label(part); len(words) > 0 {
			return "", fmt.Errorf("%q is not a service's name: %s", host, words[0])
		}
	}
	suffix := ".svc." + clusterDomain
	switch {
	case len(parts) == 1:
		return host + "." + namespace + suffix, nil
	case len(parts) == 2:
		return host + suffix, nil
	case len(parts) == 3 && parts[2] == "svc":
		return host + "." + clusterDomain, nil
	case strings.HasSuffix(host, suffix):
		return host, nil
	default:
		return "", fmt.Errorf("%q is not the name of a service: write NAME, NAME.NAMESPACE or NAME.NAMESPACE%s", host, suffix)
	}
}

func parsePort(text string) (uint16, error) {
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return uint16(number), nil
}
