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
		port, err := r.reserve(1)
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

func TestAPortStaysItsPlaygroundsWhileNothingListens(t *testing.T) {
	var mine, others reservations
	defer others.releaseAll()
	port, err := mine.reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	mine.release(port) // to a server that then dies
	if err := others.take(port); err == nil {
		t.Error("another playground took the port of a server that is down")
	}
	if _, err := net.Dial("tcp", address(port)); err == nil {
		t.Error("something answers where a server is down")
	}

	// A later command on the same playground keeps them, too, once the first has ended.
	var later reservations
	later.guard(map[string]int{Etcd: port})
	mine.releaseAll()
	if err := others.take(port); err != nil {
		t.Errorf("the port is still kept by whoever could not get it: %v", err)
	}
	others.releaseAll()
	later.guard(map[string]int{Etcd: port})
	if err := others.take(port); err == nil {
		t.Error("another playground took a port that is in use by an older one")
	}
	later.releaseAll()
	if err := others.take(port); err != nil {
		t.Errorf("the port is not free after all: %v", err)
	}
}

func TestAPortIsFreeOnlyIfNoAddressOfTheMachineHasIt(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.2:0") // where the second replica of an agent might be
	if err != nil {
		t.Fatal(err)
	}
	var r reservations
	defer r.releaseAll()
	port := busy.Addr().(*net.TCPAddr).Port
	if err := r.take(port); err == nil {
		t.Error("a port was taken that a server uses")
	}
	_ = busy.Close()
	if err := r.take(port); err != nil {
		t.Errorf("a port that was refused before cannot be taken: %v", err)
	}
}

func TestPortsInARowAreTakenTogetherOrNotAtAll(t *testing.T) {
	var mine, others reservations
	defer mine.releaseAll()
	defer others.releaseAll()
	first, err := mine.reserve(5)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range row(first, 5) {
		if err := others.take(port); err == nil {
			t.Errorf("port %d of the row could be taken", port)
		}
	}
	mine.giveBack(row(first, 3)...)
	if err := others.takeRow(first, 5); err == nil { // the last two are still somebody's
		t.Fatal("a row was taken of which a part is taken")
	}
	for _, port := range row(first, 3) {
		if err := mine.take(port); err != nil {
			t.Errorf("port %d of a row that was not to be had is still kept: %v", port, err)
		}
	}
	if len(row(first, 0)) != 0 {
		t.Error("a row of none has ports")
	}
}
