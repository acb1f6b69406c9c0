package schedplugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func class(name, provisioner string) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner}
}

// stored puts what there is of volumes into the scheduler's caches.
func (f *fixture) stored(objs ...any) {
	f.Helper()
	for _, obj := range objs {
		var err error
		switch obj := obj.(type) {
		case *corev1.PersistentVolumeClaim:
			err = f.factory.Core().V1().PersistentVolumeClaims().Informer().GetIndexer().Add(obj)
		case *corev1.PersistentVolume:
			err = f.factory.Core().V1().PersistentVolumes().Informer().GetIndexer().Add(obj)
		case *storagev1.StorageClass:
			err = f.factory.Storage().V1().StorageClasses().Informer().GetIndexer().Add(obj)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
}

func TestPodsStayWithTheirData(t *testing.T) {
	provider := virtual("provider-1", "eu")
	f := newFixture(t, namespace("shop"), namespace("mall"), provider)
	f.see(offload("shop", v1beta1.LocalAndRemote), offload("mall", v1beta1.Remote), build.Map("provider-1").
		Has("shop", "shop-home", v1beta1.MappingAccepted).Has("mall", "mall-home", v1beta1.MappingAccepted).Obj())
	f.stored(class("liqo", v1beta1.StorageProvisioner), class("disk", "csi.example.com"),
		build.Volume("nfs", ""), build.Volume("there", "provider-1"), build.Volume("beyond", "provider-2"),
		build.Claim("new").Obj(), build.Claim("disk").Class("disk").Obj(), build.Claim("nfs").Bound("nfs").Obj(),
		build.Claim("there").Bound("there").Obj(), build.Claim("beyond").Bound("beyond").Obj(),
		build.Claim("nfs").Namespace("mall").Bound("nfs").Obj())
	const stays = ", and the pod stays with its data"
	for name, test := range map[string]struct {
		pod            *build.PodBuilder
		ordinary, away string
	}{
		"a claim to be made there": {
			pod:      build.Pod("web").Claim("new"),
			ordinary: `claim "new" is of storage class "liqo", whose volumes are made on virtual nodes`,
		},
		"a claim of home": {
			pod:  build.Pod("web").Claim("disk"),
			away: `claim "disk" is of storage class "disk", whose volumes are at home`,
		},
		"a claim bound at home": {
			pod:  build.Pod("web").Claim("nfs"),
			away: `claim "nfs" is bound at home, to volume nfs` + stays,
		},
		"a claim bound there": {
			pod:      build.Pod("web").Claim("there"),
			ordinary: `the volume of claim "there" is on virtual node provider-1` + stays,
		},
		"a claim bound on another provider": {
			pod:      build.Pod("web").Claim("beyond"),
			ordinary: `the volume of claim "beyond" is on virtual node provider-2` + stays,
			away:     `the volume of claim "beyond" is on virtual node provider-2` + stays,
		},
		"a claim that does not exist is VolumeBinding's": {pod: build.Pod("web").Claim("missing")},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.try(test.pod.Namespace("shop").Obj())
			if got := a.on(build.Node("worker-1")); got != test.ordinary {
				t.Errorf("an ordinary node: %q, want %q", got, test.ordinary)
			}
			// A pod that stays at home meets the taint before it meets the policy.
			if got := a.on(provider); got != test.away && a.skip != (test.away != "") {
				t.Errorf("the virtual node: %q, want %q", got, test.away)
			}
		})
	}
	a := f.try(build.Pod("web").Namespace("mall").Claim("nfs").Obj())
	if want := `claim "nfs" is bound at home, to volume nfs` + stays; a.on(provider) != want {
		t.Errorf("a pod of a namespace with strategy Remote: %q, want %q", a.on(provider), want)
	}
}

func TestVolumesThatWake(t *testing.T) {
	f := newFixture(t, namespace("shop"))
	f.stored(build.Claim("data").Obj())
	pod := build.Pod("db").Namespace("shop").Claim("data").Obj()
	refused := build.Claim("data").Annotation(v1beta1.AnnotationVolumeRefused, `{"provider-1":"why"}`)
	volumeOf := func(namespace, claim string) *corev1.PersistentVolume {
		v := build.Volume("pv", "provider-1")
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: claim}
		return v
	}
	for name, test := range map[string]struct {
		hint          fwk.QueueingHintFn
		before, after any
		want          fwk.QueueingHint
		wantErr       bool
	}{
		"its claim comes":     {f.policies.afterClaim, nil, build.Claim("data").Obj(), fwk.Queue, false},
		"another claim comes": {f.policies.afterClaim, nil, build.Claim("logs").Obj(), fwk.QueueSkip, false},
		"one of another namespace comes": {
			f.policies.afterClaim, nil, build.Claim("data").Namespace("x").Obj(), fwk.QueueSkip, false,
		},
		"its claim is refused no longer": {
			f.policies.afterClaim, refused.Obj(), build.Claim("data").Obj(), fwk.Queue, false,
		},
		"its claim is bound": {
			f.policies.afterClaim, build.Claim("data").Obj(), build.Claim("data").Bound("pv").Obj(), fwk.Queue, false,
		},
		"a node is chosen for its claim": {
			f.policies.afterClaim, build.Claim("data").Obj(), build.Claim("data").Placed("provider-1").Obj(),
			fwk.QueueSkip, false,
		},
		"not a claim":                  {f.policies.afterClaim, nil, pod, fwk.Queue, true},
		"the volume of its claim":      {f.policies.afterVolume, nil, volumeOf("shop", "data"), fwk.Queue, false},
		"the volume of another claim":  {f.policies.afterVolume, nil, volumeOf("shop", "logs"), fwk.QueueSkip, false},
		"the volume of another shop's": {f.policies.afterVolume, nil, volumeOf("x", "data"), fwk.QueueSkip, false},
		"a volume of nobody":           {f.policies.afterVolume, nil, build.Volume("pv", ""), fwk.QueueSkip, false},
		"not a volume":                 {f.policies.afterVolume, nil, pod, fwk.Queue, true},
		"its class":                    {f.policies.afterClass, nil, class("liqo", "x"), fwk.Queue, false},
		"another class":                {f.policies.afterClass, nil, class("disk", "x"), fwk.QueueSkip, false},
		"not a class":                  {f.policies.afterClass, nil, pod, fwk.Queue, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.hint(f.policies.logger, pod, test.before, test.after)
			if got != test.want || (err != nil) != test.wantErr {
				t.Errorf("got %s, %v; want %s, an error: %v", got, err, test.want, test.wantErr)
			}
		})
	}
}
