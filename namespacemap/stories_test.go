package namespacemap_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// story is about one namespace.
type story struct {
	name string
	of   func(*world)
}

// tell tells it, and what is told after it begins with what it has left running.
func (s story) tell(w *world) {
	w.t.Run(s.name, func(t *testing.T) {
		told := w.told(t)
		s.of(told)
		w.stop = told.stop
	})
}

// tellBeside tells it while others are told.
func (s story) tellBeside(w *world) {
	w.t.Run(s.name, func(t *testing.T) {
		t.Parallel()
		s.of(w.told(t))
	})
}

// told is the world for one story, with a namespace that no other has.
func (w *world) told(t *testing.T) *world {
	told := *w
	told.t, told.shop = t, fmt.Sprintf("shop-%02d", w.stories.Add(1))
	told.twin = told.shop + "-" + env.Consumer
	return &told
}

func TestNamespacesBetweenAPIServers(t *testing.T) {
	w := newWorld(t)
	var audits []*env.Audit
	for _, c := range append([]*env.Cluster{w.home}, w.providers...) {
		audit, err := c.Audit()
		if err != nil {
			t.Fatal(err)
		}
		audits = append(audits, audit)
	}
	story{"N8 a namespace without clusters gets them when they come", (*world).clustersComeLater}.tell(w)
	t.Run("side by side", func(t *testing.T) { // each in a namespace of its own
		together := *w
		together.t = t
		for _, s := range []story{
			{"N1 defaults", (*world).defaults},
			{"N2 names", (*world).names},
			{"N5 what cannot be changed", (*world).immutable},
			{"N7 a name too long", (*world).tooLong},
			{"N13 a foreign namespace has the name", (*world).foreign},
			{"N14 a twin or its rights deleted by hand", (*world).rebuilt},
			{"N17 something holds a twin", (*world).held},
			{"N18 the home namespace is deleted", (*world).namespaceDeleted},
			{"N20 the quick label", (*world).quick},
			{"N20 the quick label and what a user made", (*world).quickAndUser},
			{"N21 the label removed by hand", (*world).label},
		} {
			s.tellBeside(&together)
		}
	})
	for _, s := range []story{
		{"N9 a cluster is deselected", (*world).deselected},
		{"N10 a selector that cannot be parsed", (*world).selectorError},
		{"N11 two virtual nodes of one provider", (*world).twoNodes},
		{"N12 phases", (*world).phases},
		{"N11 a steady system writes nothing", (*world).steady},
		{"N15 a map deleted by hand", (*world).mapDeleted},
		{"N16 two consumers want the same name", (*world).twoConsumers},
		{"N22 what goes wrong can be read", (*world).wrong},
		{"killed in the middle", (*world).killed},
		{"B39 one cluster under two ids", (*world).duplicate},
		{"N23 the last virtual node of a provider", (*world).lastVirtualNode},
	} {
		s.tell(w)
	}
	w.stop()
	w.stop = func() {}
	for _, audit := range audits {
		for _, refusal := range refusals(t, audit) {
			t.Errorf("our rights do not suffice: %s", refusal)
		}
	}
}

// refusals returns what our identities were forbidden, but for creations in namespaces that were on their way out.
func refusals(t *testing.T, audit *env.Audit) []string {
	t.Helper()
	events, err := audit.Events()
	if err != nil {
		t.Fatal(err)
	}
	var refused []string
	for _, event := range events {
		if event.ResponseStatus == nil || event.ResponseStatus.Code != 403 || !ours(event.User.Username) ||
			strings.Contains(event.ResponseStatus.Message, "being terminated") {
			continue
		}
		refused = append(refused, fmt.Sprintf("%s %s %s: %s", event.User.Username, event.Verb, event.RequestURI,
			event.ResponseStatus.Message))
	}
	return refused
}

func ours(user string) bool {
	return user == managerUser || user == peerUser || strings.HasSuffix(user, agentUser)
}

func (w *world) clustersComeLater() {
	w.create(w.home, build.Namespace("early").Obj(), build.Offloading("early").Obj())
	off := w.phase("early", v1beta1.PhaseNoClusterSelected)
	if ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady); ready.Message == "" {
		w.t.Error("no word about why")
	}
	for i, provider := range w.providers {
		w.create(w.home, build.VirtualNode(provider.Name, provider.Name, "region", fmt.Sprintf("region-%d", i+1)))
	}
	w.phase("early", v1beta1.PhaseReady)
	w.clean("early")
}

