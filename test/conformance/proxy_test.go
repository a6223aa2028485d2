package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/echo"
	"fairlead.dev/fairlead/test/testenv"
)

// proxy is the real Envoy of a Pod, which has a certificate.
type proxy struct {
	name, namespace, node string
	labels                map[string]string
	protocol              bootstrap.Protocol
	// intercepted is whether it takes what redirect rules would lead to it, in place of being
	// called by address.
	intercepted bool
	// gateway is whether it takes traffic from outside for the Gateways that select it.
	gateway bool

	stage *stage
	envoy *testenv.Proxy
	// address is the workload's in the mesh; on this machine it is another (see mesh.LoopbackAddress).
	address netip.Addr
	http    *http.Client

	mu  sync.Mutex
	tcp []mesh.OutboundTCP
}

// The proxies of every case: callers, and a gateway.
const (
	front = iota
	ledger
	mobile
	ingress
)

func everyProxy() []*proxy {
	return []*proxy{
		front:   {name: "front", namespace: "default", node: "a", labels: map[string]string{"app": "front", "team": "shop"}},
		ledger:  {name: "ledger", namespace: "bank", node: "c", labels: map[string]string{"app": "ledger", "team": "bank"}, protocol: bootstrap.StateOfTheWorld},
		mobile:  {name: "mobile", namespace: "default", node: "a", labels: map[string]string{"app": "mobile"}, intercepted: true},
		ingress: {name: "ingress", namespace: "edge", node: "a", labels: map[string]string{"app": "ingress"}, gateway: true},
	}
}

func (s *stage) startProxies() error {
	for _, p := range s.proxies {
		if err := p.start(s); err != nil {
			return fmt.Errorf("start the proxy of %s: %w", p.name, err)
		}
	}
	for _, p := range s.proxies {
		if err := p.awaitReady(); err != nil {
			return err
		}
	}
	return nil
}

// start runs the Envoy of the caller's Pod.
func (p *proxy) start(s *stage) (err error) {
	p.stage = s
	if p.address, err = freeAddress(mesh.ExplicitOutboundPort); err != nil {
		return err
	}
	p.place()
	config := bootstrap.Config{
		Namespace: p.namespace, Pod: p.name, Workload: p.name, ServiceAccount: p.name,
		XDSSocket: s.socket(), Protocol: p.protocol, ChecksHealth: true, SystemRoots: s.rootsFile(),
	}
	if err := s.certify(filepath.Join(s.dir, p.name), p.identity()); err != nil {
		return err
	}
	p.http = echo.NewClient(p.at(mesh.ExplicitOutboundPort))
	if p.intercepted {
		config.XDSSocket = s.redirectedSocket()
		p.http = echo.NewDialingClient(func(ctx context.Context, _, address string) (net.Conn, error) { return p.intercept(ctx, address) })
	}
	if p.envoy, err = testenv.StartProxy(s.dir, config, s.logs()); err != nil {
		return err
	}
	s.stops = append(s.stops, func() error {
		p.http.CloseIdleConnections()
		return p.envoy.Stop()
	})
	return nil
}

// identity is what the proxy's certificate says.
func (p *proxy) identity() string {
	return "spiffe://cluster.local/ns/" + p.namespace + "/sa/" + p.name
}

// place puts the Pod into the mesh.
func (p *proxy) place() {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: p.name, Labels: maps.Clone(p.labels)},
		Spec:       corev1.PodSpec{ServiceAccountName: p.name, NodeName: p.node},
		Status: corev1.PodStatus{
			PodIP: p.address.String(), Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	pod.Labels[v1alpha1.TLSModeLabel] = v1alpha1.TLSModeMutual
	switch {
	case p.gateway:
		pod.Annotations = map[string]string{v1alpha1.ModeAnnotation: v1alpha1.ModeGateway}
	case !p.intercepted:
		pod.Annotations = map[string]string{v1alpha1.ModeAnnotation: v1alpha1.ModeExplicit}
	}
	workload := convert.Workload(pod, nodes[p.node])
	workload.OutboundTCP = slices.Clone(p.tcp)
	p.stage.store.SetWorkload(workload)
}

func (p *proxy) awaitReady() error {
	deadline := time.After(echo.Patience)
	for {
		status := p.envoy.Status()
		if status.Ready() {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-p.envoy.Done():
			return fmt.Errorf("the Envoy of %s ended; %s tells why", p.name, p.stage.log.Name())
		case <-deadline:
			return fmt.Errorf("the Envoy of %s is not ready: %+v; %s tells why", p.name, status, p.stage.log.Name())
		}
	}
}

// at is where a port of the proxy is on this machine.
func (p *proxy) at(port uint16) string {
	return netip.AddrPortFrom(mesh.LoopbackAddress(p.address), port).String()
}

// firstTCPPort is that of the first listener that an explicit proxy has for a TCP service.
const firstTCPPort = 20000

// listenFor has an explicit proxy listen for a port of a TCP service, and returns where and
// what takes that back; one that it listens for already stays as it is. The caller waits until it
// is so.
func (p *proxy) listenFor(host string, port uint16) (address string, remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := mesh.OutboundTCP{Host: host, Port: port, ListenPort: firstTCPPort}
	if i := slices.IndexFunc(p.tcp, func(o mesh.OutboundTCP) bool { return o.Host == host && o.Port == port }); i >= 0 {
		return p.at(p.tcp[i].ListenPort), func() {}
	}
	for slices.ContainsFunc(p.tcp, func(o mesh.OutboundTCP) bool { return o.ListenPort == wanted.ListenPort }) {
		wanted.ListenPort++
	}
	p.tcp = append(p.tcp, wanted)
	p.place()
	return p.at(wanted.ListenPort), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tcp = slices.DeleteFunc(p.tcp, func(o mesh.OutboundTCP) bool { return o == wanted })
		p.place()
	}
}

// addresses counts those that were given out.
var addresses atomic.Uint32

// freeAddress returns an address of the mesh whose port nobody listens on, on this machine.
// Each process begins somewhere else.
func freeAddress(port uint16) (netip.Addr, error) {
	for {
		n := addresses.Add(1)
		if n > 1<<14 {
			return netip.Addr{}, errors.New("no address is left")
		}
		n += uint32(os.Getpid()) << 8
		address := netip.AddrFrom4([4]byte{198, 18, 128 | byte(n>>8)&0x7f, byte(n)})
		listener, err := net.Listen("tcp", net.JoinHostPort(mesh.LoopbackAddress(address).String(), strconv.Itoa(int(port))))
		if err == nil {
			return address, listener.Close()
		}
	}
}
