package mesh

import "time"

// Fault delays and fails requests on purpose; a Percent is a share from 0 to 100.
type Fault struct {
	Delay *FaultDelay
	Abort *FaultAbort
	// Throttle bounds how fast answers are returned.
	Throttle *FaultThrottle
}

// FaultDelay holds requests back.
type FaultDelay struct {
	Percent float64
	For     time.Duration
}

// FaultAbort answers requests instead of forwarding them.
type FaultAbort struct {
	Percent float64
	// HTTPStatus is zero where GRPCStatus is the answer.
	HTTPStatus uint32
	GRPCStatus uint32
}

// FaultThrottle bounds how fast the bodies of answers are returned.
type FaultThrottle struct {
	Percent          float64
	KiBytesPerSecond uint64
}

// Mirror is where copies of requests go.
type Mirror struct {
	Destination Destination
	// Percent is the share of requests that is copied.
	Percent float64
}

// CORS is what browsers are told that ask whether another origin's page may call. Fields
// that are empty are left out of the answer.
type CORS struct {
	Origins       []StringMatch
	Methods       []string
	Headers       []string
	ExposeHeaders []string
	MaxAge        time.Duration
	// Credentials is nil where nothing is said of them.
	Credentials *bool
	// IgnoreUnmatched answers preflight requests of other origins, which are forwarded
	// otherwise.
	IgnoreUnmatched bool
}
