package env

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// Ports are drawn from below the range that Linux hands out to outgoing connections (32768 up), so that no connection
// takes one between its choice and the start of its server.
const (
	lowestPort  = 20000
	highestPort = 32000
	loopback    = "127.0.0.1"
	// guarding is an address of this machine that nobody asks. A port that is taken there is taken for every
	// playground, whether or not the component runs whose port it is.
	guarding = "127.255.255.1"
	anywhere = "0.0.0.0"
)

// reservations holds chosen ports open until their server starts, so that playgrounds that start together do not choose
// the same, and keeps them for their servers while these are down. The zero value is ready.
type reservations struct {
	mu           sync.Mutex
	held, guards map[int]net.Listener
}

// reserve chooses so many free ports in a row and returns the first.
func (r *reservations) reserve(n int) (int, error) {
	const tries = 1000
	var err error
	for range tries {
		first := lowestPort + rand.IntN(highestPort-lowestPort-n+1) //nolint:gosec // G404: not a secret
		if err = r.takeRow(first, n); err == nil {
			return first, nil
		}
	}
	return 0, fmt.Errorf("choose a free port: %w", err)
}

// row returns ports that follow each other.
func row(first, n int) []int {
	ports := make([]int, n)
	for i := range ports {
		ports[i] = first + i
	}
	return ports
}

// takeRow takes all ports of a row or none.
func (r *reservations) takeRow(first, n int) error {
	for i, port := range row(first, n) {
		if err := r.take(port); err != nil {
			r.giveBack(row(first, i)...)
			return err
		}
	}
	return nil
}

// giveBack lets others have ports.
func (r *reservations) giveBack(ports ...int) {
	r.release(ports...)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, port := range ports {
		_ = r.guards[port].Close()
		delete(r.guards, port)
	}
}

// take takes a port that no playground has and nobody uses on any address.
func (r *reservations) take(port int) error {
	all, err := listen(anywhere, port)
	if err != nil {
		return err
	}
	_ = all.Close()
	guard, err := listen(guarding, port)
	if err != nil {
		return err
	}
	held, err := listen(loopback, port)
	if err != nil {
		_ = guard.Close()
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held, r.guards = map[int]net.Listener{}, map[int]net.Listener{}
	}
	r.held[port], r.guards[port] = held, guard
	return nil
}

// guard keeps ports that were chosen before, unless whoever chose them still does.
func (r *reservations) guard(ports map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.guards == nil {
		r.held, r.guards = map[int]net.Listener{}, map[int]net.Listener{}
	}
	for _, port := range ports {
		if guard, err := listen(guarding, port); err == nil {
			r.guards[port] = guard
		}
	}
}

func listen(on string, port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort(on, strconv.Itoa(port)))
}

// release frees the ports for their server.
func (r *reservations) release(ports ...int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, port := range ports {
		if l, ok := r.held[port]; ok {
			_ = l.Close()
			delete(r.held, port)
		}
	}
}

// releaseAll frees every port, and keeps none.
func (r *reservations) releaseAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, taken := range []map[int]net.Listener{r.held, r.guards} {
		for _, l := range taken {
			_ = l.Close()
		}
		clear(taken)
	}
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// Addresses of pods and services are only numbers here: nothing routes them, so playgrounds need not differ from each
// other. They are not loopback because the API server refuses EndpointSlices with loopback addresses.
const (
	firstPodNet     = 11
	firstServiceNet = 111
	nodeBits        = 22
)

// addresses returns the pod and service ranges of the n-th cluster, from 0.
func addresses(n int) (pods, services netip.Prefix) {
	subnet := func(second int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), 0, 0}), 16) //nolint:gosec // G115: below 162
	}
	return subnet(firstPodNet + n), subnet(firstServiceNet + n)
}

// nodeRange returns the pod range of the i-th node, from 0, of a cluster with the given pod range: 1022 pods.
func nodeRange(pods netip.Prefix, i int) netip.Prefix {
	a := pods.Addr().As4()
	a[2] = byte(i << (24 - nodeBits)) //nolint:gosec // G115: at most 60 nodes
	return netip.PrefixFrom(netip.AddrFrom4(a), nodeBits)
}

// firstService returns the address of the Service "kubernetes".
func firstService(services netip.Prefix) netip.Addr { return services.Addr().Next() }
