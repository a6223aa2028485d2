package redirect

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// kernel records one batch and acknowledges each of its messages, or refuses all.
type kernel struct {
	refusal error
	batch   []string
}

func (k *kernel) answer(request []netlink.Message) ([]netlink.Message, error) {
	if k.refusal != nil {
		return nil, k.refusal
	}
	var acknowledged []netlink.Message
	for _, message := range request {
		if message.Header.Flags&netlink.Acknowledge == 0 {
			continue
		}
		const attributes = 4 // after a nfgenmsg
		decoder, err := netlink.NewAttributeDecoder(message.Data[attributes:])
		if err != nil {
			return nil, err
		}
		verb := map[int]string{
			unix.NFT_MSG_NEWTABLE: "table", unix.NFT_MSG_DELTABLE: "delete table", unix.NFT_MSG_NEWCHAIN: "chain", unix.NFT_MSG_NEWRULE: "rule",
		}[int(message.Header.Type)&0xff]
		for decoder.Next() {
			if decoder.Type() == unix.NFTA_TABLE_NAME {
				verb += " " + decoder.String()
			}
		}
		k.batch = append(k.batch, verb)
		acknowledged = append(acknowledged, netlink.Message{
			Header: netlink.Header{Type: netlink.Error, Sequence: message.Header.Sequence, PID: message.Header.PID},
			Data:   make([]byte, 4),
		})
	}
	return acknowledged, nil
}

func TestOneTransactionReplacesBothTables(t *testing.T) {
	config := parsed(t, nil, "--directions=outbound").Config
	k := &kernel{}
	if err := apply(config.tables(), nftables.WithTestDial(k.answer)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"table fairlead-inbound", "delete table fairlead-inbound", "table fairlead-outbound", "delete table fairlead-outbound",
		"table fairlead-outbound", "chain fairlead-outbound", "chain fairlead-outbound",
	}
	for range 6 {
		want = append(want, "rule fairlead-outbound")
	}
	if !reflect.DeepEqual(k.batch, want) {
		t.Errorf("the kernel got\n%s, want\n%s", strings.Join(k.batch, "\n"), strings.Join(want, "\n"))
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	for errno, want := range map[error]string{
		unix.EPERM:           "capability NET_ADMIN",
		unix.EPROTONOSUPPORT: "load the module nf_tables",
		unix.EOPNOTSUPP:      "load the module nf_tables",
		unix.ENOENT:          "nft_redir",
		unix.EMSGSIZE:        "exclude fewer",
		unix.ENOBUFS:         "not known whether they hold",
		unix.ENOMEM:          "none were changed",
	} {
		k := &kernel{refusal: fmt.Errorf("netlink receive: %w", errno)}
		if err := apply(nil, nftables.WithTestDial(k.answer)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: the error is %v, want %q in it", errno, err, want)
		}
	}
}

// What the kernel is sent says the same when it is read back.
func TestExpressionsSurviveEncoding(t *testing.T) {
	config := parsed(t, nil, "--inbound-ports=80,9000-9100", "--exclude-outbound-cidrs=10.0.0.0/8,fd00::/8", "--exclude-gids=7").Config
	for _, table := range config.tables() {
		for _, chain := range table.chains {
			for _, rule := range chain.rules {
				for _, sent := range rule.expressions() {
					data, err := expr.MarshalExprData(unix.NFPROTO_INET, sent)
					if err != nil {
						t.Fatal(err)
					}
					read := reflect.New(reflect.TypeOf(sent).Elem()).Interface().(expr.Any)
					if err := expr.Unmarshal(unix.NFPROTO_INET, data, read); err != nil {
						t.Fatal(err)
					}
					if !reflect.DeepEqual(read, sent) {
						t.Errorf("%s: %#v is read as %#v", rule, sent, read)
					}
				}
			}
		}
	}
}
