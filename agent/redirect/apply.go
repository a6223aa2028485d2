package redirect

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Apply makes the rules those of the configuration and of nothing else: both tables are
// replaced in one transaction, and one that the configuration does not want is removed.
func Apply(config Config) error {
	return apply(config.tables())
}

// Remove takes away both tables. It is no error if there are none.
func Remove() error {
	return apply(nil)
}

func apply(tables []table, options ...nftables.ConnOption) error {
	kernel, err := nftables.New(append(options, nftables.WithSockOptions(roomy))...)
	if err != nil {
		return explain(err)
	}
	for _, name := range tableNames {
		// Before Linux 6.3 only a table that is there can be deleted.
		kernel.DelTable(kernel.AddTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet}))
	}
	for _, table := range tables {
		table.write(kernel)
	}
	if err := kernel.Flush(); err != nil {
		return explain(err)
	}
	return nil
}

// bufferSize holds a transaction of some thousand rules and the kernel's answers, each of
// which counts for about a kilobyte.
const bufferSize = 8 << 20

// roomy makes the socket's buffers as large as the whole transaction: it is sent as one
// message, and all answers are there before the first can be read. Where the kernel does
// not allow it they stay as they are, which is enough for 200 rules.
func roomy(connection *netlink.Conn) error {
	_ = connection.SetReadBuffer(bufferSize)
	_ = connection.SetWriteBuffer(bufferSize)
	return nil
}

// write adds the table, then its chains, then their rules, which may name any chain.
func (t table) write(kernel *nftables.Conn) {
	added := kernel.AddTable(&nftables.Table{Name: t.name, Family: nftables.TableFamilyINet})
	chains := make([]*nftables.Chain, len(t.chains))
	for i, chain := range t.chains {
		chains[i] = &nftables.Chain{Name: chain.name, Table: added}
		if hook := chain.hook; hook != nil {
			accept := nftables.ChainPolicyAccept
			chains[i].Type, chains[i].Hooknum, chains[i].Priority = hook.kind, hook.number, hook.priority
			chains[i].Policy = &accept
		}
		kernel.AddChain(chains[i])
	}
	for i, chain := range t.chains {
		for _, rule := range chain.rules {
			kernel.AddRule(&nftables.Rule{Table: added, Chain: chains[i], Exprs: rule.expressions()})
		}
	}
}

// explain says what the kernel's short answers mean here.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the kernel does not let this process change rules: give the container the capability NET_ADMIN, "+
			"and user 0 so that it has it (securityContext.capabilities.add: [NET_ADMIN], runAsUser: 0): %w", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the kernel has no nf_tables for IPv4 and IPv6 together: load the module nf_tables on the node, "+
			"or use a kernel of version 5.2 or later that has it (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET): %w", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel lacks a part of nf_tables: load the modules nft_chain_nat, nft_redir, nft_ct and nft_reject_inet on the node, "+
			"or use a kernel that has them (CONFIG_NFT_NAT, CONFIG_NFT_REDIR, CONFIG_NFT_CT, CONFIG_NFT_REJECT): %w", err)
	case errors.Is(err, unix.EMSGSIZE):
		return fmt.Errorf("there are more rules than the kernel takes at a time; none were changed: exclude fewer ports and CIDRs, or wider ones: %w", err)
	case errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("there are so many rules that the kernel's answer was lost, so it is not known whether they hold: "+
			"exclude fewer ports and CIDRs, or wider ones: %w", err)
	}
	return fmt.Errorf("the kernel refuses the rules; none were changed: %w", err)
}
