package storage

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func data() *build.ClaimBuilder { return build.Claim("data").UID("c1") }

func objects(objs ...client.Object) []client.Object { return objs }

// bound is a claim with its volume on node-1.
func bound(t *testing.T, reclaim corev1.PersistentVolumeReclaimPolicy, copyUID string) (
	*corev1.PersistentVolumeClaim, *corev1.PersistentVolume,
) {
	t.Helper()
	claim := data().Placed("node-1").Bound("pvc-c1").Obj()
	pv := volume(claim, "node-1", handle{"provider-1", "shop-home", "data"}, reclaim)
	pv.Status.Phase = corev1.VolumeBound
	if copyUID != "" {
		pv.Annotations[v1beta1.AnnotationRemoteClaimUID] = copyUID
	}
	return claim, pv
}

func TestAVolumeIsMadeWhereTheSchedulerSays(t *testing.T) {
	for name, test := range map[string]struct {
		claim *build.ClaimBuilder
		want  []string
		stay  string
	}{
		"a node of ours is chosen": {
			claim: data().Placed("node-1"), want: []string{"create home pvc-c1"},
			stay: "its volume on virtual node node-1 is not made yet",
		},
		"no node is chosen": {claim: data(), stay: "no pod that uses it has been placed yet"},
		"another provider's node is chosen": {
			claim: data().Placed("node-9"), stay: "its volume is made elsewhere",
		},
		"a node of ours is chosen for a volume of another provisioner": {
			claim: data().Placed("node-1").Annotation(v1beta1.AnnotationStorageProvisioner, "csi.example.com"),
			stay:  "its volume is made elsewhere",
		},
		"it is bound to another volume": {
			claim: data().Placed("node-1").Bound("nfs"), stay: "its volume nfs is not on this provider",
		},
		"it has lost the volume that we made": {
			claim: data().Placed("node-1").Bound("pvc-c1"), want: []string{"create home pvc-c1"},
			stay: "its volume on virtual node node-1 is not made yet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, objects(test.claim.Obj()), nil)
			if got := r.Stay(test.claim.Obj()); got != test.stay {
				t.Errorf("it stays because %q, want %q", got, test.stay)
			}
			if asked := r.queue.Len() > 0; asked != (test.want != nil) {
				t.Errorf("it is looked at: %v", asked)
			}
			r.settle("data")
			if diff := cmp.Diff(test.want, r.writes); diff != "" {
				t.Errorf("writes (-want,+got):\n%s", diff)
			}
			if test.want == nil {
				return
			}
			if test.claim.Obj().Spec.VolumeName == "" {
				r.settle("data") // nobody has bound it yet
			}
			if n := len(r.volumes.List()); n != 1 {
				t.Errorf("there are %d volumes", n)
			}
			if got := r.volume("pvc-c1").Spec.PersistentVolumeReclaimPolicy; got != "Delete" {
				t.Errorf("its reclaim policy is %s", got)
			}
			if got := r.copied("data"); got != nil {
				t.Error("the rehearsal made a copy")
			}
		})
	}
}

func TestAClassOfHomeSaysWhatBecomesOfTheData(t *testing.T) {
	r := newRig(t, objects(data().Class("liqo-retain").Placed("node-1").Obj()), nil)
	r.settle("data")
	if got := r.volume("pvc-c1").Spec.PersistentVolumeReclaimPolicy; got != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("its reclaim policy is %s", got)
	}
}

