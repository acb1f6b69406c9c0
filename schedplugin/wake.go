package schedplugin

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// rules are the decisions about the pods of one namespace: those that ask for a virtual node, and all others.
type rules map[string]placement.Rule

// classes are the RuntimeClasses that placement tells apart.
func classes() []string { return []string{"", v1beta1.RuntimeClass} }

func (p *policies) rules(namespace string, labels map[string]string) rules {
	r := rules{}
	for _, class := range classes() {
		r[class], _ = p.decide(namespace, placement.Facts{Labels: labels, RuntimeClass: class})
	}
	return r
}

// change applies a change that concerns the given namespaces, and wakes their pods that may now run where they could
// not run before. Pods that are being scheduled meanwhile are tried again.
func (p *policies) change(namespaces []string, apply func()) {
	p.changing.Lock()
	defer p.changing.Unlock()
	labels, before := map[string]map[string]string{}, map[string]rules{}
	for _, name := range namespaces {
		if ns, err := p.namespaces.Get(name); err == nil { // otherwise it has no pods that were looked at
			labels[name], before[name] = ns.Labels, p.rules(name, ns.Labels)
		}
	}
	p.mu.Lock()
	apply()
	p.mu.Unlock()
	for name := range before {
		p.wake(name, before[name], p.rules(name, labels[name]))
	}
}

// relabel wakes the pods of a namespace that a change of its labels helps. A namespace that was not known had nowhere
// to run its pods.
func (p *policies) relabel(before, after *corev1.Namespace) {
	p.changing.Lock()
	defer p.changing.Unlock()
	was := rules{}
	if before != nil {
		was = p.rules(before.Name, before.Labels)
	} else {
		for _, class := range classes() {
			was[class] = placement.Unknown("")
		}
	}
	p.wake(after.Name, was, p.rules(after.Name, after.Labels))
}

func (p *policies) wake(namespace string, before, after rules) {
	opened := map[string][]*corev1.Node{}
	for class, rule := range after {
		if nodes := p.opened(before[class], rule); len(nodes) > 0 {
			opened[class] = nodes
		}
	}
	if len(opened) == 0 {
		return
	}
	p.activate(slices.DeleteFunc(p.pending(namespace), func(pod *corev1.Pod) bool {
		return !slices.ContainsFunc(opened[asked(pod)], func(node *corev1.Node) bool { return p.useful(pod, node) })
	}))
}

// useful says that a node which became permitted to pods of a class is of use to this one.
func (p *policies) useful(pod *corev1.Pod, node *corev1.Node) bool {
	if !accepts(pod, node) {
		return false
	}
	return node == nil || len(placement.Misfits(pod, p.rooms.of(node))) == 0
}

// asked returns the pod's class as far as placement cares.
func asked(pod *corev1.Pod) string {
	if placement.RuntimeClass(pod) == v1beta1.RuntimeClass {
		return v1beta1.RuntimeClass
	}
	return ""
}

// opened returns the virtual nodes that permit after the change what they did not permit before, and a nil for ordinary
// ones, which are not told apart.
func (p *policies) opened(before, after placement.Rule) []*corev1.Node {
	opens := func(node *corev1.Node) bool {
		return after.On(node).Outcome == placement.Permitted && before.On(node).Outcome != placement.Permitted
	}
	var nodes []*corev1.Node
	if opens(&corev1.Node{}) {
		nodes = append(nodes, nil)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for name, node := range p.virtual {
		// We may hear of a node later than the scheduler, whose hints have used up the news then.
		if latest, err := p.nodes.Get(name); err == nil {
			node = latest
		}
		if opens(node) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// accepts says whether the pod's own node selector and affinity admit a node, so that it is no use to wake the pod for
// others. Nobody knows of a nil, nor of an affinity that cannot be read.
func accepts(pod *corev1.Pod, node *corev1.Node) bool {
	if node == nil {
		return true
	}
	admits, err := nodefit.Matches(pod, node)
	return admits || err != nil
}

// wakeAll wakes every pending pod.
func (p *policies) wakeAll() {
	for _, namespace := range p.pods.ListIndexFuncValues(pendingIndex) {
		p.activate(p.pending(namespace))
	}
}

// pendingIndex finds the pods of a namespace that are not bound, in the scheduler's cache of all pods.
const pendingIndex = "liqo.io/pending"

func pendingIn(obj any) ([]string, error) {
	if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName == "" {
		return []string{pod.Namespace}, nil
	}
	return nil, nil
}

func (p *policies) pending(namespace string) []*corev1.Pod {
	objs, err := p.pods.ByIndex(pendingIndex, namespace)
	if err != nil { // the index does not exist, but newPolicies made it
		p.logger.Error(err, "Cannot find pending pods", "namespace", namespace)
	}
	pods := make([]*corev1.Pod, 0, len(objs))
	for _, obj := range objs {
		on(obj, func(pod *corev1.Pod) { pods = append(pods, pod) })
	}
	return pods
}

func (p *policies) activate(pods []*corev1.Pod) {
	if len(pods) == 0 {
		return
	}
	woken := make(map[string]*corev1.Pod, len(pods))
	for _, pod := range pods {
		woken[klog.KObj(pod).String()] = pod
	}
	p.queue.Activate(p.logger, woken)
}

// afterNode wakes a pod if it may and would use a node that is new, or that it might not or would not use before the
// node changed.
func (p *policies) afterNode(_ klog.Logger, pod *corev1.Pod, before, after any) (fwk.QueueingHint, error) {
	node, ok := after.(*corev1.Node)
	if !ok {
		return fwk.Queue, fmt.Errorf("expected a Node, got %T", after)
	}
	rule, _ := p.rule(pod)
	usable := func(node *corev1.Node) bool {
		return rule.On(node).Outcome == placement.Permitted && accepts(pod, node)
	}
	if old, ok := before.(*corev1.Node); !usable(node) || ok && usable(old) {
		return fwk.QueueSkip, nil
	}
	return fwk.Queue, nil
}