func (w *world) defaults() {
	off := w.offload(w.shop)
	defer w.clean(w.shop)
	if diff := cmp.Diff([]string{v1beta1.FinalizerOffloading}, off.Finalizers); diff != "" {
		w.t.Errorf("finalizers (-want,+got):\n%s", diff)
	}
	if got := read(w, w.home, "", w.shop, &corev1.Namespace{}).Labels[v1beta1.LabelSchedulingEnabled]; got != "true" {
		w.t.Errorf("label %q", got)
	}
	home := read(w, w.home, "", w.shop, &corev1.Namespace{})
	for _, provider := range w.providers {
		for _, condition := range off.Status.RemoteNamespacesConditions[provider.Name] {
			if condition.Status != corev1.ConditionTrue || condition.LastTransitionTime.IsZero() {
				w.t.Errorf("%s: %+v", provider.Name, condition)
			}
		}
		twin := read(w, provider, "", w.twin, &corev1.Namespace{})
		if twin.Annotations[v1beta1.AnnotationTwinHomeUID] != string(home.UID) {
			w.t.Errorf("twin %+v", twin.Annotations)
		}
		read(w, provider, w.twin, v1beta1.TwinRole, &rbacv1.RoleBinding{})
		read(w, w.home, w.shop, v1beta1.TenantNamespace(provider.Name), &rbacv1.RoleBinding{})
	}
	w.eventually("an event for each provider", func(ctx context.Context) bool {
		var events corev1.EventList
		if w.home.Client().List(ctx, &events, client.InNamespace(w.shop)) != nil {
			return false
		}
		told := 0
		for _, event := range events.Items {
			if event.Reason == v1beta1.ReasonNamespaceCreated {
				told++
			}
		}
		return told == len(w.providers)
	})
}

