package eviction

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestAPodThatMayNotStayIsEvicted(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "b-1"), webPod("b", "b-1"))...)
	result := look(t, r)
	if diff := cmp.Diff([]string{"a"}, s.evicted); diff != "" {
		t.Errorf("evicted (-want,+got):\n%s", diff)
	}
	if result.RequeueAfter != afterProgress {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
	off, c := said(t, s)
	if off.Status.ViolatingPods == nil || *off.Status.ViolatingPods != 2 {
		t.Errorf("violating pods %v", off.Status.ViolatingPods)
	}
	want := metav1.Condition{
		Type: "PodsPermitted", Status: metav1.ConditionFalse, Reason: ReasonEvicting, ObservedGeneration: 1,
		Message: "2 pods are where the policy does not permit it (strategy Local keeps the pods of this namespace at " +
			"home); leaving: a; waiting for their turn: b (waiting for a)",
	}
	if c.LastTransitionTime.UTC() != morning {
		t.Errorf("dated %v", c.LastTransitionTime)
	}
	c.LastTransitionTime = metav1.Time{}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"Normal PolicyEviction strategy Local keeps the pods of this namespace at home",
	}, told(r)); diff != "" {
		t.Errorf("told (-want,+got):\n%s", diff)
	}
}

func TestTheLastPodEndsIt(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "b-1"))...)
	look(t, r)
	told(r)
	result := look(t, r)
	off, c := said(t, s)
	if c.Status != metav1.ConditionTrue || c.Reason != ReasonAllPermitted ||
		ptr.Deref(off.Status.ViolatingPods, -1) != 0 {
		t.Errorf("status %+v", off.Status)
	}
	done := []string{"Normal PodsPermitted every pod is where the policy permits it"}
	if diff := cmp.Diff(done, told(r)); diff != "" {
		t.Errorf("told (-want,+got):\n%s", diff)
	}
	if result.RequeueAfter < whenQuiet {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
	s.forget()
	look(t, r)
	if s.patches > 0 || len(told(r)) > 0 {
		t.Error("a look at nothing new is told again")
	}
	if diff := cmp.Diff([]string{"pods"}, s.lists); diff != "" {
		t.Errorf("a quiet namespace is asked for (-want,+got):\n%s", diff)
	}
}

// The first look at a policy is followed by another: a pod may be on its way to a node by the old one.
func TestANewPolicyIsLookedAtTwice(t *testing.T) {
	r, _ := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "home-1"))...)
	if first := look(t, r).RequeueAfter; first < afterNone || first > 2*afterNone {
		t.Errorf("looks again after %v", first)
	}
	if second := look(t, r).RequeueAfter; second < whenQuiet {
		t.Errorf("and then after %v", second)
	}
}

func TestNamespacesThatDoNotAskCostNothing(t *testing.T) {
	never := build.Offloading("shop").Strategy(v1beta1.Local).Obj()
	never.Spec.PodEvictionStrategy = v1beta1.EvictNever
	unsaid := build.Offloading("shop").Strategy(v1beta1.Local).Obj()
	leaving := evicting(v1beta1.Local)
	leaving.DeletionTimestamp = ptr.To(metav1.NewTime(morning))
	leaving.Finalizers = []string{v1beta1.FinalizerOffloading}
	other := evicting(v1beta1.Local)
	other.Name = "other"
	for name, off := range map[string]*v1beta1.NamespaceOffloading{
		"never": never, "not said": unsaid, "being un-offloaded": leaving, "not the offloading": other,
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newReconciler(t, shop(off, webPod("a", "b-1"))...)
			if result := look(t, r); result.RequeueAfter != 0 {
				t.Errorf("looks again after %v", result.RequeueAfter)
			}
			if len(s.lists)+len(s.evicted)+s.patches > 0 {
				t.Errorf("lists %v, evictions %v, %d patches", s.lists, s.evicted, s.patches)
			}
		})
	}
}

func TestAskingNoMoreTakesTheConditionBack(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), podOf("", "", "a", "b-1"))...)
	look(t, r)
	off, c := said(t, s)
	if c.Reason != ReasonNoController {
		t.Fatalf("condition %+v", c)
	}
	meta.SetStatusCondition(&off.Status.Conditions, metav1.Condition{Type: "Ready", Status: "True", Reason: "Ready"})
	if err := s.Status().Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	off.Spec.PodEvictionStrategy = v1beta1.EvictNever
	if err := s.Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	look(t, r)
	off, c = said(t, s)
	if c.Type != "" || off.Status.ViolatingPods != nil {
		t.Errorf("status %+v", off.Status)
	}
	if meta.FindStatusCondition(off.Status.Conditions, "Ready") == nil {
		t.Error("somebody else's condition was taken with it")
	}
}