func TestAProviderThatCannotHaveTheVolumeLetsThePodGo(t *testing.T) {
	quota := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "data",
		errors.New("exceeded quota: storage"))
	mine := func(claim *corev1.PersistentVolumeClaim, origin, uid string) *corev1.PersistentVolumeClaim {
		out := copyOfClaim(claim, "x")
		out.Labels[v1beta1.LabelOrigin], out.Annotations[v1beta1.AnnotationHomeUID] = origin, uid
		return out
	}
	retained := mine(data().Obj(), "home", "c0")
	retained.Annotations[v1beta1.AnnotationReclaimPolicy] = "Retain"
	for name, test := range map[string]struct {
		claim   *build.ClaimBuilder
		offered []v1beta1.StorageType
		there   []client.Object
		change  func(r *rig)
		want    string
	}{
		"no storage class": {
			change: (*rig).withoutDefault,
			want:   "the provider has no storage class",
		},
		"no default": {
			there:  objects(class("fast", false)),
			change: (*rig).withoutDefault,
			want: "the provider has no default storage class; annotation liqo.io/remote-storage-class on the claim " +
				"names one",
		},
		"not the class that is asked for": {
			claim: data().Annotation(v1beta1.AnnotationRemoteStorageClass, "gold"),
			want:  `the provider has no storage class "gold"`,
		},
		"not the class that is on offer": {
			offered: []v1beta1.StorageType{{StorageClassName: "fast", Default: true}},
			want:    `the provider has no storage class "fast"`,
		},
		"a quota": {
			change: func(r *rig) {
				r.refuse = func(call string, _ client.Object) error {
					return map[bool]error{true: quota}[call == "rehearse"]
				}
			},
			want: `the provider refuses the claim: persistentvolumeclaims "data" is forbidden: exceeded quota: storage`,
		},
		"a selector": {
			claim: data().Spec(func(s *corev1.PersistentVolumeClaimSpec) { s.Selector = &metav1.LabelSelector{} }),
			want:  "the claim has a selector, and volumes of the provider have no labels that home knows",
		},
		"the name is somebody else's": {
			there: objects(mine(data().Obj(), "farm", "c1")), want: "a claim shop-home/data is there and not ours",
		},
		"the name is taken by a claim that does not go": {
			there: objects(leaving(time.Unix(1, 0))),
			want:  "claim shop-home/data there is being deleted, and something holds it, such as a pod that uses it",
		},
		"the name is taken by retained data": {
			there: objects(retained),
			want:  "claim shop-home/data there retains the data of an earlier claim of that name",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.claim == nil {
				test.claim = data()
			}
			r := newRig(t, objects(test.claim.Placed("node-1").Obj()), test.there)
			r.offered["node-1"] = test.offered
			if test.change != nil {
				test.change(r)
			}
			for range 2 {
				after, err := r.look("data")
				if after != reconsider || err != nil {
					t.Fatalf("looked at again after %s, %v", after, err)
				}
			}
			if len(r.writes) > 0 {
				t.Errorf("writes of a second look: %v", r.writes)
			}
			claim := r.claim("data")
			if diff := cmp.Diff(map[string]string{"node-1": test.want}, Refusals(claim)); diff != "" {
				t.Errorf("refusals (-want,+got):\n%s", diff)
			}
			if node := chosen(claim); node != "" {
				t.Errorf("node %s is chosen still: the pod hangs", node)
			}
			message := "no volume on virtual node node-1: " + test.want
			if c := claim.Status.Conditions; len(c) != 1 || c[0].Type != "VolumeRefused" || c[0].Message != message {
				t.Errorf("conditions: %v", c)
			}
			if diff := cmp.Diff([]string{"Warning VolumeRefused " + message}, r.told()); diff != "" {
				t.Errorf("events (-want,+got):\n%s", diff)
			}
			if r.volume("pvc-c1") != nil {
				t.Error("there is a volume")
			}
		})
	}
}

// withoutDefault takes the provider's default class away.
func (r *rig) withoutDefault() {
	standard := read(r, r.away, class("standard", true), client.ObjectKey{Name: "standard"})
	if err := r.away.Delete(r.Context(), standard, exactly(standard)); err != nil {
		r.Fatal(err)
	}
	r.writes = nil
}