func (w *world) immutable() {
	w.offload(w.shop)
	defer w.clean(w.shop)
	for what, change := range map[string]func(*v1beta1.NamespaceOffloading){
		"the mapping strategy": func(o *v1beta1.NamespaceOffloading) {
			o.Spec.NamespaceMappingStrategy = v1beta1.EnforceSameName
		},
		"the remote name": func(o *v1beta1.NamespaceOffloading) {
			o.Spec.RemoteNamespaceName, o.Spec.NamespaceMappingStrategy = &o.Name, v1beta1.SelectedName
		},
	} {
		off := read(w, w.home, w.shop, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
		version := off.ResourceVersion
		change(off)
		if err := w.home.Client().Update(w.t.Context(), off); !apierrors.IsInvalid(err) {
			w.t.Errorf("%s: %v", what, err)
		}
		off = read(w, w.home, w.shop, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
		if off.ResourceVersion != version {
			w.t.Errorf("%s: something changed", what)
		}
	}
}

func (w *world) deselected() {
	w.offload(w.shop)
	defer w.clean(w.shop)
	stays, leaves := w.providers[1], w.providers[0]
	uid := read(w, stays, "", w.twin, &corev1.Namespace{}).UID
	change(w, w.home, build.Offloading(w.shop).Obj(), func(o *v1beta1.NamespaceOffloading) {
		o.Spec.ClusterSelector = build.Selector("region", "region-2")
	})
	w.gone(leaves, "", w.twin, &corev1.Namespace{})
	w.gone(w.home, w.shop, v1beta1.TenantNamespace(leaves.Name), &rbacv1.RoleBinding{})
	if got := read(w, stays, "", w.twin, &corev1.Namespace{}).UID; got != uid {
		w.t.Error("the twin that stays was replaced")
	}
	off := w.phase(w.shop, v1beta1.PhaseReady)
	for _, condition := range off.Status.RemoteNamespacesConditions[leaves.Name] {
		if condition.Type == v1beta1.ConditionOffloadingRequired &&
			condition.Reason != v1beta1.ReasonClusterNotSelected {
			w.t.Errorf("%+v", condition)
		}
	}

	// The label of a virtual node has the same effect as the selector.
	change(w, w.home, build.VirtualNode(leaves.Name, leaves.Name),
		func(v *v1beta1.VirtualNode) { v.Spec.Labels["region"] = "region-2" })
	w.eventually("the twin on "+leaves.Name, func(ctx context.Context) bool {
		return leaves.Client().Get(ctx, client.ObjectKey{Name: w.twin}, &corev1.Namespace{}) == nil
	})
	change(w, w.home, build.VirtualNode(leaves.Name, leaves.Name),
		func(v *v1beta1.VirtualNode) { v.Spec.Labels["region"] = "region-1" })
	w.gone(leaves, "", w.twin, &corev1.Namespace{})
}

// steady watches what a system at rest writes while it is asked to look again: nothing.
func (w *world) steady() {
	w.offload(w.shop)
	defer w.clean(w.shop)
	var audits []*env.Audit
	settled := time.Now().Add(2 * time.Second)
	w.eventually("rest", func(context.Context) bool { return time.Now().After(settled) })
	for _, c := range append([]*env.Cluster{w.home}, w.providers...) {
		audit, err := c.Audit()
		if err != nil {
			w.t.Fatal(err)
		}
		audits = append(audits, audit)
	}
	w.stop()
	w.start() // everything is looked at anew
	looked := time.Now().Add(5 * time.Second)
	w.eventually("a second look", func(context.Context) bool { return time.Now().After(looked) })
	for _, audit := range audits {
		events, err := audit.Events()
		if err != nil {
			w.t.Fatal(err)
		}
		for _, event := range events {
			if env.IsWrite(event) && ours(event.User.Username) {
				w.t.Errorf("%s %s %s", event.User.Username, event.Verb, event.RequestURI)
			}
		}
	}
}

func (w *world) foreign() {
	first, second := w.providers[0], w.providers[1]
	foreign := build.Namespace(w.twin).Obj()
	w.create(first, foreign)
	stale := build.Namespace(w.twin).Label("owner", "somebody").Obj()
	w.race.arm(w.twin, func() { w.create(second, stale) }) // between our read and our creation
	w.create(w.home, build.Namespace(w.shop).Obj(), build.Offloading(w.shop).Obj())
	off := w.phase(w.shop, v1beta1.PhaseAllFailed)
	for _, provider := range w.providers {
		for _, condition := range off.Status.RemoteNamespacesConditions[provider.Name] {
			if condition.Type == v1beta1.ConditionReady && condition.Reason != v1beta1.ReasonCreationLoopBackOff {
				w.t.Errorf("%s: %+v", provider.Name, condition)
			}
		}
	}
	w.delete(second, stale) // its owner removes it: the twin appears by itself
	w.phase(w.shop, v1beta1.PhaseSomeFailed)

	w.clean(w.shop)
	w.gone(second, "", w.twin, &corev1.Namespace{})
	survivor := read(w, first, "", w.twin, &corev1.Namespace{})
	if survivor.ResourceVersion != foreign.ResourceVersion {
		w.t.Errorf("the foreign namespace was touched: %+v", survivor.ObjectMeta)
	}
	var bindings rbacv1.RoleBindingList
	if err := first.Client().List(w.t.Context(), &bindings, client.InNamespace(w.twin)); err != nil ||
		len(bindings.Items) > 0 {
		w.t.Errorf("role bindings in a foreign namespace: %v, %v", bindings.Items, err)
	}
}

func (w *world) rebuilt() {
	w.offload(w.shop)
	defer w.clean(w.shop)
	provider := w.providers[0]
	w.delete(provider, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.twin, Name: v1beta1.TwinRole}})
	w.eventually("the role binding", func(ctx context.Context) bool {
		key := client.ObjectKey{Namespace: w.twin, Name: v1beta1.TwinRole}
		return provider.Client().Get(ctx, key, &rbacv1.RoleBinding{}) == nil
	})
	uid := read(w, provider, "", w.twin, &corev1.Namespace{}).UID
	w.delete(provider, build.Namespace(w.twin).Obj())
	w.eventually("another twin", func(ctx context.Context) bool {
		twin := &corev1.Namespace{}
		err := provider.Client().Get(ctx, client.ObjectKey{Name: w.twin}, twin)
		return err == nil && twin.UID != uid
	})
	w.phase(w.shop, v1beta1.PhaseReady)
}

