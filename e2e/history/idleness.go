package history

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// idleness judges I10: while nothing happens, our components write once a minute for each thousand objects at most.
// Leases, which say that somebody lives, are not counted.
type idleness struct {
	since  time.Time
	writes map[string]int
}

func (i *idleness) begin(at time.Time) { i.since, i.writes = at, map[string]int{} }

func (i *idleness) request(e *Entry) {
	if i.since.IsZero() || !stores(e.Audit) || !component(e.Audit.User.Username) {
		return
	}
	ref := e.Audit.ObjectRef
	what := fmt.Sprintf("%s %s %s", e.Cluster, e.Audit.Verb, ref.Resource)
	if ref.Subresource != "" {
		what += "/" + ref.Subresource
	}
	i.writes[what]++
}

// stores says whether a request would leave something behind: reviews and tokens do not.
func stores(a *auditv1.Event) bool {
	if a.Stage != auditv1.StageResponseComplete || a.ObjectRef == nil || !isWrite(a.Verb) {
		return false
	}
	ref := a.ObjectRef
	return ref.APIGroup != "authorization.k8s.io" && ref.APIGroup != "authentication.k8s.io" &&
		ref.Resource != "leases" && ref.Subresource != "token"
}

func isWrite(verb string) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, verb)
}

// end judges the time that is over; objects is how many there are to look after.
func (i *idleness) end(at time.Time, objects int) []finding {
	since, writes := i.since, i.writes
	i.since = time.Time{}
	if since.IsZero() {
		return nil
	}
	total := 0
	for _, n := range writes {
		total += n
	}
	const thousand = 1000
	minutes := max(1, at.Sub(since).Minutes())
	allowed := int(math.Ceil(minutes * math.Ceil(float64(max(objects, 1))/thousand)))
	if total <= allowed {
		return nil
	}
	says := fmt.Sprintf("in %s in which nobody did anything, our components wrote %d times, which may be %d: %s",
		at.Sub(since).Round(time.Second), total, allowed, most(writes))
	return []finding{{Violation: Violation{Invariant: I10, At: at, Says: says}, key: says + at.String()}}
}

// most names what there is most of.
func most(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	const enough = 5
	var out []string
	for _, name := range names[:min(enough, len(names))] {
		out = append(out, fmt.Sprintf("%d times %s", counts[name], name))
	}
	return strings.Join(out, ", ")
}