func TestARefusalPasses(t *testing.T) {
	refused := data().Annotation(v1beta1.AnnotationVolumeRefused, `{"node-1":"because","node-9":"so"}`).
		Annotation(v1beta1.AnnotationStorageProvisioner, v1beta1.StorageProvisioner).
		Status(func(s *corev1.PersistentVolumeClaimStatus) {
			s.Conditions = withCondition(nil, v1beta1.ClaimVolumeRefused, "old", metav1.Unix(1, 0))
		}).Obj()
	r := newRig(t, objects(refused), nil)
	if r.Stay(refused); r.queue.Len() != 1 {
		t.Error("it is not looked at, so its refusal would stay after a restart")
	}
	r.settle("data")
	claim := r.claim("data")
	if diff := cmp.Diff(map[string]string{"node-9": "so"}, Refusals(claim)); diff != "" {
		t.Errorf("refusals (-want,+got):\n%s", diff)
	}
	if c := claim.Status.Conditions; len(c) != 1 || c[0].Message != "no volume on virtual node node-9: so" {
		t.Errorf("conditions: %v", c)
	}
	if r.volume("pvc-c1") != nil {
		t.Error("there is a volume on a node that nobody has chosen")
	}

	fit := data().Placed("node-1").Annotation(v1beta1.AnnotationVolumeRefused, `{"node-1":"x"}`).Obj()
	r = newRig(t, objects(fit), nil)
	r.settle("data")
	if claim = r.claim("data"); r.volume("pvc-c1") == nil || len(Refusals(claim)) > 0 || chosen(claim) != "node-1" {
		t.Errorf("a chosen node that has become fit: %v, %v", claim.Annotations, r.volume("pvc-c1"))
	}
}

func TestWhatIsAboutToChangeIsWaitedFor(t *testing.T) {
	older := copyOfClaim(data().UID("c0").Obj(), "x")
	for name, there := range map[string]client.Object{
		"the copy of an earlier claim of the name": older,
		"a copy of its own on its way out":         leaving(time.Now()),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, objects(data().Placed("node-1").Obj()), objects(there))
			if after, err := r.look("data"); after != soon || err != nil || len(r.writes) > 0 {
				t.Errorf("looked at again after %s, %v; writes %v", after, err, r.writes)
			}
		})
	}
	r := newRig(t, objects(data().Placed("node-1").Obj()), nil)
	r.TwinLeaving("shop")
	if r.settle("data"); len(r.writes) > 0 {
		t.Errorf("without a twin: writes %v", r.writes)
	}
}

// leaving is a copy that is being deleted.
func leaving(since time.Time) *corev1.PersistentVolumeClaim {
	out := copyOfClaim(data().Obj(), "x")
	out.DeletionTimestamp, out.Finalizers = &metav1.Time{Time: since}, []string{"pods/still-use-it"}
	return out
}

func TestAProviderThatDoesNotAnswerLetsThePodGo(t *testing.T) {
	for want, answer := range map[string]error{
		"the provider does not answer":                        errors.New("read tcp 10.0.0.1:4711: timeout"),
		"the provider cannot be asked: read claim shop-home/": apierrors.NewTooManyRequestsError("busy"),
	} {
		t.Run(want, func(t *testing.T) {
			r := newRig(t, objects(data().Placed("node-1").Obj()), nil)
			r.refuse = func(string, client.Object) error { return answer }
			it := item{"shop", "data"}
			for range patience {
				if after, err := r.look("data"); err == nil || after != 0 || len(r.writes) > 0 {
					t.Fatalf("looked at again after %s, %v, writes %v", after, err, r.writes)
				}
				r.queue.AddRateLimited(it)
			}
			if r.Retry(); r.queue.Len() != 1 {
				t.Error("it is not tried at once when the provider answers again")
			}
			if after, err := r.look("data"); err != nil || after != reconsider {
				t.Errorf("the pod waits still: %s, %v", after, err)
			}
			claim := r.claim("data")
			if why := Refusals(claim)["node-1"]; !strings.HasPrefix(why, want) || chosen(claim) != "" {
				t.Errorf("refused because %q", why)
			}
			r.refuse = func(string, client.Object) error { return nil }
			if r.settle("data"); len(Refusals(r.claim("data"))) > 0 {
				t.Error("it is refused when the provider is back")
			}
		})
	}
}

func TestAVolumeIsOnlyForClaimsOfItsName(t *testing.T) {
	_, pv := bound(t, corev1.PersistentVolumeReclaimRetain, "first")
	other := build.Claim("other").UID("c2").Bound("pvc-c1").Obj()
	pv.Spec.ClaimRef.Name, pv.Spec.ClaimRef.UID = "other", "c2"
	r := newRig(t, objects(other, pv), nil)
	const want = `its volume pvc-c1 has the data of a claim "data": only a claim of that name in the same namespace ` +
		`can have them`
	if got := r.Stay(other); got != want || r.VolumeOf(other) != nil {
		t.Errorf("it stays because %q: its copy would be empty", got)
	}
}

