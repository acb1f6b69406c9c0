package storage

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestWhatACopyAsksFor(t *testing.T) {
	block := corev1.PersistentVolumeBlock
	for name, test := range map[string]struct {
		claim *build.ClaimBuilder
		class string
		have  *corev1.PersistentVolumeClaim
		want  corev1.PersistentVolumeClaimSpec
	}{
		"as home, with the class of the provider": {
			claim: build.Claim("data"), class: "fast",
			want: build.Claim("data").Class("fast").Obj().Spec,
		},
		"the provider's default class": {
			claim: build.Claim("data"), want: build.Claim("data").Class("").Obj().Spec,
		},
		"a block device, and no volume of home": {
			claim: build.Claim("data").Bound("pvc-1").Spec(func(s *corev1.PersistentVolumeClaimSpec) {
				s.VolumeMode = &block
			}),
			want: build.Claim("data").Class("").Spec(func(s *corev1.PersistentVolumeClaimSpec) {
				s.VolumeMode = &block
			}).Obj().Spec,
		},
		"other access modes": {
			claim: build.Claim("data").Annotation(v1beta1.AnnotationRemoteAccessModes, "ReadWriteMany, ReadOnlyMany"),
			want: build.Claim("data").Class("").Spec(func(s *corev1.PersistentVolumeClaimSpec) {
				s.AccessModes = []corev1.PersistentVolumeAccessMode{"ReadWriteMany", "ReadOnlyMany"}
			}).Obj().Spec,
		},
		"a clone of another claim": {
			claim: build.Claim("data").Spec(func(s *corev1.PersistentVolumeClaimSpec) {
				s.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "seed"}
				s.DataSourceRef = &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: "seed"}
			}),
			want: build.Claim("data").Class("").Spec(func(s *corev1.PersistentVolumeClaimSpec) {
				s.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "seed"}
			}).Obj().Spec,
		},
		"of a copy that is bound, the size alone changes": {
			claim: build.Claim("data").Size("2Gi").Annotation(v1beta1.AnnotationRemoteAccessModes, "ReadOnlyMany"),
			class: "fast", have: build.Claim("data").UID("1").Class("slow").Bound("there").Obj(),
			want: build.Claim("data").Class("slow").Size("2Gi").Bound("there").Obj().Spec,
		},
		"of a copy that is not bound yet, nothing may change": {
			claim: build.Claim("data").Size("2Gi"), have: build.Claim("data").UID("1").Class("slow").Obj(),
			want: build.Claim("data").Class("slow").Obj().Spec,
		},
		"the same size in other words is no change": {
			claim: build.Claim("data").Size("1024Mi"), have: build.Claim("data").UID("1").Bound("there").Obj(),
			want: build.Claim("data").Bound("there").Obj().Spec,
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := test.claim.Obj(), test.have
			if dst == nil {
				dst = &corev1.PersistentVolumeClaim{}
			}
			Fill(dst, src, test.class)
			if diff := cmp.Diff(test.want, dst.Spec); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(test.claim.Obj(), src); diff != "" {
				t.Errorf("the home object was changed (-before,+after):\n%s", diff)
			}
		})
	}
}

func TestTheClassOfACopy(t *testing.T) {
	two := []v1beta1.StorageType{{StorageClassName: "slow"}, {StorageClassName: "fast", Default: true}}
	for name, test := range map[string]struct {
		asked   string
		offered []v1beta1.StorageType
		class   string
		why     string
	}{
		"nobody says anything: the provider's default":      {},
		"the virtual node's default":                        {offered: two, class: "fast"},
		"the virtual node has none: the provider's":         {offered: two[:1]},
		"the annotation wins":                               {asked: "slow", offered: two, class: "slow"},
		"the annotation, and the virtual node says nothing": {asked: "any", class: "any"},
		"the annotation asks for what is not on offer": {
			asked: "gold", offered: two,
			why: `annotation liqo.io/remote-storage-class asks for class "gold"; there are slow, fast`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			claim := build.Claim("data")
			if test.asked != "" {
				claim.Annotation(v1beta1.AnnotationRemoteStorageClass, test.asked)
			}
			class, why := classFor(claim.Obj(), test.offered)
			if class != test.class || why != test.why {
				t.Errorf("got %q, %q; want %q, %q", class, why, test.class, test.why)
			}
		})
	}
}

