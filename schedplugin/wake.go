package schedplugin

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// rules are the decisions about the pods of one namespace: those that ask for a virtual node, and all others.
type rules map[string]placement.Rule

// classes are the RuntimeClasses that placement tells apart.
func classes() []string { return []string{"", v1beta1.RuntimeClass} }

func (p *policies) rules(namespace string, labels map[string]string) rules {
	r := rules{}
	for _, class := range classes() {
		r[class], _ = p.decide(namespace, labels, class)
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
	helped := map[string]bool{}
	for class, rule := range after {
		helped[class] = p.helps(before[class], rule)
	}
	if !slices.Contains(slices.Collect(maps.Values(helped)), true) {
		return
	}
	pods := slices.DeleteFunc(p.pending(namespace), func(pod *corev1.Pod) bool {
		return !helped[asked(pod)]
	})
	p.activate(pods)
}

// asked returns the pod's class as far as placement cares.
func asked(pod *corev1.Pod) string {
	if placement.RuntimeClass(pod) == v1beta1.RuntimeClass {
		return v1beta1.RuntimeClass
	}
	return ""
}

// helps says whether some node permits after the change what it did not permit before.
func (p *policies) helps(before, after placement.Rule) bool {
	opens := func(node *corev1.Node) bool {
		return after.On(node).Outcome == placement.Permitted && before.On(node).Outcome != placement.Permitted
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return opens(&corev1.Node{}) || slices.ContainsFunc(slices.Collect(maps.Values(p.virtual)), opens)
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

// afterNode wakes a pod if the policy permits a node that is new, or did not permit before it was relabelled.
func (p *policies) afterNode(_ klog.Logger, pod *corev1.Pod, before, after any) (fwk.QueueingHint, error) {
	node, ok := after.(*corev1.Node)
	if !ok {
		return fwk.Queue, fmt.Errorf("expected a Node, got %T", after)
	}
	rule, _ := p.rule(pod)
	if rule.On(node).Outcome != placement.Permitted {
		return fwk.QueueSkip, nil
	}
	if old, ok := before.(*corev1.Node); ok && rule.On(old).Outcome == placement.Permitted {
		return fwk.QueueSkip, nil
	}
	return fwk.Queue, nil
}
