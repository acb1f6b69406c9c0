package explanation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/spread"
)

// weightsNamed is how many nodes with a bad weight are named; the others are counted.
const weightsNamed = 3

// misread warns of the nodes whose weight label the scheduler ignores, as it does by an event once it has seen them.
func (f *Facts) misread() []string {
	if f.Offloading == nil || f.Offloading.Spec.Spread == nil ||
		f.Offloading.Spec.Spread.Policy != v1beta1.SpreadWeighted {
		return nil
	}
	label := f.Offloading.Spec.Spread.WeightLabel
	var nodes []string
	for i := range f.Nodes {
		if value, bad := spread.Misread(&f.Nodes[i], label); bad {
			nodes = append(nodes, fmt.Sprintf("%s (%q)", f.Nodes[i].Name, value))
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	slices.Sort(nodes)
	named := nodes[:min(len(nodes), weightsNamed)]
	text := strings.Join(named, ", ")
	if more := len(nodes) - len(named); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return []string{fmt.Sprintf("label %s is ignored, because it is no integer of at least 0, on nodes: %s", label,
		text)}
}
