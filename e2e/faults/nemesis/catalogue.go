package nemesis

import "slices"

// Catalogue returns all faults.
func Catalogue() []Fault {
	return slices.Concat(linkFaults())
}
