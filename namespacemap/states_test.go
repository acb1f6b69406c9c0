package namespacemap_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// readyOn returns the reason and the message of a cluster's Ready condition.
func readyOn(off *v1beta1.NamespaceOffloading, cluster string) (reason, message string) {
	for _, c := range off.Status.RemoteNamespacesConditions[cluster] {
		if c.Type == v1beta1.ConditionReady {
			return c.Reason, c.Message
		}
	}
	return "", ""
}

func (w *world) names() {
	w.create(w.home, build.Namespace(w.shop).Obj(),
		build.Offloading(w.shop).Mapping(v1beta1.EnforceSameName).Obj())
	if off := w.phase(w.shop, v1beta1.PhaseReady); off.Status.RemoteNamespaceName != w.shop {
		w.t.Errorf("EnforceSameName: %s", off.Status.RemoteNamespaceName)
	}
	read(w, w.providers[0], "", w.shop, &corev1.Namespace{})
	w.clean(w.shop)
	w.gone(w.home, "", w.shop, &corev1.Namespace{})

	w.create(w.home, build.Namespace(w.shop).Obj(), build.Offloading(w.shop).RemoteName("boutique").Obj())
	defer w.clean(w.shop)
	w.phase(w.shop, v1beta1.PhaseReady)
	for _, provider := range w.providers {
		if home := read(w, provider, "", "boutique", &corev1.Namespace{}).
			Annotations[v1beta1.AnnotationTwinHomeName]; home != w.shop {
			w.t.Errorf("SelectedName: the twin is of %q", home)
		}
	}
}

func (w *world) tooLong() {
	long := w.shop + "-" + strings.Repeat("x", 62-len(w.shop)) // 63 characters, as long as a namespace may be
	w.create(w.home, build.Namespace(long).Obj(), build.Offloading(long).Obj())
	defer w.clean(long)
	off := w.phase(long, v1beta1.PhaseAllFailed)
	for _, provider := range w.providers {
		reason, message := readyOn(off, provider.Name)
		if reason != v1beta1.ReasonNameTooLong || !strings.Contains(message, "63") ||
			!strings.Contains(message, fmt.Sprint(len(long)+1+len(w.id))) {
			w.t.Errorf("%s: %s, %q does not have limit and length", provider.Name, reason, message)
		}
		if m := w.mapOf(provider); m.Spec.DesiredMapping[long] != "" {
			w.t.Errorf("%s is asked for %q", provider.Name, m.Spec.DesiredMapping[long])
		}
		var twins corev1.NamespaceList
		if err := provider.Client().List(w.t.Context(), &twins); err != nil {
			w.t.Fatal(err)
		}
		for _, twin := range twins.Items {
			if twin.Annotations[v1beta1.AnnotationTwinHomeName] == long {
				w.t.Errorf("%s was made on %s", twin.Name, provider.Name)
			}
		}
	}
}

func (w *world) mapOf(provider *env.Cluster) *v1beta1.NamespaceMap {
	w.t.Helper()
	return read(w, w.home, v1beta1.TenantNamespace(provider.Name), provider.Name, &v1beta1.NamespaceMap{})
}

