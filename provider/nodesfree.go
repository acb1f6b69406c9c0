package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/twinspace/twinspace/provider/translate"
)

// surveyInterval is how often it is looked whether the pods make their Nodes say something else. It bounds what a burst
// of pods costs: one write to each Node in that time.
const surveyInterval = 5 * time.Second

// usedUp is in the words of an API server about a pod for which a quota has no room left.
const usedUp = "exceeded quota"

// requested returns what a pod asks for altogether, or nil for nothing. The remote pods that we keep have it in the
// field for what a pod asks for as a whole, since their containers are not kept.
func requested(pod *corev1.Pod) *corev1.ResourceRequirements {
	all := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{UseStatusResources: true})
	if len(all) == 0 {
		return nil
	}
	return &corev1.ResourceRequirements{Requests: all}
}

// taken returns what our remote pods take of each node of the provider, and whether they are all known. Finished ones
// take nothing.
func (p *Pods) taken() (of map[string]corev1.ResourceList, known bool) {
	of = map[string]corev1.ResourceList{}
	watches, known := p.twinWatches()
	known = known && p.mentioned()
	for _, w := range watches {
		for _, pod := range w.pods(metav1.NamespaceAll) {
			if pod.Spec.NodeName == "" || pod.Spec.Resources == nil || translate.Finished(pod.Status.Phase) {
				continue
			}
			if of[pod.Spec.NodeName] == nil {
				of[pod.Spec.NodeName] = corev1.ResourceList{}
			}
			add(of[pod.Spec.NodeName], pod.Spec.Resources.Requests)
		}
	}
	return of, known
}

// twinWatches returns the watches of the twins by home namespace, and whether they are all complete.
func (p *Pods) twinWatches() (all map[string]*watch, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, known = map[string]*watch{}, true
	for home, t := range p.twins {
		if t.phase == twinGone {
			continue
		}
		all[home] = t.watch
		known = known && t.watch.hasSynced()
	}
	return all, known
}

// mentioned says that every twin in which home has a pod was spoken of. After a start they are, one after the other.
func (p *Pods) mentioned() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	missing := func(home *corev1.Pod) bool {
		return p.twins[home.Namespace] == nil && translate.Existed(home) && !translate.Finished(home.Status.Phase)
	}
	for _, n := range p.nodes {
		if !n.watch.hasSynced() || slices.ContainsFunc(n.watch.pods(metav1.NamespaceAll), missing) {
			return false
		}
	}
	return true
}

// homeWatches returns the watches of the pods at home by Node.
func (p *Pods) homeWatches() map[string]*watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[string]*watch{}
	for name, n := range p.nodes {
		all[name] = n.watch
	}
	return all
}

// crowded says which pod of a Node a quota of the provider has no room for, in the provider's words, or nothing. Of
// several it is the first by name, so that the sentence is stable.
func crowded(w *watch) string {
	var first *corev1.Pod
	for _, pod := range w.pods(metav1.NamespaceAll) {
		if pod.Status.Reason != ReasonFailedCreate || !strings.Contains(pod.Status.Message, usedUp) ||
			pod.DeletionTimestamp != nil {
			continue
		}
		if first == nil || cmp.Or(cmp.Compare(pod.Namespace, first.Namespace), cmp.Compare(pod.Name, first.Name)) < 0 {
			first = pod
		}
	}
	if first == nil {
		return ""
	}
	return fmt.Sprintf("pod %s/%s: %s", first.Namespace, first.Name, first.Status.Message)
}

// largestFree returns, of each resource, the most that any one node still has, given what is taken of each. How many
// more pods a node takes is not among them: pods do not ask for that.
func largestFree(nodes []*corev1.Node, taken map[string]corev1.ResourceList) corev1.ResourceList {
	most := corev1.ResourceList{}
	for _, n := range nodes {
		if !takesPods(n) {
			continue
		}
		for name, all := range n.Status.Allocatable {
			if name == corev1.ResourcePods {
				continue
			}
			free := all.DeepCopy()
			free.Sub(taken[n.Name][name])
			if free.Sign() < 0 {
				free = *resource.NewQuantity(0, all.Format)
			}
			best, known := most[name]
			// The same amount can be written in two ways, of which one must win whatever the order.
			if c := free.Cmp(best); !known || c > 0 || c == 0 && free.String() < best.String() {
				most[name] = free
			}
		}
	}
	return most
}

// freeText is the value of the annotation.
func freeText(free corev1.ResourceList) string {
	out := make(map[string]string, len(free))
	for name, q := range free {
		out[string(name)] = q.String()
	}
	text, _ := json.Marshal(out) // strings only: it cannot fail
	return string(text)
}

// free returns what the Nodes shall say about the largest node; false while it cannot be told.
func (n *Nodes) free() (string, bool) {
	taken, known := n.Pods.taken()
	nodes, listed := n.Offers.nodes()
	if !known || !listed {
		return "", false
	}
	return freeText(largestFree(nodes, taken)), true
}

// crowded returns what a Node shall say about quotas. Until its pods are all known, that is what it says.
func (n *Nodes) crowded(name string, live *corev1.Node) string {
	w := n.Pods.homeWatches()[name]
	if w.hasSynced() || live == nil {
		return crowded(w)
	}
	for _, c := range live.Status.Conditions {
		if c.Type == QuotaPressure && c.Status == corev1.ConditionTrue {
			return c.Message
		}
	}
	return ""
}

// survey is all that the Nodes say because of their pods.
func (n *Nodes) survey() string {
	free, known := n.free()
	says := []string{fmt.Sprint(free, known)}
	watches := n.Pods.homeWatches()
	for _, name := range slices.Sorted(maps.Keys(watches)) {
		says = append(says, name, crowded(watches[name]))
	}
	return strings.Join(says, "\n")
}

// watchPods looks at the Nodes again when their pods make them say something else.
func (n *Nodes) watchPods(ctx context.Context) error {
	before := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.Clock.After(surveyInterval):
		}
		if now := n.survey(); now != before {
			before = now
			n.kick()
		}
	}
}
