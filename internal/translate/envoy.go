package translate

import (
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// packed wraps a message of an extension. Fields that are maps come in one order.
func packed(message proto.Message) *anypb.Any {
	wrapped := &anypb.Any{}
	if err := anypb.MarshalFrom(wrapped, message, proto.MarshalOptions{Deterministic: true}); err != nil {
		// Only a string that is not UTF-8 can do that, and all text here comes from the
		// API server's JSON or was checked.
		panic(fmt.Sprintf("cannot marshal %s: %v", message.ProtoReflect().Descriptor().FullName(), err))
	}
	return wrapped
}

func socketAddress(address netip.Addr, port uint16) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       address.String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}
