package storage

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// rig is Volumes between two clusters that the test fills, with a view of home's volumes that the test brings up to
// date.
type rig struct {
	*testing.T
	*Volumes
	home, away client.WithWatch
	events     *record.FakeRecorder
	offered    map[string][]v1beta1.StorageType
	mu         sync.Mutex
	writes     []string                                   // to either cluster
	refuse     func(call string, obj client.Object) error // what the provider answers instead
}

// newRig starts with a twin of namespace shop, a default class at the provider, and the class liqo at home.
func newRig(t *testing.T, home, away []client.Object) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, storagev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{
		T: t, events: record.NewFakeRecorder(100), offered: map[string][]v1beta1.StorageType{"node-1": nil},
		refuse: func(string, client.Object) error { return nil },
	}
	cluster := func(name string, objs []client.Object) client.WithWatch {
		return plain{interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(objs...).
			WithStatusSubresource(&corev1.PersistentVolumeClaim{}, &corev1.PersistentVolume{}).Build(),
			r.recording(name))}
	}
	r.home = cluster("home", append(home, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "liqo"}, Provisioner: v1beta1.StorageProvisioner,
	}, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "liqo-retain"}, Provisioner: v1beta1.StorageProvisioner,
		ReclaimPolicy: ptr.To(corev1.PersistentVolumeReclaimRetain),
	}))
	r.away = cluster("away", append(away, class("standard", true)))
	var err error
	r.Volumes, err = New(Options{
		Origin: "home", Provider: "provider-1", Home: r.home, Away: r.away, Events: r.events,
		Offered: func(node string) ([]v1beta1.StorageType, bool) {
			classes, ok := r.offered[node]
			return classes, ok
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.TwinReady("shop", "shop-home")
	r.synced.Store(true)
	r.catchUp()
	return r
}

// plain is a fake client that admits that it does not stream lists.
type plain struct{ client.WithWatch }

// IsWatchListSemanticsUnSupported is asked by client-go.
func (plain) IsWatchListSemanticsUnSupported() bool { return true }

func class(name string, isDefault bool) *storagev1.StorageClass {
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if isDefault {
		c.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	}
	return c
}

func (r *rig) recording(cluster string) interceptor.Funcs {
	note := func(call string, obj client.Object) error {
		if cluster == "away" {
			if err := r.refuse(call, obj); err != nil {
				return err
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if call != "get" && call != "rehearse" {
			r.writes = append(r.writes, call+" "+cluster+" "+obj.GetName())
		}
		return nil
	}
	return interceptor.Funcs{
		Get: func(
			ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption,
		) error {
			if err := note("get", o); err != nil {
				return err
			}
			return c.Get(ctx, k, o, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			call := "create"
			if len((&client.CreateOptions{}).ApplyOptions(opts).DryRun) > 0 {
				call = "rehearse"
			}
			if err := note(call, o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(
			ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption,
		) error {
			if err := note("patch", o); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(
			ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
			opts ...client.SubResourcePatchOption,
		) error {
			if err := note("patch "+sub, o); err != nil {
				return err
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := note("delete", o); err != nil {
				return err
			}
			p := (&client.DeleteOptions{}).ApplyOptions(opts).Preconditions
			if p == nil || *p.UID != o.GetUID() || *p.ResourceVersion != o.GetResourceVersion() {
				r.Errorf("delete of %s without preconditions", o.GetName())
			}
			return c.Delete(ctx, o)
		},
	}
}

// catchUp makes the view of home's volumes true.
func (r *rig) catchUp() {
	r.Helper()
	var list corev1.PersistentVolumeList
	if err := r.home.List(r.Context(), &list); err != nil {
		r.Fatal(err)
	}
	var objs []any
	for i := range list.Items {
		objs = append(objs, &list.Items[i])
	}
	if err := r.volumes.Replace(objs, ""); err != nil {
		r.Fatal(err)
	}
}

// look has a claim looked at, with a view that is up to date.
func (r *rig) look(claim string) (time.Duration, error) {
	r.Helper()
	r.catchUp()
	r.writes = nil
	return r.lookAtClaim(r.Context(), item{"shop", claim})
}

// settle is look that must succeed and leave nothing to wait for.
func (r *rig) settle(claim string) {
	r.Helper()
	if after, err := r.look(claim); after != 0 || err != nil {
		r.Fatalf("look at %s: %s, %v", claim, after, err)
	}
	r.catchUp()
}

// claim reads a claim at home, volume a volume; nil when there is none.
func (r *rig) claim(name string) *corev1.PersistentVolumeClaim {
	r.Helper()
	return read(r, r.home, &corev1.PersistentVolumeClaim{}, client.ObjectKey{Namespace: "shop", Name: name})
}

func (r *rig) volume(name string) *corev1.PersistentVolume {
	r.Helper()
	return read(r, r.home, &corev1.PersistentVolume{}, client.ObjectKey{Name: name})
}

// copied reads a claim in the twin.
func (r *rig) copied(name string) *corev1.PersistentVolumeClaim {
	r.Helper()
	return read(r, r.away, &corev1.PersistentVolumeClaim{}, client.ObjectKey{Namespace: "shop-home", Name: name})
}

func read[T client.Object](r *rig, c client.Client, obj T, key client.ObjectKey) T {
	r.Helper()
	if err := c.Get(r.Context(), key, obj); err != nil {
		if client.IgnoreNotFound(err) != nil {
			r.Fatal(err)
		}
		var none T
		return none
	}
	return obj
}

// told returns the events since the last call, in order.
func (r *rig) told() []string {
	var out []string
	for {
		select {
		case event := <-r.events.Events:
			out = append(out, event)
		default:
			slices.Sort(out)
			return out
		}
	}
}

// copyOfClaim is the copy of a claim in the twin.
func copyOfClaim(claim *corev1.PersistentVolumeClaim, uid string) *corev1.PersistentVolumeClaim {
	out := claim.DeepCopy()
	out.ObjectMeta = metav1.ObjectMeta{
		Namespace: "shop-home", Name: claim.Name, UID: types.UID(uid),
		Labels:      map[string]string{v1beta1.LabelOrigin: "home"},
		Annotations: map[string]string{v1beta1.AnnotationHomeUID: string(claim.UID)},
	}
	return out
}
