package cidr

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Pair says that the addresses of From are reached as those of To, one by one.
type Pair struct{ From, To netip.Prefix }

// String writes a pair as it is parsed.
func (p Pair) String() string { return p.From.String() + "=" + p.To.String() }

// Map is a set of pairs that do not contradict each other.
type Map []Pair

// Parse reads FROM=TO pairs of CIDRs.
func Parse(texts []string) (Map, error) {
	var out Map
	for _, text := range texts {
		p, err := parsePair(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		for _, other := range out {
			if other.From.Overlaps(p.From) || other.To.Overlaps(p.To) {
				return nil, fmt.Errorf("%q: overlaps with %q", text, other)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

func parsePair(text string) (Pair, error) {
	left, right, ok := strings.Cut(text, "=")
	if !ok {
		return Pair{}, errors.New("must be CIDR=CIDR, such as 10.244.0.0/16=10.71.0.0/16")
	}
	from, err := parsePrefix(left)
	if err != nil {
		return Pair{}, err
	}
	to, err := parsePrefix(right)
	if err != nil {
		return Pair{}, err
	}
	if from.Bits() != to.Bits() || from.Addr().BitLen() != to.Addr().BitLen() {
		return Pair{}, errors.New("both CIDRs must be of one family and size")
	}
	return Pair{From: from, To: to}, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no CIDR", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s is an address in a CIDR: the CIDR is %s", text, p.Masked())
	}
	for _, special := range specials() {
		if p.Overlaps(special) {
			return netip.Prefix{}, fmt.Errorf("%s has addresses in %s, which mean another machine elsewhere",
				text, special)
		}
	}
	return p, nil
}

// specials are the ranges whose addresses are not those of one machine for everybody: unspecified, loopback,
// link-local, multicast and reserved ones, and IPv4 in the clothes of IPv6.
func specials() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
		netip.MustParsePrefix("::/127"), netip.MustParsePrefix("::ffff:0:0/96"),
		netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
	}
}

// to returns what an address of any From is in its To.
func (m Map) to(a netip.Addr) (netip.Addr, bool) {
	for _, p := range m {
		if p.From.Contains(a) {
			return move(a, p.To), true
		}
	}
	return a, false
}

// back returns what an address of any To is in its From.
func (m Map) back(a netip.Addr) (netip.Addr, bool) {
	for _, p := range m {
		if p.To.Contains(a) {
			return move(a, p.From), true
		}
	}
	return a, false
}

// move returns the address with the network's bits in place of its own.
func move(a netip.Addr, network netip.Prefix) netip.Addr {
	out, high := a.AsSlice(), network.Addr().AsSlice()
	for i := range out {
		mask := byte(0xff)
		if left := network.Bits() - 8*i; left < 8 {
			mask = ^(mask >> max(left, 0))
		}
		out[i] = high[i]&mask | out[i]&^mask
	}
	moved, _ := netip.AddrFromSlice(out) // as long as an address
	return moved
}
