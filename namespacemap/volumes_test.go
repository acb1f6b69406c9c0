package namespacemap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// volume returns a claimed volume that is pinned to a node.
func volume(name, claim, node string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
			NodeSelectorTerms: build.Selector(corev1.LabelHostname, node).NodeSelectorTerms,
		}}},
	}
	if namespace, name, ok := strings.Cut(claim, "/"); ok {
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: name}
	}
	return v
}

func TestPinned(t *testing.T) {
	byName := volume("v", "", "")
	byName.Spec.NodeAffinity.Required.NodeSelectorTerms = []corev1.NodeSelectorTerm{{
		MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"b-1"}}},
	}}
	elsewhere := volume("v", "", "b-1")
	elsewhere.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Operator = "NotIn"
	zone := volume("v", "", "b-1")
	zone.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Key = corev1.LabelTopologyZone
	tests := map[string]struct {
		volume *corev1.PersistentVolume
		want   bool
	}{
		"by the node's host name": {volume("v", "", "b-1"), true},
		"by the node's name":      {byName, true},
		"to another node":         {volume("v", "", "b-2"), false},
		"anywhere but there":      {elsewhere, false},
		"to a zone":               {zone, false},
		"to nothing":              {&corev1.PersistentVolume{}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := pinned(tc.volume, "b-1"); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// leavingProvider is namespace shop with ready twins on b and c, b's only virtual node being deleted.
func leavingProvider(t *testing.T, more ...client.Object) *homeSide {
	t.Helper()
	objects := shopWorld(build.Offloading("shop"), more...)
	node := build.VirtualNode("b-1", "b", "region", "north")
	node.Finalizers = []string{v1beta1.FinalizerVirtualNode}
	objects[2] = node
	h := newHome(t, objects...)
	h.mustOffload(t, "shop")
	for _, id := range []string{"b", "c"} {
		answer(t, h, id, "shop", accepted("shop-a"))
	}
	h.mustOffload(t, "shop")
	h.deleteNode(t, "b-1")
	return h
}

func (h *homeSide) kubelet(t *testing.T, node string) v1beta1.VirtualNodeCondition {
	t.Helper()
	for _, c := range get(t, h, tenantB, node, &v1beta1.VirtualNode{}).Status.Conditions {
		if c.Type == v1beta1.VirtualKubeletCondition {
			return c
		}
	}
	return v1beta1.VirtualNodeCondition{}
}

func TestATwinStaysWhileAVolumeIsOnTheLeavingVirtualNode(t *testing.T) {
	h := leavingProvider(t, volume("pv-1", "shop/data", "b-1"), volume("pv-2", "bank/data", "c-1"),
		volume("pv-3", "", "b-1"))
	h.mustOffload(t, "shop") // before anybody has looked at volumes
	h.mustProvide(t)
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Fatalf("the twin that holds a volume is asked for as %q", got)
	}
	want := "waiting for volumes on this virtual node that would be lost, 1 left: delete the claims shop/data, " +
		"or accept the loss by annotating the VirtualNode with offloading.liqo.io/force-removal=true"
	got := h.kubelet(t, "b-1")
	if diff := cmp.Diff(want, got.Message); diff != "" || got.Status != v1beta1.StatusDraining {
		t.Errorf("%s (-want,+got):\n%s", got.Status, diff)
	}
	if result, err := h.provider(t, "b"); err != nil || result.RequeueAfter != refreshWait {
		t.Errorf("it looks again: %+v, %v", result, err)
	}

	// Nothing new goes there.
	for _, o := range []client.Object{build.Namespace("bank").Obj(), build.Offloading("bank").Obj()} {
		if err := h.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	h.mustOffload(t, "bank")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["bank"]; got != "" {
		t.Errorf("a new twin %q on a provider that leaves", got)
	}

	if err := h.Delete(t.Context(), volume("pv-1", "", "")); err != nil {
		t.Fatal(err)
	}
	h.mustProvide(t)
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "" {
		t.Errorf("the twin without volumes is still asked for as %q", got)
	}
	got = h.kubelet(t, "b-1")
	if got.Status != v1beta1.StatusDeleting || !strings.Contains(got.Message, "twins of 1") {
		t.Errorf("condition %+v", got)
	}

	// From here on there is no way back: the twin may be half gone.
	if err := h.Create(t.Context(), volume("pv-9", "shop/late", "b-1")); err != nil {
		t.Fatal(err)
	}
	h.mustProvide(t)
	if got := h.kubelet(t, "b-1"); got.Status != v1beta1.StatusDeleting {
		t.Errorf("condition %+v", got)
	}
}

func TestForceDoesNotWaitForVolumes(t *testing.T) {
	h := leavingProvider(t, volume("pv-1", "shop/data", "b-1"))
	h.mustProvide(t)
	node := get(t, h, tenantB, "b-1", &v1beta1.VirtualNode{})
	metav1.SetMetaDataAnnotation(&node.ObjectMeta, v1beta1.AnnotationForceRemoval, "true")
	if err := h.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	h.mustProvide(t)
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "" {
		t.Errorf("the twin is still asked for as %q", got)
	}
	answer(t, h, "b", "shop", nil)
	h.mustProvide(t)
	missing(t, h, tenantB, "b-1", &v1beta1.VirtualNode{})
}

func TestVolumesThatCannotBeReadKeepTheTwin(t *testing.T) {
	h := leavingProvider(t)
	h.maps.Live = unreadable{h}
	if _, err := h.provider(t, "b"); err == nil {
		t.Error("no error, so no retry")
	}
	if got := h.kubelet(t, "b-1"); got.Status != v1beta1.StatusDraining || !strings.Contains(got.Message, "down") {
		t.Errorf("condition %+v", got)
	}
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("the twin is asked for as %q", got)
	}
}

func TestADeselectedTwinGoesThoughItsVirtualNodeIsHeld(t *testing.T) {
	h := leavingProvider(t, volume("pv-1", "shop/data", "b-1"))
	off := h.offloading(t, "shop")
	off.Spec.ClusterSelector = build.Selector("region", "south")
	if err := h.Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "" {
		t.Errorf("the twin is asked for as %q", got)
	}
}

func TestManyVolumesAreNotAllNamed(t *testing.T) {
	var volumes []client.Object
	for i := range 30 {
		volumes = append(volumes, volume(fmt.Sprint("pv-", i), fmt.Sprintf("shop/data-%02d", i), "b-1"))
	}
	h := leavingProvider(t, volumes...)
	h.mustProvide(t)
	if got := h.kubelet(t, "b-1").Message; !strings.Contains(got, "30 left") || !strings.Contains(got,
		"shop/data-09, and 20 more") {
		t.Errorf("message %q", got)
	}
}

// unreadable is an API server that does not tell of volumes.
type unreadable struct{ *homeSide }

func (u unreadable) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, ok := list.(*corev1.PersistentVolumeList); ok {
		return errors.New("down")
	}
	return u.server.List(ctx, list, opts...)
}
