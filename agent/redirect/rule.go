package redirect

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A rule is a list of statements: conditions that all must hold, and what to do then.
type rule []statement

// A statement is known in two languages: that of nft(8), for people, and the kernel's.
type statement struct {
	text        string
	expressions []expr.Any
}

func (r rule) String() string {
	texts := make([]string, len(r))
	for i, statement := range r {
		texts[i] = statement.text
	}
	return strings.Join(texts, " ")
}

func (r rule) expressions() []expr.Any {
	var all []expr.Any
	for _, statement := range r {
		all = append(all, statement.expressions...)
	}
	return all
}

// register is the one that every expression loads and compares.
const register = unix.NFT_REG_1

func meta(key expr.MetaKey, value []byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: value},
	}
}

// interfaceName holds for packets that came in by, or go out by, an interface.
func interfaceName(keyword string, key expr.MetaKey, name string) statement {
	value := make([]byte, unix.IFNAMSIZ)
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		value = []byte(prefix)
	} else {
		copy(value, name)
	}
	return statement{fmt.Sprintf("%s %q", keyword, name), meta(key, value)}
}

func inputInterface(name string) statement {
	return interfaceName("iifname", expr.MetaKeyIIFNAME, name)
}

func outputInterface(name string) statement {
	return interfaceName("oifname", expr.MetaKeyOIFNAME, name)
}

func socketUser(uid uint32) statement {
	return statement{fmt.Sprintf("meta skuid %d", uid), meta(expr.MetaKeySKUID, binaryutil.NativeEndian.PutUint32(uid))}
}

func socketGroup(gid uint32) statement {
	return statement{fmt.Sprintf("meta skgid %d", gid), meta(expr.MetaKeySKGID, binaryutil.NativeEndian.PutUint32(gid))}
}

var (
	isIPv4 = statement{"meta nfproto ipv4", meta(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV4})}
	isIPv6 = statement{"meta nfproto ipv6", meta(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV6})}
	isTCP  = statement{"meta l4proto tcp", meta(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP})}
)

// notFirst holds for TCP packets that do not begin a connection. The kernel takes up
// connections in the middle that are older than the first rule of a namespace.
var notFirst = statement{"tcp flags & (fin | syn | rst | ack) != syn", append(
	meta(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP}),
	&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1}, // RFC 9293, section 3.1
	masked([]byte{flagFIN | flagSYN | flagRST | flagACK}),
	&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: []byte{flagSYN}},
)}

const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	_ // PSH
	flagACK
)

// destinationPort holds for TCP to a port, or to one of a range.
func destinationPort(ports Ports) statement {
	const offset, length = 2, 2 // RFC 9293, section 3.1
	first, last := binaryutil.BigEndian.PutUint16(ports.First), binaryutil.BigEndian.PutUint16(ports.Last)
	var compared expr.Any = &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: first}
	if ports.First != ports.Last {
		compared = &expr.Range{Op: expr.CmpOpEq, Register: register, FromData: first, ToData: last}
	}
	return statement{
		fmt.Sprintf("tcp dport %s", ports),
		append(meta(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP}),
			&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length},
			compared),
	}
}

func sourceNotIn(prefix netip.Prefix) statement {
	return addressIn("saddr", 12, 8, expr.CmpOpNeq, prefix)
}

func destinationIn(prefix netip.Prefix) statement {
	return addressIn("daddr", 16, 24, expr.CmpOpEq, prefix)
}

func destinationNotIn(prefix netip.Prefix) statement {
	return addressIn("daddr", 16, 24, expr.CmpOpNeq, prefix)
}

// addressIn compares an address of the packet's header, which is at one place in IPv4
// (RFC 791) and at another in IPv6 (RFC 8200). It holds for packets of the prefix's
// family only, whichever comparison it is.
func addressIn(field string, offsetIPv4, offsetIPv6 uint32, comparison expr.CmpOp, prefix netip.Prefix) statement {
	family, protocol, offset := isIPv4, "ip", offsetIPv4
	if prefix.Addr().Is6() {
		family, protocol, offset = isIPv6, "ip6", offsetIPv6
	}
	value := prefix.Masked().Addr().AsSlice()
	length := uint32(len(value))
	expressions := append(slices.Clone(family.expressions), &expr.Payload{
		DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length,
	})
	written := prefix.Addr().String()
	if !prefix.IsSingleIP() {
		written = prefix.Masked().String()
		expressions = append(expressions, masked(net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())))
	}
	if comparison == expr.CmpOpNeq {
		written = "!= " + written
	}
	return statement{
		fmt.Sprintf("%s %s %s", protocol, field, written),
		append(expressions, &expr.Cmp{Op: comparison, Register: register, Data: value}),
	}
}

func masked(mask []byte) expr.Any {
	return &expr.Bitwise{
		SourceRegister: register, DestRegister: register, Len: uint32(len(mask)),
		Mask: mask, Xor: make([]byte, len(mask)),
	}
}

// Bits of conntrack: include/uapi/linux/netfilter/nf_conntrack_common.h.
const statusDestinationNAT = 1 << 5

// notRedirected holds for a new connection to the very address and port that it is for.
var notRedirected = statement{"ct state new ct status ! dnat", []expr.Any{
	&expr.Ct{Key: expr.CtKeySTATE, Register: register},
	masked(binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW)),
	&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: make([]byte, 4)},
	&expr.Ct{Key: expr.CtKeySTATUS, Register: register},
	masked(binaryutil.NativeEndian.PutUint32(statusDestinationNAT)),
	&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: make([]byte, 4)},
}}

var (
	leave  = statement{"return", []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}}
	refuse = statement{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
	count  = statement{"counter", []expr.Any{&expr.Counter{}}}
)

func goTo(chain string) statement {
	return statement{"goto " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
}

// redirectTo replaces the destination by this machine and the given port.
func redirectTo(port uint16) statement {
	return statement{fmt.Sprintf("redirect to :%d", port), []expr.Any{
		&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: register},
	}}
}
