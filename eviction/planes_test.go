package eviction_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/eviction"
	"github.com/twinspace/twinspace/namespacemap"
)

const (
	patience = 60 * time.Second
	poll     = 50 * time.Millisecond
	owner    = "11111111-2222-3333-4444-555555555555"
)

// world is an API server with a node at home and one virtual node, and both writers of a NamespaceOffloading's status,
// with the rights that we ship and no others.
type world struct {
	t    *testing.T
	home *env.Cluster
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, home: env.Planes(t, 1)[0]}
	if err := w.home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	virtual := build.VirtualNode("b-1", "b")
	w.create(build.Namespace(v1beta1.TenantNamespace("b")).Obj(), virtual)
	for _, node := range []*corev1.Node{build.Node("home-1"), build.VirtualNodesNode(virtual)} {
		w.create(node.DeepCopy())
		w.status(node, func(now *corev1.Node) { now.Status = node.Status })
		w.patch(node, fmt.Sprintf(`{"spec":{"taints":%s}}`, taints(node))) // a new node is tainted as not ready
	}
	w.start()
	return w
}

// start runs the controllers as the controller-manager does, until the test is over.
func (w *world) start() {
	w.t.Helper()
	identity, err := w.home.ConfigFor(w.t.Context(), v1beta1.SystemNamespace, "controller-manager")
	scheme, schemeErr := env.Scheme()
	byObject, cacheErr := namespacemap.CacheOptions()
	if err := errors.Join(err, schemeErr, cacheErr); err != nil {
		w.t.Fatal(err)
	}
	identity.QPS = -1
	mgr, err := ctrl.NewManager(identity, manager.Options{
		Scheme: scheme, Cache: cache.Options{ByObject: byObject},
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	home, live := mgr.GetClient(), mgr.GetAPIReader()
	evictor, err := eviction.NewEvictor(identity, mgr.GetHTTPClient())
	if err != nil {
		w.t.Fatal(err)
	}
	evictions := &eviction.Reconciler{
		Home: home, Live: live, Evictor: evictor, Clock: clock.RealClock{}, Pace: eviction.DefaultPace(),
		Events: mgr.GetEventRecorder("controller-manager"),
		Limit:  flowcontrol.NewTokenBucketPassiveRateLimiter(100, 10),
	}
	offloadings := &namespacemap.Offloadings{
		Home: home, Live: live, Clock: clock.RealClock{}, ClusterID: env.Consumer, Tenants: evictions,
		Events: mgr.GetEventRecorder("controller-manager"),
	}
	maps := &namespacemap.Maps{Home: home, Live: live, Clock: clock.RealClock{}, Drains: evictions}
	if err := errors.Join(evictions.SetupWithManager(mgr), offloadings.SetupWithManager(mgr),
		maps.SetupWithManager(mgr)); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- mgr.Start(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("manager: %v", err)
		}
	})
}

func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		if err := w.home.Client().Create(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
}

// eventually waits for a state.
func (w *world) eventually(what string, is func(context.Context) error) {
	w.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(w.t.Context(), poll, patience, true, func(ctx context.Context) (bool, error) {
		last = is(ctx)
		return last == nil, nil
	})
	if err != nil {
		w.t.Fatalf("%s did not come about within %v: %v", what, patience, last)
	}
}

// status writes the status of an object, against whoever else does.
func (w *world) status(node *corev1.Node, change func(*corev1.Node)) {
	w.t.Helper()
	w.eventually("the status of "+node.Name, func(ctx context.Context) error {
		now := &corev1.Node{}
		if err := w.home.Client().Get(ctx, client.ObjectKeyFromObject(node), now); err != nil {
			return err
		}
		change(now)
		return w.home.Client().Status().Update(ctx, now)
	})
}

// change updates an offloading as a user would.
func (w *world) change(ns string, change func(*v1beta1.NamespaceOffloadingSpec)) {
	w.t.Helper()
	w.eventually("a change of the offloading", func(ctx context.Context) error {
		off, err := w.offloading(ctx, ns)
		if err != nil {
			return err
		}
		change(&off.Spec)
		return w.home.Client().Update(ctx, off)
	})
}

func (w *world) offloading(ctx context.Context, ns string) (*v1beta1.NamespaceOffloading, error) {
	off := &v1beta1.NamespaceOffloading{}
	return off, w.home.Client().Get(ctx, client.ObjectKey{Namespace: ns, Name: v1beta1.OffloadingName}, off)
}

// shop makes an offloaded namespace with its twin, as the agent would answer.
func (w *world) shop(ns string, pods ...*corev1.Pod) {
	w.t.Helper()
	off := build.Offloading(ns).Obj()
	off.Spec.PodEvictionStrategy = v1beta1.EvictOnPolicyChange
	w.create(build.Namespace(ns).Obj(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "default"}}, off)
	w.answer(ns)
	for _, pod := range pods {
		ready := pod.Status
		w.create(pod)
		pod.Status = ready
		if err := w.home.Client().Status().Update(w.t.Context(), pod); err != nil {
			w.t.Fatal(err)
		}
	}
	w.says(ns, eviction.ReasonAllPermitted)
}

