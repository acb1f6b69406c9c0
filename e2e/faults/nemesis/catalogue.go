package nemesis

import (
	"cmp"
	"slices"
)

// Catalogue returns all faults, in an order that does not change.
func Catalogue() []Fault {
	all := slices.Concat(linkFaults(), serverFaults(), processFaults(), tamperingFaults(),
		credentialFaults(), homeFaults())
	slices.SortStableFunc(all, func(a, b Fault) int { return cmp.Compare(a.Breaks, b.Breaks) })
	return all
}
