package xds_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/encoding/protojson"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

// client is one that polls: it keeps of each path the version that it runs.
type client struct {
	*bench
	node     string
	http     *http.Client
	versions map[string]string
}

func (b *bench) client(node string) *client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", b.socket)
	}}
	b.Cleanup(transport.CloseIdleConnections)
	return &client{bench: b, node: node, http: &http.Client{Transport: transport}, versions: map[string]string{}}
}

// post sends a body and returns what was answered.
func (c *client) post(path, body string) (code int, answer string) {
	c.Helper()
	response, err := c.http.Post("http://manager"+path, "application/json", strings.NewReader(body))
	c.g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	c.g.Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, strings.TrimSpace(string(read))
}

// asks polls for names with the version that it runs, and returns the version it was given.
func (c *client) asks(what string, names ...string) (version string, got []string) {
	c.Helper()
	request, err := protojson.Marshal(&discovery.DiscoveryRequest{VersionInfo: c.versions[what+strings.Join(names, ",")], ResourceNames: names})
	c.g.Expect(err).NotTo(HaveOccurred())
	body := strings.Replace(string(request), "{", `{"node":{"id":"`+c.node+`","userAgentName":"envoy","unheardOf":1},`, 1)
	body = strings.Replace(body, ",}", "}", 1)
	code, answer := c.post("/v3/discovery:"+what, body)
	if code == http.StatusNotModified {
		return "", nil
	}
	c.g.Expect(code).To(Equal(http.StatusOK), answer)
	response := &discovery.DiscoveryResponse{}
	c.g.Expect(protojson.Unmarshal([]byte(answer), response)).To(Succeed())
	return response.GetVersionInfo(), namesOf(response)
}

// takes polls, checks what comes, and runs it from now on.
func (c *client) takes(what string, names []string, expected ...string) {
	c.Helper()
	version, got := c.asks(what, names...)
	c.g.Expect(got).To(ConsistOf(expected), "what %s are answered", what)
	c.versions[what+strings.Join(names, ",")] = version
}

// unchanged polls, and nothing is new.
func (c *client) unchanged(what string, names ...string) {
	c.Helper()
	version, _ := c.asks(what, names...)
	c.g.Expect(version).To(BeEmpty(), "%s are as they were", what)
}

func TestAClientThatPollsAcknowledgesByPollingWithWhatItWasServed(t *testing.T) {
	b := newBench(t)
	b.publish(map[mesh.ObjectID]int64{reviews: 1}, []*xds.Resource{
		b.cluster("c1", ""), b.cluster("c2", ""), b.endpoints("c1", ""), b.endpoints("c2", ""),
		b.listener("outbound", ""), b.scope("r"), b.route("r", "1", []string{"c1"}, reviews),
	})
	c := b.client("default/front")
	c.takes("clusters", nil, "c1", "c2")
	// Each in a request of its own, as Envoy does.
	c.takes("endpoints", []string{"c1"}, "c1")
	c.takes("endpoints", []string{"c2"}, "c2")
	c.takes("listeners", nil, "outbound")
	c.takes("scoped-routes", nil, "r")
	c.unchanged("routes", "r") // it has not acknowledged the cluster yet
	for _, what := range []string{"clusters", "listeners", "scoped-routes"} {
		c.unchanged(what)
	}
	c.unchanged("endpoints", "c1")
	c.takes("routes", []string{"r"}, "r")
	b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 0, 0, 0}), "served is not acknowledged")
	c.unchanged("routes", "r")
	b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 1, 0, 0}))

	b.publish(map[mesh.ObjectID]int64{reviews: 2}, []*xds.Resource{b.route("r", "2", []string{"c1"}, reviews)})
	version, got := c.asks("routes", "r")
	b.g.Expect(got).To(ConsistOf("r"))
	again, _ := c.asks("routes", "r")
	b.g.Expect(again).To(Equal(version), "who polls with the old version did not get the new one, or did not take it")
	b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 0, 0, 0}))
	c.versions["routesr"] = again
	c.unchanged("routes", "r")
	b.g.Expect(b.counts(reviews)()).To(Equal([]int{1, 1, 0, 0}))

	// One that starts again has nothing.
	c.versions = map[string]string{}
	c.takes("clusters", nil, "c1", "c2")
	b.g.Eventually(func() []int { b.clock.Step(time.Second); return b.counts(reviews)() }).
		Should(Equal([]int{1, 1, 0, 1}), "it is not heard of any more")
	b.g.Eventually(func() []int { b.clock.Step(time.Second); return b.counts(reviews)() }).Should(Equal([]int{0, 0, 0, 0}))
}

func TestWhatIsNoPollIsToldSo(t *testing.T) {
	b := newBench(t)
	c := b.client("default/front")
	for _, example := range []struct {
		path, body string
		code       int
		says       string
	}{
		{"/v3/discovery:runtime", `{}`, http.StatusNotFound, "discovery:clusters"},
		{"/v3/discovery:clusters", `{"node": 1}`, http.StatusBadRequest, "not a DiscoveryRequest"},
		{"/v3/discovery:clusters", `{}`, http.StatusBadRequest, "node.id"},
		{"/v3/discovery:clusters", `{"node":{"id":"default/front"},"typeUrl":"` + xds.ListenerType + `"}`, http.StatusBadRequest, "is for"},
		{"/v3/discovery:clusters", `{"node":{"id":"default/stranger"}}`, http.StatusForbidden, "EOF"},
	} {
		code, answer := c.post(example.path, example.body)
		b.g.Expect(code).To(Equal(example.code), answer)
		b.g.Expect(answer).To(ContainSubstring(example.says))
	}
}
