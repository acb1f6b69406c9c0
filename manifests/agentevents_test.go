package manifests_test

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// said is an event about a pod, from a component.
func said(namespace, name, from string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: "web"},
		Source:         corev1.EventSource{Component: from}, ReportingController: from, Reason: "Said", Type: "Normal",
	}
}

// events asks in whose name an agent may speak, and what of it it may change.
func (f *agentFence) events() {
	f.Helper()
	relayed := func(provider string) *corev1.Event {
		e := said("shop", "of-"+provider, "virtual-kubelet")
		e.Labels = map[string]string{v1beta1.LabelOrigin: provider}
		return e
	}
	for _, e := range []*corev1.Event{
		said("shop", "own", "virtual-kubelet"), said("shop", "kubelet", "kubelet"), relayed("b"), relayed("c"),
	} {
		if err := f.admin.Create(f.Context(), e); err != nil {
			f.Fatal(err)
		}
	}
	create := func(e client.Object) error { return f.agent.Create(f.Context(), e, client.DryRunAll) }
	change := func(name, patch string) error {
		return f.agent.Patch(f.Context(), said("shop", name, ""),
			client.RawPatch("application/merge-patch+json", []byte(patch)), client.DryRunAll)
	}
	newer := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "newer"}, EventTime: metav1.NowMicro(),
		ReportingController: "virtual-kubelet", ReportingInstance: "b", Action: "Say", Reason: "Said", Type: "Normal",
		Regarding: corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "web"},
	}
	posing := newer.DeepCopy()
	posing.ReportingController = "kubelet"
	half := said("shop", "half", "virtual-kubelet")
	half.Source.Component = "kubelet"
	leader := said("liqo-tenant-b", "leader", "agent-0_f00")
	leader.InvolvedObject.Namespace = "liqo-tenant-b"
	for name, c := range map[string]struct {
		err     error
		refused bool
	}{
		"in its own name":                    {create(said("shop", "new", "virtual-kubelet")), false},
		"in its own name, the newer way":     {create(newer), false},
		"of its provider":                    {create(renamed(relayed("b"), "new")), false},
		"as its leader":                      {create(leader), false},
		"in the name of a kubelet":           {create(said("shop", "new", "kubelet")), true},
		"the same the newer way":             {create(posing), true},
		"half in its own name":               {create(half), true},
		"of another provider":                {create(renamed(relayed("c"), "new")), true},
		"counting its own again":             {change("own", `{"count":2}`), false},
		"counting its provider's again":      {change("of-b", `{"count":2}`), false},
		"counting another provider's again":  {change("of-c", `{"count":2}`), true},
		"rewriting what a kubelet said":      {change("kubelet", `{"message":"all is well"}`), true},
		"taking over what a kubelet said":    {change("kubelet", `{"reportingComponent":"virtual-kubelet"}`), true},
		"having its own be of somebody else": {change("own", `{"involvedObject":{"name":"other"}}`), true},
	} {
		switch {
		case !c.refused && c.err != nil:
			f.Errorf("an event %s: %v", name, c.err)
		case c.refused && (!apierrors.IsForbidden(c.err) || !strings.Contains(c.err.Error(), "the agent of")):
			f.Errorf("an event %s: %v, want a refusal", name, c.err)
		}
	}
}

func renamed(e *corev1.Event, name string) *corev1.Event {
	e.Name = name
	return e
}
