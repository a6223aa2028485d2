// Package grpcform is the form that gRPC gives calls over HTTP/2, without its library:
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. What messages hold, and who is
// called, it does not know; connections are net/http's.
package grpcform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// ErrForm is in the error of what is no message in this form.
var ErrForm = errors.New("no message of gRPC")

// Prefix is the length of what goes before a message: a byte that says whether it is compressed,
// four with its length.
const Prefix = 5

// Frame puts before a message what goes there. The message has to begin with Prefix bytes of
// room for it.
func Frame(room []byte) []byte {
	binary.BigEndian.PutUint32(room[1:], uint32(len(room)-Prefix))
	return room
}

// Read reads the next message, of at most so many bytes. At the end of all it returns io.EOF.
func Read(from io.Reader, most uint32) ([]byte, error) {
	var header [Prefix]byte
	if _, err := io.ReadFull(from, header[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header[1:])
	switch {
	case header[0] != 0:
		return nil, fmt.Errorf("%w: it is compressed, though that was not asked for", ErrForm)
	case length > most:
		return nil, fmt.Errorf("%w: it has %d bytes, more than %d", ErrForm, length, most)
	}
	message := make([]byte, length)
	_, err := io.ReadFull(from, message)
	return message, err
}

// NewHeader is that of a request.
func NewHeader(agent string) http.Header {
	return http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {agent}}
}

// Status is how a call ended whose body was read to its end: 0 is success. It is false if the
// answer does not tell.
func Status(response *http.Response) (code int, message string, told bool) {
	// A call that fails at once has no body, and its status among the headers.
	from := response.Trailer
	if from.Get("Grpc-Status") == "" {
		from = response.Header
	}
	message = from.Get("Grpc-Message")
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	code, err := strconv.Atoi(from.Get("Grpc-Status"))
	return code, message, err == nil
}