func (w *world) selectorError() {
	// The schema refuses what has no form; what a value may be, only the parser knows.
	w.create(w.home, build.Namespace(w.shop).Obj(),
		build.Offloading(w.shop).Selector(build.Selector("region", "north or south")).Obj())
	defer w.clean(w.shop)
	off := w.phase(w.shop, v1beta1.PhaseNoClusterSelected)
	words := off.Annotations[v1beta1.AnnotationSelectorError]
	ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
	if !strings.Contains(words, `"north or south"`) || !strings.Contains(ready.Message, words) {
		w.t.Errorf("annotation %q, message %q", words, ready.Message)
	}
	w.eventually("an event with the parser's words", func(ctx context.Context) bool {
		var events corev1.EventList
		if w.home.Client().List(ctx, &events, client.InNamespace(w.shop)) != nil {
			return false
		}
		for _, event := range events.Items {
			if event.Reason == "InvalidClusterSelector" && strings.Contains(event.Message, `"north or south"`) {
				return true
			}
		}
		return false
	})
	change(w, w.home, build.Offloading(w.shop).Obj(), func(o *v1beta1.NamespaceOffloading) {
		o.Spec.ClusterSelector = build.Selector("region", "region-1")
	})
	off = w.phase(w.shop, v1beta1.PhaseReady)
	if words, there := off.Annotations[v1beta1.AnnotationSelectorError]; there {
		w.t.Errorf("the annotation stayed: %q", words)
	}
	change(w, w.home, build.Offloading(w.shop).Obj(), func(o *v1beta1.NamespaceOffloading) {
		o.Spec.ClusterSelector = build.Selector("region", "region-9")
	})
	off = w.phase(w.shop, v1beta1.PhaseNoClusterSelected)
	ready = meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
	want := "(region in (region-9)) matches none of the virtual nodes; nearest: provider-1 (region=region-1), " +
		"provider-2 (region=region-2)"
	if !strings.Contains(ready.Message, want) {
		w.t.Errorf("B37: message %q does not say %q", ready.Message, want)
	}
}

func (w *world) twoNodes() {
	provider := w.providers[0]
	gold := build.VirtualNode(provider.Name+"-gold", provider.Name, "tier", "gold")
	w.create(w.home, gold, build.Namespace(w.shop).Obj(),
		build.Offloading(w.shop).Selector(build.Selector("tier", "gold")).Obj())
	off := w.phase(w.shop, v1beta1.PhaseReady)
	if reason, _ := readyOn(off, provider.Name); reason != v1beta1.ReasonNamespaceCreated {
		w.t.Errorf("%s: %s", provider.Name, reason)
	}
	version := w.mapOf(provider).ResourceVersion
	other := build.VirtualNode(provider.Name, provider.Name)
	change(w, w.home, other, func(v *v1beta1.VirtualNode) { v.Spec.Labels["seen"] = "yes" })
	w.stop()
	w.start() // everything is looked at anew, with a node that matches and one that does not
	other.Spec.Labels = map[string]string{}
	change(w, w.home, other, func(v *v1beta1.VirtualNode) { delete(v.Spec.Labels, "seen") })
	marker := build.Namespace(w.shop + "-marker").Obj()
	w.create(w.home, marker, build.Offloading(marker.Name).Selector(build.Selector("region", "region-2")).Obj())
	w.phase(marker.Name, v1beta1.PhaseReady) // by then the changes before it were seen
	if now := w.mapOf(provider); now.ResourceVersion != version {
		w.t.Errorf("the map was written: %+v", now)
	}
	w.clean(marker.Name)
	w.clean(w.shop)
	w.delete(w.home, gold)
	w.gone(w.home, gold.Namespace, gold.Name, &v1beta1.VirtualNode{})
}

