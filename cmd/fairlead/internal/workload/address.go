package workload

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"time"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/cmd/fairlead/internal/reserve"
	"fairlead.dev/fairlead/internal/mesh"
)

const (
	// addressWait bounds how long others may take to choose theirs.
	addressWait = 10 * time.Second
	// lockInterval is how soon a lock is tried again that somebody holds.
	lockInterval = 5 * time.Millisecond
)

// lastAddress is what the lock file remembers: addresses are given out in turn, so that
// nobody gets one on which callers may still expect the workload that had it before.
type lastAddress struct {
	PID  int        `json:"pid"`
	Last netip.Addr `json:"last"`
}

// address is a workload's, for as long as it is not closed.
type address struct {
	// pod is what the API server is told.
	pod netip.Addr
	// local is where it is on this machine.
	local netip.Addr
	io.Closer
}

// reserveAddress takes an address on which the ports are free. An address that another
// program uses, perhaps a workload of another data folder, is passed over.
func reserveAddress(dir datadir.Dir, ports []uint16, taken map[netip.Addr]bool) (*address, error) {
	lock, err := acquire(dir.AddressLock(), addressWait)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	defer func() { _ = lock.Release() }()
	memory := lastAddress{Last: mesh.PodRange().Addr()}
	if err := lock.Read(&memory); err != nil {
		return nil, fmt.Errorf("address: %s: %w: remove that file", dir.AddressLock(), err)
	}
	candidate := memory.Last
	for {
		candidate = nextAddress(candidate)
		if candidate == memory.Last {
			return nil, fmt.Errorf("address: none of %s is free", mesh.PodRange())
		}
		if taken[candidate] {
			continue
		}
		reserved, err := reserveOne(candidate, ports)
		if errors.Is(err, reserve.ErrTaken) || errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		memory.Last = candidate
		if err := lock.Write(memory); err != nil {
			return nil, errors.Join(fmt.Errorf("address: %w", err), reserved.Close())
		}
		return reserved, nil
	}
}

// nextAddress goes round the range, leaving out those that end in 0 or 255, which some
// programs take for a network or for all hosts.
func nextAddress(a netip.Addr) netip.Addr {
	for {
		a = a.Next()
		if !mesh.PodRange().Contains(a) {
			a = mesh.PodRange().Addr()
		}
		if last := a.As4()[3]; last != 0 && last != 255 {
			return a
		}
	}
}

func reserveOne(pod netip.Addr, ports []uint16) (*address, error) {
	held, err := reserve.Name("address/" + pod.String())
	if err != nil {
		return nil, err
	}
	local := mesh.LoopbackAddress(pod)
	for _, number := range ports {
		err := reserve.Bindable(netip.AddrPortFrom(local, number))
		if errors.Is(err, syscall.EACCES) {
			err = fmt.Errorf("port %d is for root only: choose one from 1024 up; a Service's targetPort can lead to it", number)
		}
		if err != nil {
			return nil, errors.Join(err, held.Close())
		}
	}
	return &address{pod: pod, local: local, Closer: held}, nil
}

// acquire waits for a lock that others hold for moments only.
func acquire(path string, patience time.Duration) (*datadir.Lock, error) {
	enough := time.NewTimer(patience)
	defer enough.Stop()
	ticker := time.NewTicker(lockInterval)
	defer ticker.Stop()
	for {
		lock, err := datadir.Acquire(path)
		if _, held := errors.AsType[*datadir.HeldError](err); !held {
			return lock, err
		}
		select {
		case <-enough.C:
			return nil, err
		case <-ticker.C:
		}
	}
}