// answer says what the agent does about a twin that is asked for.
func (w *world) answer(ns string) {
	w.t.Helper()
	w.eventually("the twin of "+ns, func(ctx context.Context) error {
		m := build.Map("b").Obj()
		if err := w.home.Client().Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
			return err
		}
		twin := m.Spec.DesiredMapping[ns]
		if twin == "" {
			return errors.New("not asked for")
		}
		patch := fmt.Sprintf(`{"status":{"currentMapping":{%q:{"remoteNamespace":%q,"phase":"Accepted"}}}}`, ns, twin)
		return w.home.Client().Status().Patch(ctx, m, client.RawPatch(types.MergePatchType, []byte(patch)))
	})
}

// says waits for a reason of condition PodsPermitted about the policy as it is, and returns the offloading.
func (w *world) says(ns, reason string) (*v1beta1.NamespaceOffloading, string) {
	w.t.Helper()
	var off *v1beta1.NamespaceOffloading
	var message string
	w.eventually(reason, func(ctx context.Context) (err error) {
		if off, err = w.offloading(ctx, ns); err != nil {
			return err
		}
		c := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionPodsPermitted)
		if c == nil || c.ObservedGeneration != off.Generation || c.Reason != reason {
			return fmt.Errorf("status %+v", off.Status)
		}
		message = c.Message
		return nil
	})
	return off, message
}

// pod returns a running pod of a controller that nobody runs here; without grace it is gone at once.
func pod(ns, name, node string) *corev1.Pod {
	pod := build.Pod(name).Namespace(ns).Label("app", "web").Node(node).Phase(corev1.PodRunning).
		Spec(func(s *corev1.PodSpec) { s.TerminationGracePeriodSeconds = ptr.To[int64](0) }).Obj()
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: owner, Controller: ptr.To(true),
	}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return pod
}

func local(spec *v1beta1.NamespaceOffloadingSpec) { spec.PodOffloadingStrategy = v1beta1.Local }

// TestOnAnAPIServer tells its stories with the rights that we ship: what they do not cover fails.
func TestOnAnAPIServer(t *testing.T) {
	w := newWorld(t)
	t.Run("pods leave", func(t *testing.T) { w.in(t).podsLeave("leave") })
	t.Run("a budget holds", func(t *testing.T) { w.in(t).aBudgetHolds("budget") })
	t.Run("a twin waits", func(t *testing.T) { w.in(t).aTwinWaits("twin") })
	t.Run("two writers", func(t *testing.T) { w.in(t).twoWriters("writers") })
	t.Run("a node drains", func(t *testing.T) { w.in(t).aNodeDrains("drains") })
	t.Run("a deleted node drains", func(t *testing.T) { w.in(t).aDeletedNodeDrains("deleted") })
	t.Run("no more than that", func(t *testing.T) { w.in(t).noMoreThanThat("rights") })
}

func (w *world) in(t *testing.T) *world { return &world{t: t, home: w.home} }

func (w *world) gone(object client.Object) {
	w.t.Helper()
	w.eventually("the end of "+object.GetName(), func(ctx context.Context) error {
		err := w.home.Client().Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
}

func (w *world) podsLeave(ns string) {
	one, two, home := pod(ns, "one", "b-1"), pod(ns, "two", "b-1"), pod(ns, "home", "home-1")
	w.shop(ns, one, two, home)
	w.change(ns, local)
	w.gone(one)
	w.gone(two)
	off, _ := w.says(ns, eviction.ReasonAllPermitted)
	if ptr.Deref(off.Status.ViolatingPods, -1) != 0 {
		w.t.Errorf("%v pods are left", off.Status.ViolatingPods)
	}
	if err := w.home.Client().Get(w.t.Context(), client.ObjectKeyFromObject(home), home); err != nil {
		w.t.Errorf("the pod that may stay: %v", err)
	}
	w.eventually("an event on the pod", func(ctx context.Context) error {
		var events corev1.EventList
		if err := w.home.Client().List(ctx, &events, client.InNamespace(ns)); err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.Reason == "PolicyEviction" && event.InvolvedObject.UID == one.UID &&
				event.Message == "strategy Local keeps the pods of this namespace at home" {
				return nil
			}
		}
		return fmt.Errorf("%d other events", len(events.Items))
	})
}

func (w *world) aBudgetHolds(ns string) {
	held := pod(ns, "held", "b-1")
	w.shop(ns, held)
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(1)),
			Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}
	w.create(pdb)
	pdb.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: pdb.Generation, ExpectedPods: 1, CurrentHealthy: 1, DesiredHealthy: 1,
	}
	if err := w.home.Client().Status().Update(w.t.Context(), pdb); err != nil {
		w.t.Fatal(err)
	}
	w.change(ns, local)
	_, message := w.says(ns, eviction.ReasonDisruptionBudget)
	if !strings.Contains(message, "held (The disruption budget web needs 1 healthy pods and has 1 currently)") {
		w.t.Errorf("condition %s", message)
	}
	if err := w.home.Client().Get(w.t.Context(), client.ObjectKeyFromObject(held), held); err != nil ||
		held.DeletionTimestamp != nil {
		w.t.Errorf("the pod: deleted %v, %v", held.DeletionTimestamp, err)
	}
	if err := w.home.Client().Delete(w.t.Context(), pdb); err != nil {
		w.t.Fatal(err)
	}
	w.gone(held)
	w.says(ns, eviction.ReasonAllPermitted)
}