// phases: a provider whose agent does not run, one that is ready, one whose name is taken.
func (w *world) phases() {
	slow := build.VirtualNode("provider-3", "provider-3")
	w.create(w.home, build.Namespace(slow.Namespace).Obj(), slow)
	w.create(w.home, build.Namespace(w.shop).Obj(), build.Offloading(w.shop).Obj())
	w.eventually("one in progress, two ready", func(ctx context.Context) bool {
		off := &v1beta1.NamespaceOffloading{}
		_ = w.home.Client().Get(ctx, client.ObjectKey{Namespace: w.shop, Name: v1beta1.OffloadingName}, off)
		one, _ := readyOn(off, w.providers[0].Name)
		two, _ := readyOn(off, w.providers[1].Name)
		three, _ := readyOn(off, "provider-3")
		return off.Status.OffloadingPhase == v1beta1.PhaseInProgress && one == v1beta1.ReasonNamespaceCreated &&
			two == one && three == v1beta1.ReasonCreating
	})
	w.clean(w.shop)

	foreign := build.Namespace("taken").Obj()
	w.create(w.providers[0], foreign)
	w.create(w.home, build.Namespace(w.shop+"-b").Obj(), build.Offloading(w.shop+"-b").RemoteName("taken").Obj())
	off := w.phase(w.shop+"-b", v1beta1.PhaseSomeFailed) // though one is in progress still
	if reason, _ := readyOn(off, "provider-3"); reason != v1beta1.ReasonCreating {
		w.t.Errorf("provider-3: %s", reason)
	}
	change(w, w.home, build.Offloading(w.shop+"-b").Obj(), func(o *v1beta1.NamespaceOffloading) {
		o.Spec.ClusterSelector = build.Selector("region", "region-1")
	})
	w.phase(w.shop+"-b", v1beta1.PhaseAllFailed)
	w.clean(w.shop + "-b")
	w.delete(w.providers[0], foreign)
	w.delete(w.home, slow)
	w.gone(w.home, slow.Namespace, slow.Name, &v1beta1.VirtualNode{})
}

// twoConsumers lets the second provider be a consumer of the first one, too.
func (w *world) twoConsumers() {
	shared, second := w.providers[0], w.providers[1]
	w.create(w.home, build.Namespace(w.shop).Obj(), build.Offloading(w.shop).Mapping(v1beta1.EnforceSameName).
		Selector(build.Selector("region", "region-1")).Obj())
	w.phase(w.shop, v1beta1.PhaseReady)
	first := read(w, shared, "", w.shop, &corev1.Namespace{})

	for _, overlay := range []string{"crd", "base"} {
		if err := second.Apply(w.t.Context(), overlay); err != nil {
			w.t.Fatal(err)
		}
	}
	other := &world{t: w.t, id: second.Name, home: second, providers: []*env.Cluster{shared}}
	other.begin()
	other.create(second, build.VirtualNode("shared", shared.Name), build.Namespace(w.shop).Obj(),
		build.Offloading(w.shop).Mapping(v1beta1.EnforceSameName).Obj())
	off := other.phase(w.shop, v1beta1.PhaseAllFailed)
	if reason, message := readyOn(off, shared.Name); reason != v1beta1.ReasonCreationLoopBackOff ||
		!strings.Contains(message, "not ours") {
		w.t.Errorf("the second: %s, %s", reason, message)
	}
	other.clean(w.shop)
	if now := read(w, shared, "", w.shop, &corev1.Namespace{}); now.ResourceVersion != first.ResourceVersion {
		w.t.Errorf("the first one's twin was touched: %+v", now.ObjectMeta)
	}
	other.stop()
	other.stop = func() {}
	w.phase(w.shop, v1beta1.PhaseReady)
	w.clean(w.shop)
}

