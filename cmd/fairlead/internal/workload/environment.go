package workload

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/internal/mesh"
)

// appPort is a port of the workload and where the command is to serve it.
type appPort struct {
	port
	local netip.AddrPort
}

// outboundListener is where the command reaches a TCP service.
type outboundListener struct {
	outboundTCP
	listen netip.AddrPort
}

// variables are what the command is told, sorted by name.
func variables(r request, a *address, apps []appPort, outbound []outboundListener) []string {
	proxy := "http://" + netip.AddrPortFrom(a.local, mesh.ExplicitOutboundPort).String()
	set := map[string]string{
		"POD_NAME":      r.Name,
		"POD_NAMESPACE": r.Namespace,
		"POD_IP":        a.pod.String(),
		// Where HTTP requests to other services go: to the workload's own proxy.
		"FAIRLEAD_OUTBOUND_HTTP": netip.AddrPortFrom(a.local, mesh.ExplicitOutboundPort).String(),
		"HTTP_PROXY":             proxy,
		"http_proxy":             proxy,
		// The shell's own exceptions may name the cluster's domain.
		"NO_PROXY": "localhost,127.0.0.1,::1",
		"no_proxy": "localhost,127.0.0.1,::1",
	}
	for i, app := range apps {
		local := strconv.Itoa(int(app.local.Port()))
		if i == 0 {
			set["PORT"] = local
		}
		set[fmt.Sprintf("PORT_%d", app.number)] = local
	}
	for _, o := range outbound {
		set[outboundVariable(o.outboundTCP)] = o.listen.String()
	}
	list := make([]string, 0, len(set))
	for name, value := range set {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// outboundVariable names the variable that leads to a TCP service, after the words by
// which the person asked for it: mysql.data:3306 is FAIRLEAD_OUTBOUND_TCP_MYSQL_DATA_3306.
func outboundVariable(t outboundTCP) string {
	words := strings.NewReplacer("-", "_", ".", "_").Replace(t.said)
	return fmt.Sprintf("FAIRLEAD_OUTBOUND_TCP_%s_%d", strings.ToUpper(words), t.port)
}

// merge puts the variables over those of an environment.
func merge(environment, over []string) []string {
	name := func(variable string) string { n, _, _ := strings.Cut(variable, "="); return n }
	replaced := map[string]bool{}
	for _, variable := range over {
		replaced[name(variable)] = true
	}
	merged := slices.DeleteFunc(slices.Clone(environment), func(variable string) bool { return replaced[name(variable)] })
	return append(merged, over...)
}

// expand replaces $(NAME) by a variable's value, as Kubernetes does in a container's
// command: $$(NAME) stays $(NAME), and an unknown name stays as it is.
func expand(text string, variables []string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		text = after
		if rest, escaped := strings.CutPrefix(text, "$"); escaped {
			b.WriteByte('$')
			text = rest
			continue
		}
		inner, opens := strings.CutPrefix(text, "(")
		name, rest, closes := strings.Cut(inner, ")")
		value, known := lookup(variables, name)
		if !opens || !closes || !known {
			b.WriteByte('$')
			continue
		}
		b.WriteString(value)
		text = rest
	}
}

func lookup(variables []string, name string) (string, bool) {
	for _, variable := range variables {
		if n, value, _ := strings.Cut(variable, "="); n == name {
			return value, true
		}
	}
	return "", false
}