func TestWhyAClaimHasNoCopyHere(t *testing.T) {
	refused := data().Annotation(v1beta1.AnnotationVolumeRefused, `{"node-1":"no class","node-9":"so"}`)
	r := newRig(t, nil, nil)
	if got := r.Stay(refused.Obj()); got != "no volume on virtual node node-1: no class" || r.queue.Len() != 1 {
		t.Errorf("it stays because %q", got)
	}
}

// TestALossIsToldInAnotherTwin: the mapping strategy was changed, so the twin has another name than the volume says.
func TestALossIsToldInAnotherTwin(t *testing.T) {
	claim, pv := bound(t, corev1.PersistentVolumeReclaimDelete, "first")
	second := copyOfClaim(claim, "second")
	second.Namespace = "shop"
	Feedback(claim, second, pv)
	r := newRig(t, objects(claim, pv), objects(second))
	r.TwinReady("shop", "shop")
	r.settle("data")
	if diff := cmp.Diff([]string{"Warning VolumeLost " + lossOf(second, "provider-1")}, r.told()); diff != "" {
		t.Errorf("events (-want,+got):\n%s", diff)
	}
}

func TestAVolumeKnowsItsCopy(t *testing.T) {
	claim, pv := bound(t, corev1.PersistentVolumeReclaimDelete, "")
	r := newRig(t, objects(claim, pv), nil)
	if why := r.Stay(claim); why != "" || r.queue.Len() != 1 {
		t.Errorf("it stays because %q; %d are looked at", why, r.queue.Len())
	}
	if _, err := r.look("data"); !errors.Is(err, errNoCopy) {
		t.Errorf("without a copy: %v", err)
	}
	if err := r.away.Create(t.Context(), copyOfClaim(claim, "first")); err != nil {
		t.Fatal(err)
	}
	r.settle("data")
	if got := r.volume("pvc-c1").Annotations[v1beta1.AnnotationRemoteClaimUID]; got != "first" {
		t.Errorf("it knows copy %q", got)
	}
	r.settle("data")
	if len(r.writes) > 0 {
		t.Errorf("writes of a second look: %v", r.writes)
	}
	r.queue.Done(firstOf(r))
	if r.Stay(claim); r.queue.Len() > 0 {
		t.Error("a claim with which all is well is looked at")
	}
}

// firstOf takes what is looked at next.
func firstOf(r *rig) item {
	it, _ := r.queue.Get()
	return it
}

func TestALossIsToldOnce(t *testing.T) {
	claim, pv := bound(t, corev1.PersistentVolumeReclaimDelete, "first")
	second := copyOfClaim(claim, "second")
	second.CreationTimestamp = metav1.NewTime(time.Unix(1_900_000_000, 0))
	r := newRig(t, objects(claim, pv), objects(second))
	r.settle("data")
	if told := r.told(); len(told) > 0 || len(r.writes) > 0 {
		t.Errorf("told before the claim says so itself: %v, %v", told, r.writes)
	}
	Feedback(claim, r.copied("data"), pv)
	if err := r.home.Status().Update(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	if r.Stay(claim); r.queue.Len() != 1 {
		t.Error("a loss is not looked at")
	}
	r.settle("data")
	r.settle("data")
	want := []string{"Warning VolumeLost " + lossOf(second, "provider-1")}
	if diff := cmp.Diff(want, r.told()); diff != "" {
		t.Errorf("events (-want,+got):\n%s", diff)
	}
	if got := r.volume("pvc-c1").Annotations[v1beta1.AnnotationRemoteClaimUID]; got != "second" {
		t.Errorf("the volume knows copy %q", got)
	}
}

func TestAVolumeGrowsWithItsClaim(t *testing.T) {
	claim, pv := bound(t, corev1.PersistentVolumeReclaimDelete, "first")
	claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}
	r := newRig(t, objects(claim, pv), objects(copyOfClaim(claim, "first")))
	if r.Stay(claim); r.queue.Len() != 1 {
		t.Error("it is not looked at")
	}
	r.settle("data")
	if got := r.volume("pvc-c1").Spec.Capacity[corev1.ResourceStorage]; got.String() != "5Gi" {
		t.Errorf("it has %s", got.String())
	}
	r.settle("data")
	if len(r.writes) > 0 {
		t.Errorf("writes of a second look: %v", r.writes)
	}
}
