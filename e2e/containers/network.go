package containers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
)

// cable is a veth pair between this machine and a node.
type cable struct {
	name   string // of our end; the node's is eth0
	subnet netip.Prefix
}

func (c cable) ours() netip.Addr   { return c.subnet.Addr().Next() }
func (c cable) theirs() netip.Addr { return c.ours().Next() }

const cableBits = 30

// freeSubnet returns four addresses that nothing on the machine uses, of a range that is nobody's: it is for
// measurements in closed networks (RFC 2544). The seed keeps those who look at the same time apart.
func freeSubnet(seed int, used []netip.Prefix) (netip.Prefix, error) {
	const count = 256
	for i := range count {
		third := byte((seed + i) % count) //nolint:gosec // G115: below 256
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, third, 0}), cableBits)
		free := true
		for _, other := range used {
			free = free && !subnet.Overlaps(other)
		}
		if free {
			return subnet, nil
		}
	}
	return netip.Prefix{}, errors.New("connect node: 198.18.0.0/16 is in use on this machine")
}

// usedSubnets returns the ranges of this machine's own addresses.
func usedSubnets() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("look at the network: %w", err)
	}
	var used []netip.Prefix
	for _, addr := range addrs {
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil {
			used = append(used, prefix)
		}
	}
	return used, nil
}

// plug connects the network of the process, which has none yet.
func (c cable) plug(ctx context.Context, ip string, pid int) error {
	for _, command := range [][]string{
		{"link", "add", c.name, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(pid)},
		{"address", "add", netip.PrefixFrom(c.ours(), cableBits).String(), "dev", c.name},
		{"link", "set", c.name, "up"},
	} {
		cmd := exec.CommandContext(ctx, ip, command...) //nolint:gosec // G204: ours
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("connect node: ip %s: %w: %s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}
