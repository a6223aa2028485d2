package probe

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"fairlead.dev/fairlead/agent/grpcform"
)

// What is written by hand is what the protobuf library reads.
func TestCheckRequest(t *testing.T) {
	for _, service := range []string{"", "shop.Reviews", string(bytes.Repeat([]byte("x"), 1000))} {
		framed := checkRequest(service)
		if framed[0] != 0 || int(binary.BigEndian.Uint32(framed[1:])) != len(framed)-grpcform.Prefix {
			t.Errorf("%.20q: framed by % x for %d bytes", service, framed[:grpcform.Prefix], len(framed)-grpcform.Prefix)
		}
		var request healthpb.HealthCheckRequest
		if err := proto.Unmarshal(framed[grpcform.Prefix:], &request); err != nil || request.GetService() != service {
			t.Errorf("%.20q is read as %.20q, %v", service, request.GetService(), err)
		}
	}
}

func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func TestServingStatusTellsWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		framed []byte
		want   string
	}{
		{nil, "its length is wrong"},
		{[]byte{0, 0, 0, 0, 2, 8}, "its length is wrong"},
		{[]byte{1, 0, 0, 0, 0}, "it is compressed, though that was not asked for"},
		{frame([]byte{8}), "it is cut short"},
		{frame([]byte{18, 9, 'a'}), "it is cut short"},
		{frame([]byte{11}), "it is cut short"},
		{frame([]byte{15}), "not protobuf"},
	} {
		if _, err := servingStatus(test.framed); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("% x: %v, want %s", test.framed, err, test.want)
		}
	}
}

// Whatever the library reads as a response, we read alike.
func FuzzServingStatus(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{8, 1})
	f.Add([]byte{8, 2, 8, 1})
	f.Add([]byte{18, 2, 'a', 'b', 8, 1, 29, 1, 2, 3, 4, 33, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := servingStatus(frame(message))
		var response healthpb.HealthCheckResponse
		if proto.Unmarshal(message, &response) != nil || err != nil {
			return
		}
		if int32(got) != int32(response.GetStatus()) {
			t.Errorf("% x is read as %d, want %d", message, got, response.GetStatus())
		}
	})
}
