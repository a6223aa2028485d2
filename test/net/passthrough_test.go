//go:build netns

package net

import (
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/testenv"
)

// Listeners for both families, and nothing but passing through. What is inbound goes on
// from a loopback address of its family, by which the rules know it.
const passthrough = `
static_resources:
  listeners:
  - name: outbound
    address: {socket_address: {address: 0.0.0.0, port_value: 15001}}
    additional_addresses: [{address: {socket_address: {address: "::", port_value: 15001}}}]
    listener_filters: &original
    - name: envoy.filters.listener.original_dst
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: outbound, cluster: outbound}
  - name: inbound
    address: {socket_address: {address: 0.0.0.0, port_value: 15006}}
    additional_addresses: [{address: {socket_address: {address: "::", port_value: 15006}}}]
    listener_filters: *original
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: inbound, cluster: inbound}
  clusters:
  - {name: outbound, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED}
  - name: inbound
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    upstream_bind_config:
      source_address: {address: 127.0.0.6, port_value: 0}
      extra_source_addresses: [{address: {address: "::1", port_value: 0}}]
`

var _ = Describe("An Envoy that listens for both families", func() {
	It("passes on whatever it is given, once", func() {
		pod, outside := newPod()
		pod.serve(application, 8080, "app", caller)
		outside.serve(root, 80, "outside", caller)
		binary, err := testenv.Envoy()
		Expect(err).NotTo(HaveOccurred())
		dir, err := testenv.SocketDir()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(os.RemoveAll, dir)
		Expect(os.Chmod(dir, 0o755)).To(Succeed())
		path := filepath.Join(dir, "envoy.yaml")
		Expect(os.WriteFile(path, []byte(passthrough), 0o644)).To(Succeed())
		command := exec.Command(binary, "--config-path", path, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
		command.Stdout, command.Stderr = GinkgoWriter, GinkgoWriter
		Expect(pod.start(proxy, command)).To(Succeed())
		DeferCleanup(func() {
			Expect(command.Process.Kill()).To(Succeed())
			_ = command.Wait()
		})
		pod.redirect()

		Eventually(pod.call).WithArguments(application, "[fd96::10]:80").WithTimeout(patience).Should(Equal("outside fd77::2"))
		Expect(pod.call(application, "10.96.0.10:80")).To(Equal("outside 10.77.0.2"))
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("app 127.0.0.6"))
		Expect(outside.call(root, "[fd77::2]:8080")).To(Equal("app ::1"))
		By("Envoy's own ports, from outside and from within")
		for _, port := range []string{":15001", ":15006"} {
			for _, host := range []string{"10.77.0.2", "[fd77::2]"} {
				// Envoy takes it, as it takes every inbound connection, and is refused itself.
				Expect(outside.call(root, host+port)).To(SatisfyAny(Equal("refused"), Equal("EOF"), ContainSubstring("reset")), host+port)
				Expect(pod.call(application, host+port)).To(Equal("refused"), host+port)
			}
		}
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("app 127.0.0.6"))
	})
})
