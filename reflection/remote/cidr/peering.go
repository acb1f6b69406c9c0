package cidr

import (
	"fmt"
	"net/netip"
)

// Peering is how home and one provider reach each other's addresses. The zero value is a flat network: everything is
// reached at the address that it has.
type Peering struct{ away, home Map }

// New returns a peering in which home reaches the provider's addresses by away, and the provider reaches what home
// knows by home. Addresses that are not in away are none of the provider's, unless away is empty; those that are not
// in home are reached as they are.
func New(away, home Map) (Peering, error) {
	for _, theirs := range away {
		for _, ours := range home {
			if theirs.To.Overlaps(ours.From) {
				return Peering{}, fmt.Errorf("%s would mean the provider's %s and home's own %s at home",
					theirs.To, theirs.From, ours.From)
			}
			if theirs.From.Overlaps(ours.To) {
				return Peering{}, fmt.Errorf("%s would mean home's %s and the provider's own %s at the provider",
					ours.To, ours.From, theirs.From)
			}
		}
	}
	return Peering{away: away, home: home}, nil
}

// Home returns where home reaches an address that the provider says is of one of its pods, or false when it cannot be.
func (p Peering) Home(a netip.Addr) (netip.Addr, bool) {
	if a.Zone() != "" || a.Is4In6() || !a.IsGlobalUnicast() {
		return netip.Addr{}, false
	}
	if len(p.away) == 0 {
		return a, true
	}
	return p.away.to(a)
}

// Away returns where the provider reaches what home reaches at an address; its own pods are there under the address
// that it gave them.
func (p Peering) Away(a netip.Addr) netip.Addr {
	if own, ok := p.away.back(a); ok {
		return own
	}
	reached, _ := p.home.to(a)
	return reached
}
