package env

import (
	"net"
	"net/netip"
	"testing"
)

func TestAddressesOfAllClustersAndNodesAreApart(t *testing.T) {
	var all []netip.Prefix
	for n := range maxProviders + 1 {
		pods, services := addresses(n)
		all = append(all, pods, services)
		for i := range maxNodes {
			node := nodeRange(pods, i)
			if !pods.Contains(node.Addr()) || node.Bits() <= pods.Bits() {
				t.Errorf("node range %s is not inside the pod range %s", node, pods)
			}
			if i > 0 && nodeRange(pods, i-1).Overlaps(node) {
				t.Errorf("node ranges %d and %d of cluster %d overlap", i-1, i, n)
			}
		}
	}
	for i, a := range all {
		if !a.Addr().IsPrivate() || a.Addr().IsLoopback() {
			t.Errorf("%s is not a private range", a)
		}
		for _, b := range all[:i] {
			if a.Overlaps(b) {
				t.Errorf("%s overlaps %s", a, b)
			}
		}
	}
}

func TestTheServiceKubernetesHasTheFirstAddress(t *testing.T) {
	_, services := addresses(0)
	if got, want := firstService(services).String(), "10.111.0.1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestReservedPortsAreHeldUntilTheirServerStarts(t *testing.T) {
	var r reservations
	defer r.releaseAll()
	seen := map[int]bool{}
	for range 50 {
		port, err := r.reserve()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Errorf("port %d was given twice", port)
		}
		if port < lowestPort || port >= highestPort {
			t.Errorf("port %d is where outgoing connections live", port)
		}
		seen[port] = true
		if l, err := net.Listen("tcp", address(port)); err == nil {
			_ = l.Close()
			t.Errorf("port %d could be taken by somebody else", port)
		}
	}
	for port := range seen {
		r.release(port)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			t.Errorf("listen on released port: %v", err)
			continue
		}
		_ = l.Close()
		r.release(port) // again is harmless
	}
}
