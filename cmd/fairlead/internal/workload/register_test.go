package workload

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestUpIsGone(t *testing.T) {
	// Somebody else's server has the port.
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.StartTLS()
	defer other.Close()
	if err := get(other.URL); !upIsGone(err) {
		t.Errorf("another server's certificate is not recognized: %v", err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := get("http://" + closed); !upIsGone(err) {
		t.Errorf("a closed port is not recognized: %v", err)
	}
	if upIsGone(nil) || upIsGone(io.ErrUnexpectedEOF) {
		t.Error("other outcomes are taken for an absent API server")
	}
}

func get(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