func TestWhatCannotBeCarried(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.PersistentVolumeClaimSpec)
		want   string
	}{
		"a plain claim": {change: func(*corev1.PersistentVolumeClaimSpec) {}},
		"a selector": {
			change: func(s *corev1.PersistentVolumeClaimSpec) { s.Selector = &metav1.LabelSelector{} },
			want:   "the claim has a selector, and volumes of the provider have no labels that home knows",
		},
		"a snapshot": {
			change: func(s *corev1.PersistentVolumeClaimSpec) {
				s.DataSource = &corev1.TypedLocalObjectReference{Kind: "VolumeSnapshot", Name: "monday"}
			},
			want: `the claim is to be filled from VolumeSnapshot "monday", which is at home`,
		},
		"a populator": {
			change: func(s *corev1.PersistentVolumeClaimSpec) {
				s.DataSourceRef = &corev1.TypedObjectReference{Kind: "Hello", Name: "world"}
			},
			want: `the claim is to be filled from Hello "world", which is at home`,
		},
		"a claim of another namespace": {
			change: func(s *corev1.PersistentVolumeClaimSpec) {
				s.DataSourceRef = &corev1.TypedObjectReference{
					Kind: "PersistentVolumeClaim", Name: "seed", Namespace: ptr.To("farm"),
				}
			},
			want: `the claim is to be filled from PersistentVolumeClaim of namespace farm "seed", which is at home`,
		},
		"a clone": {
			change: func(s *corev1.PersistentVolumeClaimSpec) {
				s.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "seed"}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := unsupported(build.Claim("data").Spec(test.change).Obj()); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFeedback(t *testing.T) {
	made := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	pv := build.Volume("pvc-1", "provider-1")
	pv.Spec.ClaimRef = &corev1.ObjectReference{}
	pv.Annotations = map[string]string{v1beta1.AnnotationRemoteClaimUID: "first"}
	type pvcCondition = corev1.PersistentVolumeClaimCondition
	condition := func(kind corev1.PersistentVolumeClaimConditionType, message string) pvcCondition {
		return corev1.PersistentVolumeClaimCondition{Type: kind, Status: corev1.ConditionTrue, Message: message}
	}
	const size, resizing = corev1.ResourceStorage, corev1.PersistentVolumeClaimResizing
	lossAt := func(at time.Time) corev1.PersistentVolumeClaimCondition {
		c := condition(v1beta1.ClaimVolumeLost, `the volume on cluster "provider-1" was deleted there, with its data; `+
			`claim shop/data there was made anew at `+at.Format(time.RFC3339)+` and is empty; this condition `+
			`goes with the claim`)
		c.Reason, c.LastTransitionTime = "VolumeLost", metav1.NewTime(made)
		return c
	}
	second := build.Claim("data").UID("second").Bound("there").Obj()
	second.CreationTimestamp = metav1.NewTime(made)
	third := second.DeepCopy()
	third.UID, third.CreationTimestamp = "third", metav1.NewTime(made.Add(time.Hour))
	pending := map[corev1.ResourceName]corev1.ClaimResourceStatus{size: "NodeResizePending"}
	conditions := func(all ...corev1.PersistentVolumeClaimCondition) func(*corev1.PersistentVolumeClaimStatus) {
		return func(s *corev1.PersistentVolumeClaimStatus) { s.Conditions = all }
	}
	for name, test := range map[string]struct {
		home *build.ClaimBuilder
		away *corev1.PersistentVolumeClaim
		pv   *corev1.PersistentVolume
		want *build.ClaimBuilder
	}{
		"the copy waits for its pod: home is bound, and stays as it is": {
			home: build.Claim("data").Bound("pvc-1"), away: build.Claim("data").UID("first").Obj(), pv: pv,
			want: build.Claim("data").Bound("pvc-1"),
		},
		"more than was asked for": {
			home: build.Claim("data").Bound("pvc-1"), pv: pv,
			away: build.Claim("data").UID("first").Size("5Gi").Bound("x").Obj(),
			want: build.Claim("data").Bound("pvc-1").Status(func(s *corev1.PersistentVolumeClaimStatus) {
				s.Capacity[size] = resource.MustParse("5Gi")
			}),
		},
		"home is not bound yet": {
			home: build.Claim("data"), want: build.Claim("data"),
			away: build.Claim("data").UID("first").Bound("x").Obj(),
		},
		"an expansion is under way": {
			home: build.Claim("data").Bound("pvc-1").Status(conditions(condition("UsersOwn", "x"))),
			away: build.Claim("data").UID("first").Bound("x").Status(func(s *corev1.PersistentVolumeClaimStatus) {
				s.Conditions = []pvcCondition{condition(resizing, "a"), condition("Theirs", "b")}
				s.AllocatedResources = corev1.ResourceList{size: resource.MustParse("2Gi")}
				s.AllocatedResourceStatuses = pending
			}).Obj(),
			want: build.Claim("data").Bound("pvc-1").Status(func(s *corev1.PersistentVolumeClaimStatus) {
				s.Conditions = []pvcCondition{condition("UsersOwn", "x"), condition(resizing, "a")}
				s.AllocatedResources = corev1.ResourceList{size: resource.MustParse("2Gi")}
				s.AllocatedResourceStatuses = pending
			}),
		},
		"an expansion is over": {
			home: build.Claim("data").Bound("pvc-1").
				Status(conditions(condition(resizing, "a"), condition("UsersOwn", "x"))),
			away: build.Claim("data").UID("first").Bound("x").Obj(),
			want: build.Claim("data").Bound("pvc-1").Status(conditions(condition("UsersOwn", "x"))),
		},
		"more than is about the size": {
			home: build.Claim("data").Bound("pvc-1"),
			away: build.Claim("data").Bound("x").Status(func(s *corev1.PersistentVolumeClaimStatus) {
				s.Capacity["example.com/much"] = resource.MustParse("1")
				s.AllocatedResources = corev1.ResourceList{"example.com/much": resource.MustParse("1")}
				s.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{size: "Banana"}
				s.Conditions = []pvcCondition{condition(resizing, "a"), condition(resizing, "b")}
			}).Obj(),
			want: build.Claim("data").Bound("pvc-1").Status(conditions(condition(resizing, "a"))),
		},
		"what a terminal would obey": {
			home: build.Claim("data").Bound("pvc-1"),
			away: build.Claim("data").Bound("x").Status(conditions(condition(resizing, "a\x1b[2J"))).Obj(),
			want: build.Claim("data").Bound("pvc-1").Status(conditions(condition(resizing, "a [2J"))),
		},
		"an endless message": {
			home: build.Claim("data").Bound("pvc-1"),
			away: build.Claim("data").Bound("x").
				Status(conditions(condition(resizing, strings.Repeat("é", 2000)))).Obj(),
			want: build.Claim("data").Bound("pvc-1").
				Status(conditions(condition(resizing, strings.Repeat("é", 510)+"..."))),
		},
		"another copy than the one that had the data": {
			home: build.Claim("data").Bound("pvc-1"), away: second, pv: pv,
			want: build.Claim("data").Bound("pvc-1").Status(conditions(lossAt(made))),
		},
		"a second loss": {
			home: build.Claim("data").Bound("pvc-1").Status(conditions(lossAt(made))), away: third, pv: pv,
			want: build.Claim("data").Bound("pvc-1").Status(conditions(lossAt(made.Add(time.Hour)))),
		},
	} {
		t.Run(name, func(t *testing.T) {
			home, away := test.home.Obj(), test.away.DeepCopy()
			for range 2 { // the second time nothing is left to do
				Feedback(home, away, test.pv)
				if diff := cmp.Diff(test.want.Obj(), home); diff != "" {
					t.Errorf("(-want,+got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(test.away, away); diff != "" {
				t.Errorf("the copy was changed (-before,+after):\n%s", diff)
			}
		})
	}
}

func TestRefusalsAreWrittenAndRead(t *testing.T) {
	text, err := refusedText(map[string]string{"b": "why", "a": `"so"`})
	if want := `{"a":"\"so\"","b":"why"}`; text != want || err != nil {
		t.Errorf("wrote %v, %v; want %s", text, err, want)
	}
	if text, err := refusedText(nil); text != nil || err != nil {
		t.Errorf("wrote %v, %v for nothing", text, err)
	}
	for text, want := range map[string]map[string]string{
		`{"a":"x"}`: {"a": "x"}, "": {}, "[]": {}, `{"a":1}`: {},
	} {
		got := Refusals(build.Claim("data").Annotation(v1beta1.AnnotationVolumeRefused, text).Obj())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", text, diff)
		}
	}
}

func TestTheVolumeOfAClaim(t *testing.T) {
	claim := build.Claim("data").UID("c1").Size("3Gi").Obj()
	at := handle{"provider-1", "shop-home", "data"}
	pv := volume(claim, "node-1", at, corev1.PersistentVolumeReclaimRetain)
	want := corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}, StorageClassName: "liqo",
		AccessModes: claim.Spec.AccessModes, VolumeMode: claim.Spec.VolumeMode, PersistentVolumeReclaimPolicy: "Retain",
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
			Driver: "storage.liqo.io", VolumeHandle: "provider-1/shop-home/data",
		}},
		ClaimRef: &corev1.ObjectReference{
			APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "shop", Name: "data", UID: "c1",
		},
		NodeAffinity: build.Volume("", "node-1").Spec.NodeAffinity,
	}
	if diff := cmp.Diff(want, pv.Spec); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	if got, ok := handleOf(pv); got != at || !ok {
		t.Errorf("its handle is read as %v, %v", got, ok)
	}
	foreign := pv.DeepCopy()
	foreign.Spec.CSI.Driver = "csi.example.com"
	broken := pv.DeepCopy()
	broken.Spec.CSI.VolumeHandle = "provider-1"
	for _, other := range []*corev1.PersistentVolume{foreign, broken, build.Volume("nfs", "")} {
		if got, ok := handleOf(other); ok {
			t.Errorf("%v was taken for ours: %v", other.Spec.PersistentVolumeSource, got)
		}
	}
}
