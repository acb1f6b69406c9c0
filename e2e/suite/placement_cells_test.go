package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// Kinds of nodes, for cells that do not care which one.
const (
	anOrdinaryNode = "an ordinary node"
	aVirtualNode   = "a virtual node"
)

// What kube-scheduler says of nodes that the pod itself does not want.
const unwanted = "didn't match Pod's node affinity/selector"

// cell is a pod, and what must become of it.
type cell struct {
	pod *corev1.Pod
	// on is the node, or the kind of node, where it runs; "" when it stays pending.
	on string
	// says are words of its refusal.
	says []string
}

// problem returns what is wrong with the cell's pod, and "" when nothing is. A pod that must stay pending is right only
// once the scheduler has looked at it and said so.
func (c cell) problem(pod *corev1.Pod, virtual map[string]bool) string {
	if pod == nil {
		return "it is gone"
	}
	node, why := pod.Spec.NodeName, refusal(pod)
	switch {
	case c.on == "" && node != "":
		return fmt.Sprintf("is on %s, want it to wait because %q", node, c.says)
	case c.on == "" && why == "":
		return "the scheduler has not spoken"
	case c.on == "":
		for _, words := range c.says {
			if !strings.Contains(why, words) {
				return fmt.Sprintf("waits because %q, want it to say %q", why, words)
			}
		}
		return ""
	case node == "":
		return fmt.Sprintf("waits because %q, want it on %s", why, c.on)
	case node != c.on && (c.on != aVirtualNode || !virtual[node]) && (c.on != anOrdinaryNode || virtual[node]):
		return fmt.Sprintf("is on %s, want it on %s", node, c.on)
	case pod.Status.Phase != corev1.PodRunning:
		return "does not run: " + waitingFor(pod)
	}
	return ""
}

// refusal returns why the scheduler could not place the pod, "" if it never said so.
func refusal(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	return ""
}

// createCells creates the pods of all cells, many at once.
func (w *world) createCells(cells map[string]cell) {
	w.t.Helper()
	w.Expect(w.creating(cells).Wait()).To(Succeed())
}

// creating creates the pods of all cells in the background.
func (w *world) creating(cells map[string]cell) *errgroup.Group {
	const atOnce = 16
	names := slices.Collect(maps.Keys(cells))
	var creations errgroup.Group
	for first := range atOnce {
		creations.Go(func() error {
			for n := first; n < len(names); n += atOnce {
				pod := cells[names[n]].pod
				if err := w.home.Create(w.ctx, pod); err != nil {
					return fmt.Errorf("create pod %s/%s: %w", pod.Namespace, pod.Name, err)
				}
			}
			return nil
		})
	}
	return &creations
}

