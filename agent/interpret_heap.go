package main

import (
	"fmt"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/agent/cgroup"
	"fairlead.dev/fairlead/agent/flags"
)

const (
	// heapAuto is the value of --heap-limit that asks the control group.
	heapAuto = "auto"
	// leastHeap is what an Envoy with a small mesh needs; below, it would refuse all
	// requests.
	leastHeap = 64 << 20
	// besidesHeap is what the limit of the group has to hold beside Envoy's heap at
	// least: the agent, Envoy's program and stacks, and what the kernel counts for
	// sockets. It grows with the heap, hence the percentage.
	besidesHeap        = 64 << 20
	besidesHeapPercent = 15
)

func (s *settings) interpretHeapLimit(found *flags.Problems) {
	if s.heapLimit == heapAuto {
		bytes, err := autoHeapLimit(s.cgroupRoot)
		if err != nil {
			s.warnings = append(s.warnings, "Envoy's heap has no limit, since --heap-limit is auto and "+err.Error())
		}
		s.bootstrap.HeapLimit = bytes
		return
	}
	bytes, err := parseBytes(s.heapLimit)
	switch {
	case err != nil:
		found.Add("heap-limit", "%w", err)
	case bytes > 0 && bytes < leastHeap:
		found.Add("heap-limit", "is %s: use at least %s, below which Envoy would refuse every request, or 0 for no limit", s.heapLimit, mebibytes(leastHeap))
	default:
		s.bootstrap.HeapLimit = bytes
	}
}

// autoHeapLimit is 0 if there is no limit to derive one from.
func autoHeapLimit(root string) (uint64, error) {
	memory, err := cgroup.Open(root)
	if err != nil {
		return 0, fmt.Errorf("the memory limit is not known: %w", err)
	}
	limit, limited, err := memory.Limit()
	if err != nil {
		return 0, fmt.Errorf("the memory limit is not known: %w", err)
	}
	if !limited {
		return 0, nil
	}
	if besides := max(besidesHeap, limit/100*besidesHeapPercent); limit >= besides+leastHeap {
		return limit - besides, nil
	}
	return 0, fmt.Errorf("the memory limit of %s leaves it less than %s: raise the container's limit to %s or more",
		mebibytes(limit), mebibytes(leastHeap), mebibytes(besidesHeap+leastHeap))
}

func mebibytes(bytes uint64) string {
	return strconv.FormatFloat(float64(bytes)/(1<<20), 'f', -1, 64) + "Mi"
}

var byteUnits = []struct {
	suffix string
	size   uint64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9},
}

// parseBytes takes a whole number with a unit as Kubernetes writes it.
func parseBytes(text string) (uint64, error) {
	digits, size := text, uint64(1)
	for _, unit := range byteUnits {
		if before, ok := strings.CutSuffix(text, unit.suffix); ok {
			digits, size = before, unit.size
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > (1<<60)/size {
		return 0, fmt.Errorf("is %q: write a number of bytes, such as 268435456 or 256Mi, auto, or 0 for no limit", text)
	}
	return n * size, nil
}