func TestABudgetIsWaitedFor(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "b-1"), webPod("b", "b-1"),
		podOf("ReplicaSet", "db", "db", "b-1"))...)
	asked := 0
	s.refuse = func(what string) error {
		if what == "evict a" || what == "evict b" {
			asked++
			return tooMany("The disruption budget web needs 2 healthy pods and has 2 currently")
		}
		return nil
	}
	look(t, r)
	if diff := cmp.Diff([]string{"db"}, s.evicted); diff != "" {
		t.Errorf("evicted (-want,+got):\n%s", diff)
	}
	result := look(t, r)
	_, c := said(t, s)
	if want := "2 pods are where the policy does not permit it (strategy Local keeps the pods of this namespace at " +
		"home); held by a PodDisruptionBudget: a, b (The disruption budget web needs 2 healthy pods and has 2 " +
		"currently)"; c.Reason != ReasonDisruptionBudget || c.Message != want {
		t.Errorf("condition %s: %s", c.Reason, c.Message)
	}
	if asked != 2 {
		t.Errorf("asked %d times in two rounds", asked)
	}
	if result.RequeueAfter > 2*afterNone {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
	if result = look(t, r); result.RequeueAfter < afterNone {
		t.Errorf("where nothing changes it looks again after %v", result.RequeueAfter)
	}
}

func TestOtherRefusals(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	forbidden := apierrors.NewForbidden(pods, "a", errors.New("no"))
	for name, tc := range map[string]struct {
		answer     error
		wantError  error
		wantReason string
		wantWords  string
	}{
		"two budgets": {
			answer: apierrors.NewInternalError(errors.New(moreThanOneBudget)), wantReason: ReasonDisruptionBudget,
			wantWords: "more than one PodDisruptionBudget",
		},
		"a budget that is not named": {
			answer: apierrors.NewTooManyRequests("slow down", 0), wantReason: ReasonDisruptionBudget,
			wantWords: "slow down",
		},
		"no right": {
			answer: forbidden, wantError: forbidden, wantReason: ReasonFailed, wantWords: "evict pod a: pods \"a\" is",
		},
		"gone already": {
			answer: apierrors.NewNotFound(pods, "a"), wantReason: ReasonEvicting, wantWords: "leaving: a",
		},
		"another by name": {
			answer: apierrors.NewConflict(pods, "a", nil), wantReason: ReasonEvicting, wantWords: "leaving: a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "b-1"))...)
			s.refuse = func(what string) error {
				if what == "evict a" {
					return tc.answer
				}
				return nil
			}
			_, err := r.Reconcile(t.Context(), request)
			if !errors.Is(err, tc.wantError) {
				t.Errorf("error %v", err)
			}
			if _, c := said(t, s); c.Reason != tc.wantReason || !strings.Contains(c.Message, tc.wantWords) {
				t.Errorf("condition %s: %s", c.Reason, c.Message)
			}
			if events := told(r); len(events) > 0 {
				t.Errorf("told %v", events)
			}
		})
	}
}

func TestWhatCannotBeReadIsSaid(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "b-1"))...)
	for _, what := range []string{"list pods", "list nodes"} {
		asleep := errors.New("the server is asleep")
		s.refuse = func(asked string) error {
			if asked == what {
				return asleep
			}
			return nil
		}
		if _, err := r.Reconcile(t.Context(), request); !errors.Is(err, asleep) {
			t.Errorf("%s: error %v", what, err)
		}
		if _, c := said(t, s); c.Status != metav1.ConditionUnknown || c.Reason != ReasonFailed ||
			c.Message != "tried again: "+what+": the server is asleep" {
			t.Errorf("%s: condition %+v", what, c)
		}
	}
	if len(s.evicted) > 0 {
		t.Errorf("evicted %v in the dark", s.evicted)
	}
}

func TestALostRaceIsNoError(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "home-1"))...)
	s.refuse = func(what string) error {
		if strings.HasPrefix(what, "patch") {
			return apierrors.NewConflict(schema.GroupResource{Resource: "namespaceoffloadings"}, "offloading", nil)
		}
		return nil
	}
	if result := look(t, r); result.RequeueAfter != retryConflict {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
}

func TestAllNamespacesTogetherAreLimited(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), podOf("ReplicaSet", "1", "a", "b-1"),
		podOf("ReplicaSet", "2", "b", "b-1"))...)
	r.Limit = &nothingLeft{accepted: 1}
	look(t, r)
	if diff := cmp.Diff([]string{"a"}, s.evicted); diff != "" {
		t.Errorf("evicted (-want,+got):\n%s", diff)
	}
	if _, c := said(t, s); !strings.Contains(c.Message, "waiting for their turn: b (enough pods of all namespaces") {
		t.Errorf("condition %s", c.Message)
	}
}