// The cluster is deselected, and home takes its pod only later: until then the twin stays.
func (w *world) aTwinWaits(ns string) {
	last := pod(ns, "last", "b-1")
	w.shop(ns, last)
	home := build.Node("home-1")
	w.cordon(home, true)
	w.change(ns, func(spec *v1beta1.NamespaceOffloadingSpec) {
		spec.ClusterSelector = build.Selector("region", "elsewhere")
	})
	if _, message := w.says(ns, eviction.ReasonNoPermittedNode); !strings.Contains(message,
		"last (1 × the node is cordoned)") {
		w.t.Errorf("condition %s", message)
	}
	w.eventually("what the twin waits for", func(ctx context.Context) error {
		off, err := w.offloading(ctx, ns)
		if err != nil {
			return err
		}
		for _, c := range off.Status.RemoteNamespacesConditions["b"] {
			if c.Reason == v1beta1.ReasonTerminating && strings.Contains(c.Message, "to be evicted before namespace "+
				ns+"-consumer goes, 1 left") {
				return nil
			}
		}
		return fmt.Errorf("status %+v", off.Status)
	})
	if w.asked(ns) == "" {
		w.t.Error("the twin was given up with a pod in it")
	}
	w.cordon(home, false)
	w.gone(last)
	w.eventually("the end of the twin", func(context.Context) error {
		if twin := w.asked(ns); twin != "" {
			return fmt.Errorf("asked for as %s", twin)
		}
		return nil
	})
	w.says(ns, eviction.ReasonAllPermitted)
}

func (w *world) cordon(node *corev1.Node, is bool) {
	w.t.Helper()
	w.patch(node, fmt.Sprintf(`{"spec":{"unschedulable":%v}}`, is))
}

// taints returns a node's taints in JSON.
func taints(node *corev1.Node) string {
	text, err := json.Marshal(node.Spec.Taints)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (w *world) patch(object client.Object, patch string) {
	w.t.Helper()
	object = object.DeepCopyObject().(client.Object)
	raw := client.RawPatch(types.MergePatchType, []byte(patch))
	if err := w.home.Client().Patch(w.t.Context(), object, raw); err != nil {
		w.t.Fatal(err)
	}
}

// asked returns the twin that the map asks for.
func (w *world) asked(ns string) string {
	w.t.Helper()
	m := build.Map("b").Obj()
	if err := w.home.Client().Get(w.t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
		w.t.Fatal(err)
	}
	return m.Spec.DesiredMapping[ns]
}

// Both reconcilers write the same list of conditions, each time at the same moment: neither may lose the other's.
func (w *world) twoWriters(ns string) {
	w.shop(ns, pod(ns, "away", "b-1"), pod(ns, "home", "home-1"))
	w.cordon(build.Node("home-1"), true)
	defer w.cordon(build.Node("home-1"), false)
	for round := range 20 {
		strategy, reason := v1beta1.Local, eviction.ReasonNoPermittedNode
		if round%2 == 1 {
			strategy, reason = v1beta1.LocalAndRemote, eviction.ReasonAllPermitted
		}
		w.change(ns, func(spec *v1beta1.NamespaceOffloadingSpec) { spec.PodOffloadingStrategy = strategy })
		w.says(ns, reason)
		w.eventually("the other condition", func(ctx context.Context) error {
			off, err := w.offloading(ctx, ns)
			if err != nil {
				return err
			}
			ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
			mine := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionPodsPermitted)
			if ready == nil || mine == nil {
				w.t.Fatalf("round %d: a condition was lost: %+v", round, off.Status.Conditions)
			}
			if ready.ObservedGeneration != off.Generation || mine.ObservedGeneration != off.Generation ||
				mine.Reason != reason || off.Status.ObservedGeneration != off.Generation {
				return fmt.Errorf("status %+v", off.Status)
			}
			return nil
		})
	}
}

// The rights to evict are none to delete, or to read what is in a volume.
func (w *world) noMoreThanThat(ns string) {
	w.shop(ns, pod(ns, "home", "home-1"))
	identity, err := w.home.ConfigFor(w.t.Context(), v1beta1.SystemNamespace, "controller-manager")
	if err != nil {
		w.t.Fatal(err)
	}
	manager, err := client.New(identity, client.Options{Scheme: w.home.Client().Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	victim := pod(ns, "home", "home-1")
	for what, err := range map[string]error{
		"delete pods":  manager.Delete(w.t.Context(), victim),
		"change pods":  manager.Patch(w.t.Context(), victim, client.RawPatch(types.MergePatchType, []byte(`{}`))),
		"read secrets": manager.List(w.t.Context(), &corev1.SecretList{}, client.InNamespace(ns)),
	} {
		if !apierrors.IsForbidden(err) {
			w.t.Errorf("the controller-manager may %s: %v", what, err)
		}
	}
}