// settle waits until what must become of all cells has, and reports each of the others by itself.
func (w *world) settle(t *testing.T, cells map[string]cell) {
	t.Helper()
	var wrong map[string]string
	err := wait.PollUntilContextTimeout(w.ctx, poll, decided, true, func(context.Context) (bool, error) {
		var err error
		wrong, err = w.wrong(cells)
		return len(wrong) == 0, err
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("look at pods: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(cells)) {
		t.Run(name, func(t *testing.T) {
			if problem := wrong[name]; problem != "" {
				t.Errorf("pod %s/%s %s", cells[name].pod.Namespace, cells[name].pod.Name, problem)
			}
		})
	}
}

// wrong returns the problems of those cells that have one.
func (w *world) wrong(cells map[string]cell) (map[string]string, error) {
	virtual, err := w.virtualNodes()
	if err != nil {
		return nil, err
	}
	var pods corev1.PodList
	if err := w.home.List(w.ctx, &pods); err != nil {
		return nil, err
	}
	live := map[client.ObjectKey]*corev1.Pod{}
	for i := range pods.Items {
		live[client.ObjectKeyFromObject(&pods.Items[i])] = &pods.Items[i]
	}
	problems := map[string]string{}
	for name, c := range cells {
		if problem := c.problem(live[client.ObjectKeyFromObject(c.pod)], virtual); problem != "" {
			problems[name] = problem
		}
	}
	return problems, nil
}

// virtualNodes returns the names of the virtual nodes that there are.
func (w *world) virtualNodes() (map[string]bool, error) {
	var nodes corev1.NodeList
	err := w.home.List(w.ctx, &nodes, client.MatchingLabels{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual})
	names := map[string]bool{}
	for _, node := range nodes.Items {
		names[node.Name] = true
	}
	return names, err
}

// virtualNode makes another virtual node of a provider, waits until it takes pods, and removes it after the scenario.
// Make it before the namespaces whose pods go there, so that it goes after them.
func (w *world) virtualNode(name, provider string, labels ...string) *v1beta1.VirtualNode {
	w.t.Helper()
	vn := build.VirtualNode(name, provider, labels...)
	w.t.Cleanup(func() {
		g, ctx := NewWithT(w.t), context.Background()
		g.Expect(client.IgnoreNotFound(w.home.Delete(ctx, vn))).To(Succeed())
		node := &corev1.Node{}
		g.Eventually(func() error { return w.home.Get(ctx, client.ObjectKey{Name: name}, node) }, later, poll).
			Should(MatchError(notFound, "not found"), "node %s leaves", name)
	})
	w.create(vn)
	w.Eventually(func(g Gomega) {
		var node corev1.Node
		g.Expect(w.get(w.home, "", name, &node)).To(Succeed())
		g.Expect(node.Spec.Taints).To(ConsistOf(v1beta1.Taint()), "it is ready, so nothing else keeps pods away")
	}).Should(Succeed())
	return vn
}

// pinned requires a node by its name, as a label.
func pinned(node string) func(*corev1.PodSpec) {
	return requiring(corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
		Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
	}}})
}

// named requires, or excludes, a node by its name, as a field.
func named(op corev1.NodeSelectorOperator, node string) func(*corev1.PodSpec) {
	return requiring(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{
		Key: "metadata.name", Operator: op, Values: []string{node},
	}}})
}

// virtual requires virtual nodes, or excludes them.
func virtual(op corev1.NodeSelectorOperator) func(*corev1.PodSpec) {
	return requiring(corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
		Key: v1beta1.LabelNodeType, Operator: op, Values: []string{v1beta1.NodeTypeVirtual},
	}}})
}

func requiring(term corev1.NodeSelectorTerm) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{term},
			},
		}}
	}
}

// everything is the toleration of pods that want to be wherever they can.
func everything() corev1.Toleration { return corev1.Toleration{Operator: corev1.TolerationOpExists} }

// block makes a namespace of the twin's name on a provider, which keeps the twin from being made until it is opened.
func (w *world) block(provider string) (open func()) {
	w.t.Helper()
	foreign := build.Namespace(w.twin()).Label("owner", "somebody").Obj()
	w.Expect(away(provider).Create(w.ctx, foreign)).To(Succeed())
	open = func() {
		err := away(provider).Delete(context.Background(), foreign, client.Preconditions{UID: &foreign.UID})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // both mean that it is gone
			w.t.Errorf("delete namespace %s on %s: %v", foreign.Name, provider, err)
		}
	}
	w.t.Cleanup(open)
	return open
}

// hold keeps the twin on a provider from going away until it is let go.
func (w *world) hold(provider string) (letGo func()) {
	w.t.Helper()
	holder := configMap(w.twin(), "holder", "")
	holder.Finalizers = []string{"example.com/hold"}
	w.Expect(away(provider).Create(w.ctx, holder)).To(Succeed())
	letGo = func() {
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		if err := away(provider).Patch(context.Background(), holder, patch); client.IgnoreNotFound(err) != nil {
			w.t.Errorf("let go of %s on %s: %v", w.twin(), provider, err)
		}
	}
	w.t.Cleanup(letGo)
	return letGo
}
