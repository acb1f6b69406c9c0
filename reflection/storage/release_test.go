package storage

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestDataGoByTheirReclaimPolicy(t *testing.T) {
	const deleted, retained = corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "data",
		errors.New("no role"))
	for name, test := range map[string]struct {
		reclaim corev1.PersistentVolumeReclaimPolicy
		phase   corev1.PersistentVolumePhase
		there   func(copied *corev1.PersistentVolumeClaim)
		refuse  func(call string, obj client.Object) error
		change  func(pv *corev1.PersistentVolume)
		want    []string // writes until nothing is left to do
		wantErr bool
	}{
		"released, Delete": {
			reclaim: deleted, phase: corev1.VolumeReleased, want: []string{"delete away data", "delete home pvc-c1"},
		},
		"released, Retain":    {reclaim: retained, phase: corev1.VolumeReleased},
		"bound still, Delete": {reclaim: deleted, phase: corev1.VolumeBound},
		"the copy is another claim's by now": {
			reclaim: deleted, phase: corev1.VolumeReleased, want: []string{"delete home pvc-c1"},
			there: func(c *corev1.PersistentVolumeClaim) { c.Annotations[v1beta1.AnnotationHomeUID] = "c2" },
		},
		"the copy is somebody else's by now": {
			reclaim: deleted, phase: corev1.VolumeReleased, want: []string{"delete home pvc-c1"},
			there: func(c *corev1.PersistentVolumeClaim) { c.Labels = nil },
		},
		"the twin has gone with its rights": {
			reclaim: deleted, phase: corev1.VolumeReleased, want: []string{"delete home pvc-c1"},
			refuse: func(_ string, obj client.Object) error {
				if _, is := obj.(*corev1.PersistentVolumeClaim); is {
					return forbidden
				}
				return nil
			},
		},
		"nobody knows whether the twin has gone": {
			reclaim: deleted, phase: corev1.VolumeReleased, wantErr: true,
			refuse: func(string, client.Object) error { return forbidden },
		},
		"a volume of somebody else with our label": {
			reclaim: deleted, phase: corev1.VolumeReleased,
			change: func(pv *corev1.PersistentVolume) { delete(pv.Annotations, v1beta1.AnnotationProvisionedBy) },
		},
		"a volume of another provider": {
			reclaim: deleted, phase: corev1.VolumeReleased,
			change: func(pv *corev1.PersistentVolume) { pv.Spec.CSI.VolumeHandle = "provider-2/shop-home/data" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			claim, pv := bound(t, test.reclaim, "first")
			pv.Status.Phase = test.phase
			copied := copyOfClaim(claim, "first")
			if test.there != nil {
				test.there(copied)
			}
			if test.change != nil {
				test.change(pv)
			}
			r := newRig(t, objects(pv), objects(copied))
			if test.refuse != nil {
				r.refuse = test.refuse
			}
			var err error
			for after := time.Duration(1); after > 0 && err == nil; {
				after, err = r.lookAtVolume(t.Context(), item{name: "pvc-c1"})
			}
			if diff := cmp.Diff(test.want, r.writes); diff != "" || (err != nil) != test.wantErr {
				t.Errorf("%v; writes (-want,+got):\n%s", err, diff)
			}
		})
	}
}

func TestAVolumeWaitsForThePodsThatUseItsData(t *testing.T) {
	claim, pv := bound(t, corev1.PersistentVolumeReclaimDelete, "first")
	pv.Status.Phase = corev1.VolumeReleased
	copied := copyOfClaim(claim, "first")
	copied.Finalizers = []string{"kubernetes.io/pvc-protection"}
	copied.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	r := newRig(t, objects(pv), objects(copied))
	after, err := r.lookAtVolume(t.Context(), item{name: "pvc-c1"})
	if after != soon || err != nil || len(r.writes) > 0 {
		t.Errorf("looked at again after %s, %v; writes %v", after, err, r.writes)
	}
}

