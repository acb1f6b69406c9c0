package suite

import (
	"context"
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// runs is the outcome of a pod that runs where it is pinned to.
const runs = ""

// outcomes are the columns of the placement table: what becomes of a pod that is pinned to a node of each kind. It
// [runs], or these are words of its refusal.
type outcomes struct{ ordinary, ready, notReady, notSelected string }

func everywhere(words string) outcomes { return outcomes{words, words, words, words} }

// row is a row of the placement table.
type row struct {
	namespace, class string
	now              outcomes
	// then is what becomes of the same pods when what they wait for has come.
	then outcomes
}

// More of what a pod is told.
const (
	twinTaken   = `the twin namespace on cluster "provider-2" cannot be created`
	badSelector = "the cluster selector of this namespace is invalid"
	unprocessed = "waiting for the offloading of this namespace to be processed"
	goingAway   = "the offloading of this namespace is being removed"
	twinsLeave  = "waiting until the twin namespaces of this namespace are gone"
)

// table is the placement table. Its third column is resolved by making room for the twin, and the rows of namespaces
// whose offloading is missing, broken or going away by finishing that.
func table() map[string]row {
	local := outcomes{runs, localStays, localStays, localStays}
	remote := outcomes{remoteGoes, runs, twinTaken, notSelected}
	both := outcomes{runs, runs, twinTaken, notSelected}
	class := outcomes{classGoes, runs, twinTaken, notSelected}
	ordinary := outcomes{runs, notOffloaded, notOffloaded, notOffloaded}
	invalid := outcomes{runs, badSelector, badSelector, badSelector}
	nowhere := everywhere(notOffloaded)
	going := outcomes{runs, goingAway, goingAway, goingAway}
	ready := func(o outcomes) outcomes { o.notReady = runs; return o }
	return map[string]row{
		"not offloaded":                      {"table-ordinary", "", ordinary, ordinary},
		"not offloaded, another class":       {"table-ordinary", "other", ordinary, ordinary},
		"not offloaded, class liqo":          {"table-ordinary", "liqo", nowhere, nowhere},
		"Local":                              {"table-local", "", local, local},
		"Local, another class":               {"table-local", "other", local, local},
		"Local, class liqo":                  {"table-local", "liqo", class, ready(class)},
		"Remote":                             {"table-remote", "", remote, ready(remote)},
		"Remote, another class":              {"table-remote", "other", remote, ready(remote)},
		"Remote, class liqo":                 {"table-remote", "liqo", class, ready(class)},
		"LocalAndRemote":                     {"table-both", "", both, ready(both)},
		"LocalAndRemote, another class":      {"table-both", "other", both, ready(both)},
		"LocalAndRemote, class liqo":         {"table-both", "liqo", class, ready(class)},
		"selector invalid":                   {"table-invalid", "", invalid, ready(both)},
		"announced, not offloaded":           {"table-announced", "", everywhere(unprocessed), ready(both)},
		"announced, not offloaded, liqo":     {"table-announced", "liqo", everywhere(unprocessed), ready(class)},
		"going away, was Local":              {"table-going-local", "", going, ordinary},
		"going away, was LocalAndRemote":     {"table-going-both", "", going, ordinary},
		"going away, was Remote":             {"table-going-remote", "", everywhere(twinsLeave), ordinary},
		"going away, was Remote, class liqo": {"table-going-remote", "liqo", everywhere(goingAway), nowhere},
	}
}

// The columns' nodes. The one that is not selected belongs to a provider that is, so its twin is ready.
const (
	ordinaryNode    = "consumer-node-1"
	readyNode       = "provider-1"
	notReadyNode    = "provider-2"
	notSelectedNode = "provider-1-other"
)

// cells returns the pods of the whole table with what must become of them: plain ones, and others that tolerate
// everything, which must make no difference.
func cells(of func(row) outcomes) map[string]cell {
	all := map[string]cell{}
	for name, row := range table() {
		for node, outcome := range map[string]string{
			ordinaryNode: of(row).ordinary, readyNode: of(row).ready,
			notReadyNode: of(row).notReady, notSelectedNode: of(row).notSelected,
		} {
			for _, tolerations := range []string{"", "everything"} {
				pod := build.Pod(strings.Join([]string{"pod", row.class, node, tolerations}, "-") + "-x").
					Namespace(row.namespace).Spec(pinned(node))
				if row.class != "" {
					pod.RuntimeClass(row.class)
				}
				if tolerations != "" {
					pod.Tolerate(everything())
				}
				c := cell{pod: pod.Obj(), says: []string{outcome}}
				if outcome == runs {
					c = cell{pod: pod.Obj(), on: node}
				}
				all[fmt.Sprintf("%s/%s tolerating %q", name, node, tolerations)] = c
			}
		}
	}
	return all
}

func TestThePlacementTable(t *testing.T) {
	w := newWorld(t, "table-ordinary")
	w.runtimeClass("other")
	w.virtualNode(notSelectedNode, "provider-1", "liqo.io/provider", "other")
	s := &stage{t: t, selector: build.Selector("liqo.io/provider", providers()...)}
	s.offload("table-local", v1beta1.Local)
	s.offload("table-remote", v1beta1.Remote)
	s.offload("table-both", v1beta1.LocalAndRemote)
	s.invalid("table-invalid")
	s.announced("table-announced")
	s.dismissed("table-going-local", v1beta1.Local)
	s.dismissed("table-going-both", v1beta1.LocalAndRemote)
	s.dismissed("table-going-remote", v1beta1.Remote)
	s.set()

	w.createCells(cells(func(r row) outcomes { return r.now }))
	t.Run("now", func(t *testing.T) { w.settle(t, cells(func(r row) outcomes { return r.now })) })
	for _, resolve := range s.resolutions {
		resolve()
	}
	then := cells(func(r row) outcomes { return r.then })
	later := map[string]cell{}
	for name, c := range then {
		// A pod that must wait on is not woken to hear of another reason; one that comes now is told it.
		if c.on == "" {
			then[name] = cell{pod: c.pod}
			fresh := c.pod.DeepCopy()
			fresh.Name = "later-" + fresh.Name
			later[name] = cell{pod: fresh, says: c.says}
		}
	}
	t.Run("then", func(t *testing.T) { w.settle(t, then) })
	w.createCells(later)
	t.Run("later", func(t *testing.T) { w.settle(t, later) })
}

// stage is the namespaces of the table, how they get ready for their pods, and how what their pods wait for comes.
type stage struct {
	t                         *testing.T
	selector                  *v1beta1.ClusterSelector
	preparations, resolutions []func()
}

func (s *stage) set() {
	for _, prepare := range s.preparations {
		prepare()
	}
}

// offload offloads a namespace to both providers, of which one cannot have the twin.
func (s *stage) offload(ns string, strategy v1beta1.PodOffloadingStrategy) {
	w := newWorld(s.t, ns)
	open := w.block(notReadyNode)
	w.create(build.Offloading(ns).Strategy(strategy).Selector(s.selector).Obj())
	s.preparations = append(s.preparations, func() { w.Eventually(w.phase).Should(Equal(v1beta1.PhaseSomeFailed)) })
	s.resolutions = append(s.resolutions, open)
}

// invalid offloads a namespace with a selector that only its parser can see to be wrong.
func (s *stage) invalid(ns string) {
	w := newWorld(s.t, ns)
	w.create(build.Offloading(ns).Selector(build.Selector("liqo.io/provider", "no such value!")).Obj())
	s.preparations = append(s.preparations, func() {
		w.Eventually(w.phase).Should(Equal(v1beta1.PhaseNoClusterSelected))
	})
	s.resolutions = append(s.resolutions, func() {
		w.edit(func(spec *v1beta1.NamespaceOffloadingSpec) { spec.ClusterSelector = s.selector })
	})
}

// announced labels a namespace before it is offloaded.
func (s *stage) announced(ns string) {
	w := newWorld(s.t, ns, v1beta1.LabelSchedulingEnabled, "true")
	s.resolutions = append(s.resolutions, func() { w.create(build.Offloading(ns).Selector(s.selector).Obj()) })
}

// dismissed offloads a namespace and takes that back, which cannot finish because something holds a twin.
func (s *stage) dismissed(ns string, strategy v1beta1.PodOffloadingStrategy) {
	w := newWorld(s.t, ns)
	w.create(build.Offloading(ns).Strategy(strategy).Selector(s.selector).Obj())
	s.preparations = append(s.preparations, func() {
		w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
		s.resolutions = append(s.resolutions, w.hold(readyNode))
		w.Expect(w.home.Delete(w.ctx, build.Offloading(ns).Obj())).To(Succeed())
		w.Eventually(w.phase).Should(Equal(v1beta1.PhaseTerminating))
	})
}

// edit changes the namespace's NamespaceOffloading.
func (w *world) edit(change func(*v1beta1.NamespaceOffloadingSpec)) {
	w.t.Helper()
	off := w.offloading()
	patch := client.MergeFrom(off.DeepCopy())
	change(&off.Spec)
	w.Expect(w.home.Patch(w.ctx, off, patch)).To(Succeed())
}

// runtimeClass makes a RuntimeClass on all clusters, since a pod takes its class along.
func (w *world) runtimeClass(name string) {
	w.t.Helper()
	for _, cluster := range playground.Clusters() {
		class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Handler: name}
		w.Expect(cluster.Client().Create(w.ctx, class)).To(Succeed())
		w.t.Cleanup(func() {
			if err := cluster.Client().Delete(context.Background(), class); err != nil {
				w.t.Errorf("delete RuntimeClass %s on %s: %v", name, cluster.Name, err)
			}
		})
	}
}