// The policy that counts is that of the API server at this moment, whatever the cache says.
func TestAPolicyThatWasTakenBackEvictsNobody(t *testing.T) {
	for name, now := range map[string]*v1beta1.NamespaceOffloading{
		"permitted again": evicting(v1beta1.LocalAndRemote),
		"never evict":     build.Offloading("shop").Strategy("Local").Obj(),
	} {
		t.Run(name, func(t *testing.T) {
			r, stale := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "b-1"))...)
			_, fresh := newReconciler(t, shop(now, webPod("a", "b-1"))...)
			r.Live = fresh
			stale.refuse = func(what string) error {
				if strings.HasPrefix(what, "evict") {
					t.Error(what)
				}
				return nil
			}
			if _, err := r.Reconcile(t.Context(), request); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("the same metrics were registered twice")
	}
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "b-1"), webPod("b", "b-1"))...)
	r.Metrics = metrics
	look(t, r)
	want := `
# HELP twinspace_eviction_evicted_total Pods evicted from where the policy does not permit them, by its reason.
# TYPE twinspace_eviction_evicted_total counter
twinspace_eviction_evicted_total{reason="StrategyLocal"} 1
# HELP twinspace_eviction_violating_pods Pods where the policy does not permit them, by namespace that evicts such pods.
# TYPE twinspace_eviction_violating_pods gauge
twinspace_eviction_violating_pods{namespace="shop"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	off, _ := said(t, s)
	if err := s.Delete(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	look(t, r)
	if count := testutil.CollectAndCount(metrics.violating); count > 0 {
		t.Error("a namespace that is gone is still counted")
	}
}

func TestStaying(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "b-1"), with(webPod("b", "b-1"), deleted),
		podOf("", "", "bare", "b-1"), podOf("DaemonSet", "log", "log", "b-1"),
		with(webPod("theirs", "b-1"), scheduledAs("theirs")), webPod("c", "c-1"), webPod("d", "home-1"),
		with(webPod("done", "b-1"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }))...)
	got := map[string]int{}
	for _, id := range []string{"b", "c", "d"} {
		count, err := r.Staying(t.Context(), "shop", id)
		if err != nil {
			t.Fatal(err)
		}
		got[id] = count
	}
	if diff := cmp.Diff(map[string]int{"b": 2, "c": 1, "d": 0}, got); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	s.refuse = func(string) error { return errors.New("the server is asleep") }
	if _, err := r.Staying(t.Context(), "shop", "b"); err == nil {
		t.Error("pods that could not be counted were taken for none")
	}
}

func TestPinsOfVolumes(t *testing.T) {
	claim := func(name, volume string) client.Object {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: volume},
		}
	}
	tied := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "tied"}}
	tied.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
		NodeSelectorTerms: toVirtual().NodeSelectorTerms,
	}}
	r, _ := newReconciler(t, claim("tied", "tied"), claim("free", "free"), claim("unbound", ""), claim("lost", "lost"),
		tied, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "free"}})
	for name, want := range map[string]int{"tied": 1, "free": 0, "unbound": 0, "lost": 0, "missing": 0} {
		pod := webPod("a", "b-1")
		pod.Namespace = "shop"
		pod.Spec.Volumes = []corev1.Volume{{Name: "cache"}, {Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}}}
		pins, err := r.pins(t.Context(), &pod)
		if err != nil || len(pins) != want {
			t.Errorf("%s: %d pins, %v", name, len(pins), err)
		}
		for _, pin := range pins {
			if !pin.Match(&cluster()[0]) || pin.Match(&cluster()[2]) {
				t.Errorf("%s: the pin does not match what the volume says", name)
			}
		}
	}
}

func toVirtual() *v1beta1.ClusterSelector {
	return build.Selector(v1beta1.LabelNodeType, v1beta1.NodeTypeVirtual)
}

// Another writer adds a condition between our read and our write: it stays, and ours comes in the next round.
func TestAnotherWritersConditionIsNeverLost(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("a", "home-1"))...)
	s.refuse = func(what string) error {
		if !strings.HasPrefix(what, "patch") {
			return nil
		}
		s.refuse = nil // once
		off, _ := said(t, s)
		ready := metav1.Condition{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Ready"}
		meta.SetStatusCondition(&off.Status.Conditions, ready)
		return s.Status().Update(t.Context(), off)
	}
	if result := look(t, r); result.RequeueAfter != retryConflict {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
	look(t, r)
	off, mine := said(t, s)
	if mine.Reason != ReasonAllPermitted || !meta.IsStatusConditionTrue(off.Status.Conditions, "Ready") {
		t.Errorf("conditions %+v", off.Status.Conditions)
	}
}
