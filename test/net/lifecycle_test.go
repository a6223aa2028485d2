//go:build netns

package net

import (
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// listing returns every rule of the namespace as the kernel has it, counters set to zero.
func listing(n *namespace) []string {
	GinkgoHelper()
	kernel, err := nftables.New(nftables.WithNetNSFd(int(n.file.Fd())))
	Expect(err).NotTo(HaveOccurred())
	chains, err := kernel.ListChains()
	Expect(err).NotTo(HaveOccurred())
	var lines []string
	for _, chain := range chains {
		line := "chain " + chain.Table.Name + " " + chain.Name
		if chain.Hooknum != nil {
			line += fmt.Sprintf(" %s hook %d priority %d", chain.Type, *chain.Hooknum, *chain.Priority)
		}
		lines = append(lines, line)
		rules, err := kernel.GetRules(chain.Table, chain)
		Expect(err).NotTo(HaveOccurred())
		for _, rule := range rules {
			line := "rule"
			for _, expression := range rule.Exprs {
				if counter, ok := expression.(*expr.Counter); ok {
					*counter = expr.Counter{}
				}
				line += fmt.Sprintf(" %T%+v", expression, expression)
			}
			lines = append(lines, line)
		}
	}
	return lines
}

var _ = Describe("Writing rules", func() {
	var pod, outside *namespace
	BeforeEach(func() {
		pod, outside = newPod()
		pod.serve(proxy, 15001, "outbound", called)
		outside.serve(root, 80, "outside", caller)
	})

	It("comes to the same once and twice", func() {
		Expect(pod.redirect()).To(Equal("fairlead-agent redirect: inbound connections go to port 15006, outbound connections go to port 15001\n"))
		once := listing(pod)
		Expect(once).NotTo(BeEmpty())
		pod.redirect()
		Expect(listing(pod)).To(Equal(once))
		By("replacing rules that differ")
		pod.redirect("--directions=inbound", "--inbound-ports=1,2,3")
		Expect(listing(pod)).NotTo(Equal(once))
		pod.redirect()
		Expect(listing(pod)).To(Equal(once))
	})

	It("takes away its rules and nobody else's", func() {
		kernel, err := nftables.New(nftables.WithNetNSFd(int(pod.file.Fd())))
		Expect(err).NotTo(HaveOccurred())
		other := kernel.AddTable(&nftables.Table{Name: "other", Family: nftables.TableFamilyIPv4})
		kernel.AddChain(&nftables.Chain{Name: "theirs", Table: other})
		Expect(kernel.Flush()).To(Succeed())
		before := listing(pod)
		Expect(pod.redirect("--remove")).To(Equal("fairlead-agent redirect: nothing is led to Envoy any more\n"), "there is nothing to remove yet")
		pod.redirect()
		Expect(pod.call(application, "10.96.0.10:80")).To(Equal("outbound 10.96.0.10:80"))
		pod.redirect("--remove")
		Expect(listing(pod)).To(Equal(before))
		Expect(pod.call(application, "10.96.0.10:80")).To(Equal("outside 10.77.0.2"))
	})

	It("lets no connection past while rules are replaced", func() {
		pod.redirect()
		replaced, answers := make(chan struct{}), make(chan map[string]int)
		go func() {
			seen := map[string]int{}
			for {
				select {
				case <-replaced:
					answers <- seen
					return
				default:
					seen[pod.call(application, "10.96.0.10:80")]++
				}
			}
		}()
		for range 20 {
			pod.redirect("--exclude-uids=5")
			pod.redirect()
		}
		close(replaced)
		Expect(<-answers).To(And(HaveLen(1), HaveKey("outbound 10.96.0.10:80")))
	})

	It("writes as many rules as anybody may want", func() {
		var ranges []string
		for i := range 2000 {
			ranges = append(ranges, fmt.Sprintf("172.%d.%d.0/24", 16+i/256, i%256))
		}
		pod.redirect("--exclude-outbound-cidrs=" + strings.Join(ranges, ","))
		Expect(len(listing(pod))).To(BeNumerically(">", 2000))
		Expect(pod.call(application, "10.96.0.10:80")).To(Equal("outbound 10.96.0.10:80"))
	})

	It("changes nothing in a dry run", func() {
		Expect(pod.redirect("--dry-run")).To(ContainSubstring("redirect to :15006"))
		Expect(listing(pod)).To(BeEmpty())
		pod.redirect()
		before := listing(pod)
		Expect(pod.redirect("--dry-run", "--remove")).To(ContainSubstring("delete table inet fairlead-inbound"))
		Expect(listing(pod)).To(Equal(before))
	})

	It("keeps connections that are open, but for what Envoy carries when the rules go", func() {
		direct, err := pod.dial(application, "", "10.96.0.10:80")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(direct.Close)
		Expect(readLine(direct)).To(Equal("outside 10.77.0.2"))
		goesOn := func(connection net.Conn) {
			GinkgoHelper()
			_, err := io.WriteString(connection, "still there?\n")
			Expect(err).NotTo(HaveOccurred())
			Expect(readLine(connection)).To(Equal("still there?"))
		}
		By("the first rules, from which on the kernel tracks connections")
		pod.redirect()
		taken, err := pod.dial(application, "", "10.96.0.10:80")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(taken.Close)
		Expect(readLine(taken)).To(Equal("outbound 10.96.0.10:80"))
		goesOn(direct)
		By("other rules")
		pod.redirect("--families=ipv4", "--exclude-outbound-ports=80")
		goesOn(direct)
		goesOn(taken)
		By("no rules")
		pod.redirect("--remove")
		goesOn(direct)
	})

	It("says which capability is missing, and leaves the rules as they are", func() {
		pod.redirect()
		before := listing(pod)
		for _, flags := range [][]string{{"--inbound-ports=80"}, {"--remove"}} {
			output, err := pod.run(application, agent, append([]string{"redirect"}, flags...)...)
			Expect(err).To(MatchError("exit status 1"))
			Expect(output).To(ContainSubstring("give the container the capability NET_ADMIN"))
		}
		Expect(listing(pod)).To(Equal(before))
		By("a dry run, which needs none")
		_, err := pod.run(application, agent, "redirect", "--dry-run")
		Expect(err).NotTo(HaveOccurred())
	})
})