func (w *world) quickAndUser() {
	w.create(w.home, build.Namespace(w.shop).Obj(), build.Offloading(w.shop).Strategy(v1beta1.Local).Obj())
	defer w.clean(w.shop)
	own := w.phase(w.shop, v1beta1.PhaseReady)
	label := func(namespace, value string) {
		change(w, w.home, build.Namespace(namespace).Obj(), func(n *corev1.Namespace) {
			delete(n.Labels, v1beta1.LabelEnabled)
			if value != "" {
				metav1.SetMetaDataLabel(&n.ObjectMeta, v1beta1.LabelEnabled, value)
			}
		})
	}
	marker := w.shop + "-marker" // what happens to it after the change shows that the change was seen
	w.create(w.home, build.Namespace(marker).Obj())
	label(w.shop, "true")
	label(marker, "true")
	made := w.phase(marker, v1beta1.PhaseReady)
	if made.Annotations[v1beta1.AnnotationControlledBy] == "" {
		w.t.Error("no stamp on what the label made")
	}
	for _, value := range []string{"false", ""} { // neither is true
		label(w.shop, value)
		label(marker, value)
		w.gone(w.home, marker, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
		label(marker, "true")
		w.phase(marker, v1beta1.PhaseReady)
	}
	now := read(w, w.home, w.shop, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
	if now.UID != own.UID || now.Generation != own.Generation || now.Annotations[v1beta1.AnnotationControlledBy] != "" {
		w.t.Errorf("the user's own was touched: %+v", now.ObjectMeta)
	}
	w.delete(w.home, build.Namespace(marker).Obj())
}

// wrong has the API server refuse a write, with a policy that somebody made.
func (w *world) wrong() {
	name := "no-keys-for-" + w.shop
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update},
					Rule: admissionv1.Rule{APIGroups: []string{v1beta1.GroupVersion.Group}, APIVersions: []string{"*"},
						Resources: []string{"namespacemaps"}},
				},
			}}},
			Validations: []admissionv1.Validation{{
				Expression: fmt.Sprintf("!(%q in object.spec.?desiredMapping.orValue({}))", w.shop),
				Message:    "the moon is full", Reason: ptr.To(metav1.StatusReasonInvalid),
			}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	w.create(w.home, policy, binding)
	w.eventually("the policy", func(ctx context.Context) bool {
		m := w.mapOf(w.providers[0])
		patch := client.RawPatch("application/merge-patch+json",
			fmt.Appendf(nil, `{"spec":{"desiredMapping":{%q:"x"}}}`, w.shop))
		return w.home.Client().Patch(ctx, m, patch, client.DryRunAll) != nil
	})
	w.create(w.home, build.Namespace(w.shop).Obj(), build.Offloading(w.shop).Obj())
	defer w.clean(w.shop)
	w.eventually("a condition with the refusal", func(ctx context.Context) bool {
		off := &v1beta1.NamespaceOffloading{}
		key := client.ObjectKey{Namespace: w.shop, Name: v1beta1.OffloadingName}
		if w.home.Client().Get(ctx, key, off) != nil {
			return false
		}
		ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
		_, message := readyOn(off, w.providers[0].Name)
		return ready != nil && strings.Contains(ready.Message, "the moon is full") &&
			strings.Contains(message, "the moon is full")
	})
	w.delete(w.home, binding, policy)
	started := time.Now()
	w.phase(w.shop, v1beta1.PhaseReady)
	if took := time.Since(started); took > patience {
		w.t.Errorf("it was tried again after %s", took)
	}
}

// duplicate gives the first provider a second id, by hand: liqoctl would not.
func (w *world) duplicate() {
	w.offload(w.shop)
	first := w.providers[0]
	same := func(n *corev1.Namespace) {
		metav1.SetMetaDataAnnotation(&n.ObjectMeta, v1beta1.AnnotationClusterUID, "u")
	}
	change(w, w.home, build.Namespace(v1beta1.TenantNamespace(first.Name)).Obj(), same)
	tenant := build.Namespace(v1beta1.TenantNamespace("alias")).Obj()
	same(tenant)
	alias := build.VirtualNode("alias", "alias")
	w.create(w.home, tenant, alias)
	off := w.phase(w.shop, v1beta1.PhaseSomeFailed)
	if reason, message := readyOn(off, "alias"); reason != v1beta1.ReasonDuplicateCluster ||
		!strings.Contains(message, "cluster alias is cluster provider-1 under another id") {
		w.t.Errorf("alias: %s, %s", reason, message)
	}
	if reason, _ := readyOn(off, first.Name); reason != v1beta1.ReasonNamespaceCreated {
		w.t.Errorf("%s: %s", first.Name, reason)
	}
	w.delete(w.home, alias)
	w.phase(w.shop, v1beta1.PhaseReady)
	w.clean(w.shop)
}