func (w *world) mapDeleted() {
	w.offload(w.shop)
	defer w.clean(w.shop)
	provider := w.providers[0]
	uid := read(w, provider, "", w.twin, &corev1.Namespace{}).UID
	m := build.Map(provider.Name).Obj()
	before := read(w, w.home, m.Namespace, m.Name, &v1beta1.NamespaceMap{}).UID
	w.delete(w.home, m)
	w.eventually("the map, made anew", func(ctx context.Context) bool {
		now := &v1beta1.NamespaceMap{}
		err := w.home.Client().Get(ctx, client.ObjectKeyFromObject(m), now)
		return err == nil && now.UID != before && now.Status.CurrentMapping[w.shop].Phase == v1beta1.MappingAccepted
	})
	change(w, w.home, m, func(m *v1beta1.NamespaceMap) { m.Spec.DesiredMapping = nil })
	w.eventually("the key, written again", func(ctx context.Context) bool {
		now := &v1beta1.NamespaceMap{}
		err := w.home.Client().Get(ctx, client.ObjectKeyFromObject(m), now)
		return err == nil && now.Spec.DesiredMapping[w.shop] == w.twin
	})
	w.phase(w.shop, v1beta1.PhaseReady)
	twin := read(w, provider, "", w.twin, &corev1.Namespace{})
	if twin.UID != uid || !twin.DeletionTimestamp.IsZero() {
		w.t.Error("the twin did not survive")
	}
}

func (w *world) held() {
	w.offload(w.shop)
	provider := w.providers[0]
	hold := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.twin, Name: "hold", Finalizers: []string{"example.com/hold"},
	}}
	w.create(provider, hold)
	w.delete(w.home, build.Offloading(w.shop).Obj())
	w.eventually("a condition that names what holds the twin", func(ctx context.Context) bool {
		off := &v1beta1.NamespaceOffloading{}
		if w.home.Client().Get(ctx, client.ObjectKey{Namespace: w.shop, Name: v1beta1.OffloadingName}, off) != nil {
			return false
		}
		ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
		return off.Status.OffloadingPhase == v1beta1.PhaseTerminating && ready != nil &&
			strings.Contains(ready.Message, provider.Name) && strings.Contains(ready.Message, "example.com/hold")
	})
	if _, labelled := read(w, w.home, "", w.shop,
		&corev1.Namespace{}).Labels[v1beta1.LabelSchedulingEnabled]; labelled {
		w.t.Error("the label stayed")
	}
	w.gone(w.providers[1], "", w.twin, &corev1.Namespace{})
	change(w, provider, hold, func(c *corev1.ConfigMap) { c.Finalizers = nil })
	w.gone(w.home, w.shop, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
	w.gone(provider, "", w.twin, &corev1.Namespace{})
	var bindings rbacv1.RoleBindingList
	marked := client.HasLabels{v1beta1.LabelRemoteClusterID}
	if err := w.home.Client().List(w.t.Context(), &bindings, client.InNamespace(w.shop), marked); err != nil ||
		len(bindings.Items) > 0 {
		w.t.Errorf("rights left at home: %v, %v", bindings.Items, err)
	}
	w.delete(w.home, build.Namespace(w.shop).Obj())
}

func (w *world) namespaceDeleted() {
	w.offload(w.shop)
	w.delete(w.home, build.Namespace(w.shop).Obj())
	w.gone(w.home, "", w.shop, &corev1.Namespace{})
	for _, provider := range w.providers {
		w.gone(provider, "", w.twin, &corev1.Namespace{})
		m := read(w, w.home, v1beta1.TenantNamespace(provider.Name), provider.Name, &v1beta1.NamespaceMap{})
		_, wanted := m.Spec.DesiredMapping[w.shop]
		if _, there := m.Status.CurrentMapping[w.shop]; wanted || there {
			w.t.Errorf("left in the map of %s: %+v, %+v", provider.Name, m.Spec, m.Status)
		}
	}
}

func (w *world) quick() {
	w.create(w.home, build.Namespace(w.shop).Label(v1beta1.LabelEnabled, "true").Obj())
	w.phase(w.shop, v1beta1.PhaseReady)
	change(w, w.home, build.Namespace(w.shop).Obj(),
		func(n *corev1.Namespace) { delete(n.Labels, v1beta1.LabelEnabled) })
	w.gone(w.home, w.shop, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
	for _, provider := range w.providers {
		w.gone(provider, "", w.twin, &corev1.Namespace{})
	}
	w.delete(w.home, build.Namespace(w.shop).Obj())
}

func (w *world) label() {
	w.offload(w.shop)
	defer w.clean(w.shop)
	change(w, w.home, build.Namespace(w.shop).Obj(),
		func(n *corev1.Namespace) { delete(n.Labels, v1beta1.LabelSchedulingEnabled) })
	w.eventually("the label", func(ctx context.Context) bool {
		namespace := &corev1.Namespace{}
		err := w.home.Client().Get(ctx, client.ObjectKey{Name: w.shop}, namespace)
		return err == nil && namespace.Labels[v1beta1.LabelSchedulingEnabled] == "true"
	})
}