func TestWhatIsKept(t *testing.T) {
	claim, pv := bound(t, corev1.PersistentVolumeReclaimDelete, "first")
	orphan := func(policy string) *corev1.PersistentVolumeClaim {
		out := copyOfClaim(claim, "first")
		out.Annotations[v1beta1.AnnotationReclaimPolicy] = policy
		return out
	}
	for name, test := range map[string]struct {
		home, there []client.Object
		change      func(r *rig)
		want        string
		wantErr     bool
	}{
		"its volume decides": {
			home: objects(pv), there: objects(orphan("Delete")), want: "volume pvc-c1 at home stands for its data",
		},
		"a volume that the cache has not seen": {
			home: objects(pv), there: objects(orphan("Delete")), want: "volume pvc-c1 at home stands for its data",
			change: func(r *rig) { _ = r.volumes.Replace(nil, "") },
		},
		"the claim has lost its volume": {
			home: objects(claim), there: objects(orphan("Delete")),
			want: "its claim is there still, and whoever deletes the volume at home does not delete data",
		},
		"another claim has the name by now": {
			home: objects(build.Claim("data").UID("c2").Obj()), there: objects(orphan("Delete")),
		},
		"there never was a volume": {there: objects(orphan(""))},
		"a deleted volume, Delete": {there: objects(orphan("Delete"))},
		"a volume deleted by hand": {there: objects(orphan("Retain")), want: "its reclaim policy was Retain"},
		"there is no copy":         {},
		"the twin leaves": {
			change: func(r *rig) { r.TwinGone("shop") }, there: objects(orphan("Retain")),
		},
		"the volumes are not known yet": {change: func(r *rig) { r.synced.Store(false) }, wantErr: true},
		"the provider does not answer": {wantErr: true, change: func(r *rig) {
			r.refuse = func(string, client.Object) error { return errors.New("cut") }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, test.home, test.there)
			if test.change != nil {
				test.change(r)
			}
			got, err := r.Kept("shop", "data")
			if got != test.want || (err != nil) != test.wantErr {
				t.Errorf("got %q, %v; want %q, an error: %v", got, err, test.want, test.wantErr)
			}
		})
	}
	r := newRig(t, nil, nil)
	r.synced.Store(false)
	const unknown = "the volumes at home are not known yet"
	settled, _ := bound(t, corev1.PersistentVolumeReclaimDelete, "first")
	for _, claim := range []*corev1.PersistentVolumeClaim{settled, data().Obj()} {
		if got := r.Stay(claim); got != unknown || r.queue.Len() > 0 {
			t.Errorf("before the volumes are known: %q, %d looked at", got, r.queue.Len())
		}
	}
	if got := r.Stay(data().Placed("node-1").Obj()); got != unknown || r.queue.Len() != 1 {
		t.Errorf("a claim that waits when its agent starts: %q, %d looked at: it would wait for ever", got,
			r.queue.Len())
	}
}

// TestItRunsByItself: from a claim that is told of to its volume, and from a released volume to nothing.
func TestItRunsByItself(t *testing.T) {
	claim := data().Placed("node-1").Obj()
	released := volume(build.Claim("old").UID("c0").Obj(), "node-1", handle{"provider-1", "shop-home", "old"},
		corev1.PersistentVolumeReclaimDelete)
	released.Status.Phase = corev1.VolumeReleased
	r := newRig(t, objects(claim, released), nil)
	r.synced.Store(false)
	told := make(chan string, 10)
	r.OnChange(func(namespace, name string) { told <- namespace + "/" + name })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Start(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	wanted := map[string]bool{"shop/old": true, "shop/data": true}
	for len(wanted) > 0 {
		r.Stay(claim) // as often as the claim is looked at
		select {
		case name := <-told:
			delete(wanted, name)
		case <-time.After(20 * time.Millisecond):
			if t.Context().Err() != nil {
				t.Fatalf("not told of: %v", wanted)
			}
		}
	}
	for r.volume(released.Name) != nil {
		<-time.After(20 * time.Millisecond)
	}
	if got := r.VolumeOf(data().Bound("pvc-c1").Obj()); got == nil {
		t.Error("the new volume is not known")
	}
}

func TestOptionsThatAreMissing(t *testing.T) {
	if _, err := New(Options{Origin: "home", Provider: "provider-1"}); err == nil {
		t.Error("no error without clients")
	}
}
