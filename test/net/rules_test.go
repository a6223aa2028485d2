//go:build netns

package net

import (
	"fmt"
	"io"
	"net"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// Who answers tells where a connection went: "app", "outside", or a listener at the port
// of Envoy's, which also tells whom the connection was for.
var _ = Describe("Redirect rules", func() {
	var pod, outside *namespace
	BeforeEach(func() {
		pod, outside = newPod()
		pod.serve(proxy, 15001, "outbound", called)
		pod.serve(proxy, 15006, "inbound", called)
		pod.serve(application, 8080, "app", caller)
		pod.serve(application, 9090, "app", caller)
		outside.serve(root, 80, "outside", caller)
		outside.serve(root, 3306, "outside", caller)
	})

	It("takes nothing before there are any", func() {
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("app 10.77.0.1"))
		Expect(pod.call(application, "10.96.0.10:80")).To(Equal("outside 10.77.0.2"))
		Expect(pod.call(application, "[fd96::10]:80")).To(Equal("outside fd77::2"))
	})

	It("leads inbound connections to Envoy, which learns whom they were for", func() {
		pod.redirect()
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("inbound 10.77.0.2:8080"))
		Expect(outside.call(root, "[fd77::2]:8080")).To(Equal("inbound [fd77::2]:8080"))
		Expect(outside.call(root, "10.78.0.2:1")).To(Equal("inbound 10.78.0.2:1"), "any interface, any port")
	})

	It("leads outbound connections to Envoy, which learns whom they were for", func() {
		pod.redirect()
		for _, u := range []user{application, root, {1337 + 1, 1337}} {
			Expect(pod.call(u, "10.96.0.10:80")).To(Equal("outbound 10.96.0.10:80"))
			Expect(pod.call(u, "[fd96::10]:80")).To(Equal("outbound [fd96::10]:80"))
		}
		Expect(pod.call(application, "10.77.0.1:1")).To(Equal("outbound 10.77.0.1:1"), "neighbours, any port")
	})

	It("leaves Envoy's own connections alone", func() {
		pod.redirect()
		Expect(pod.call(proxy, "10.96.0.10:80")).To(Equal("outside 10.77.0.2"))
		Expect(pod.call(proxy, "[fd96::10]:80")).To(Equal("outside fd77::2"))
		pod.redirect("--envoy-uid=65532")
		Expect(pod.call(user{65532, 65532}, "10.96.0.10:80")).To(Equal("outside 10.77.0.2"))
		Expect(pod.call(proxy, "10.96.0.10:80")).To(Equal("outbound 10.96.0.10:80"))
	})

	It("leaves local connections alone", func() {
		pod.redirect()
		for _, u := range []user{application, proxy} {
			Expect(pod.call(u, "127.0.0.1:8080")).To(Equal("app 127.0.0.1"))
			Expect(pod.call(u, "[::1]:8080")).To(Equal("app ::1"))
		}
		By("the application calling its Pod by address")
		Expect(pod.call(application, "10.77.0.2:8080")).To(Equal("app 10.77.0.2"))
		Expect(pod.call(application, "[fd77::2]:8080")).To(Equal("app fd77::2"))
	})

	It("answers a Pod that calls itself through Envoy as it answers others", func() {
		pod.redirect("--exclude-inbound-ports=9090")
		By("Envoy calling an endpoint that is its own Pod")
		Expect(pod.call(proxy, "10.77.0.2:8080")).To(Equal("inbound 10.77.0.2:8080"))
		Expect(pod.call(proxy, "[fd77::2]:8080")).To(Equal("inbound [fd77::2]:8080"))
		Expect(pod.call(proxy, "10.77.0.2:9090")).To(Equal("app 10.77.0.2"), "not at a port that is not taken from others")
		By("Envoy passing on what it took")
		Expect(pod.callFrom(proxy, "127.0.0.6", "10.77.0.2:8080")).To(Equal("app 127.0.0.6"))
		Expect(pod.callFrom(proxy, "::1", "[fd77::2]:8080")).To(Equal("app ::1"))
	})

	It("refuses connections to Envoy's ports, which it would pass on to itself for ever", func() {
		pod.redirect("--exclude-inbound-ports=15001,15006")
		for _, host := range []string{"10.77.0.2", "[fd77::2]", "127.0.0.1", "[::1]"} {
			for _, port := range []string{":15001", ":15006"} {
				Expect(pod.call(application, host+port)).To(Equal("refused"), "%s%s from within", host, port)
			}
		}
		Expect(outside.call(root, "10.77.0.2:15001")).To(Equal("refused"))
		Expect(outside.call(root, "[fd77::2]:15006")).To(Equal("refused"))
		pod.redirect()
		Expect(outside.call(root, "10.77.0.2:15006")).To(Equal("refused"), "redirected to where it was for")
		Expect(pod.call(application, "10.96.0.10:15001")).To(Equal("outbound 10.96.0.10:15001"), "the same port of another")
	})

	It("takes the inbound ports that it is told to", func() {
		pod.redirect("--inbound-ports=8080,9000-9100", "--exclude-inbound-ports=9090")
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("inbound 10.77.0.2:8080"))
		Expect(outside.call(root, "[fd77::2]:9000")).To(Equal("inbound [fd77::2]:9000"))
		Expect(outside.call(root, "10.77.0.2:9100")).To(Equal("inbound 10.77.0.2:9100"))
		Expect(outside.call(root, "10.77.0.2:9090")).To(Equal("app 10.77.0.1"), "excluded")
		Expect(outside.call(root, "[fd77::2]:9090")).To(Equal("app fd77::1"), "excluded")
		Expect(outside.call(root, "10.77.0.2:8999")).To(Equal("refused"), "nothing is there")
		Expect(outside.call(root, "10.77.0.2:9101")).To(Equal("refused"), "nothing is there")
	})

	It("leaves what is excluded of outbound connections alone", func() {
		pod.redirect("--exclude-outbound-ports=3306", "--exclude-outbound-cidrs=10.88.0.0/16,fd88::/16", "--exclude-uids=1001", "--exclude-gids=1002")
		Expect(pod.call(application, "10.96.0.10:80")).To(Equal("outbound 10.96.0.10:80"))
		Expect(pod.call(application, "10.96.0.10:3306")).To(Equal("outside 10.77.0.2"))
		Expect(pod.call(application, "[fd96::10]:3306")).To(Equal("outside fd77::2"))
		Expect(pod.call(application, "10.88.0.1:80")).To(Equal("outside 10.77.0.2"))
		Expect(pod.call(application, "[fd88::1]:80")).To(Equal("outside fd77::2"))
		Expect(pod.call(user{1001, 1000}, "10.96.0.10:80")).To(Equal("outside 10.77.0.2"))
		Expect(pod.call(user{1000, 1002}, "10.96.0.10:80")).To(Equal("outside 10.77.0.2"))
		Expect(pod.call(user{1002, 1001}, "10.96.0.10:80")).To(Equal("outbound 10.96.0.10:80"))
	})

	It("leaves interfaces alone that are excluded", func() {
		pod.redirect("--exclude-interfaces=net*")
		Expect(outside.call(root, "10.78.0.2:8080")).To(Equal("app 10.78.0.1"))
		Expect(pod.call(application, "10.78.0.1:80")).To(Equal("outside 10.78.0.2"))
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("inbound 10.77.0.2:8080"))
		Expect(pod.call(application, "10.77.0.1:80")).To(Equal("outbound 10.77.0.1:80"))
		pod.redirect("--exclude-interfaces=eth0")
		Expect(outside.call(root, "10.78.0.2:8080")).To(Equal("inbound 10.78.0.2:8080"))
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("app 10.77.0.1"))
	})

	It("takes one family or direction alone", func() {
		pod.redirect("--families=ipv4")
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("inbound 10.77.0.2:8080"))
		Expect(outside.call(root, "[fd77::2]:8080")).To(Equal("app fd77::1"))
		Expect(pod.call(application, "10.96.0.10:80")).To(Equal("outbound 10.96.0.10:80"))
		Expect(pod.call(application, "[fd96::10]:80")).To(Equal("outside fd77::2"))
		Expect(pod.call(proxy, "[fd77::2]:8080")).To(Equal("app fd77::2"))
		pod.redirect("--families=ipv6", "--directions=inbound")
		Expect(outside.call(root, "10.77.0.2:8080")).To(Equal("app 10.77.0.1"))
		Expect(outside.call(root, "[fd77::2]:8080")).To(Equal("inbound [fd77::2]:8080"))
		Expect(pod.call(application, "[fd96::10]:80")).To(Equal("outside fd77::2"))
		pod.redirect("--directions=outbound", "--outbound-port=16001")
		pod.serve(proxy, 16001, "outbound", called)
		Expect(outside.call(root, "[fd77::2]:8080")).To(Equal("app fd77::1"))
		Expect(pod.call(application, "[fd96::10]:80")).To(Equal("outbound [fd96::10]:80"))
	})

	It("leaves DNS and other datagrams alone", func() {
		pod.redirect()
		outside.serve(root, 53, "dns", caller)
		Expect(pod.call(application, "10.96.0.10:53")).To(Equal("dns 10.77.0.2"))
		Expect(pod.call(application, "[fd96::10]:53")).To(Equal("dns fd77::2"))
		for _, port := range []int{53, 443} {
			var server net.PacketConn
			Expect(outside.as(root, func() (err error) {
				server, err = net.ListenPacket("udp4", fmt.Sprintf("10.96.0.10:%d", port))
				return err
			})).To(Succeed())
			DeferCleanup(server.Close)
			Expect(pod.as(application, func() error {
				client, err := net.Dial("udp4", fmt.Sprintf("10.96.0.10:%d", port))
				if err != nil {
					return err
				}
				defer func() { _ = client.Close() }()
				_, err = io.WriteString(client, "who is it?")
				return err
			})).To(Succeed())
			question := make([]byte, 64)
			n, from, err := server.ReadFrom(question)
			Expect(err).NotTo(HaveOccurred())
			Expect(string(question[:n])).To(Equal("who is it?"))
			Expect(from.(*net.UDPAddr).IP.String()).To(Equal("10.77.0.2"))
		}
	})
})
