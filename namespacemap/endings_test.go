package namespacemap_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// killed ends everything while namespaces are being offloaded, and again while they are being un-offloaded.
func (w *world) killed() {
	const many = 20
	name := func(i int) string { return fmt.Sprintf("many-%02d", i) }
	for i := range many {
		w.create(w.home, build.Namespace(name(i)).Obj(), build.Offloading(name(i)).Obj())
		if i%10 == 5 {
			w.stop()
			w.start()
		}
	}
	for i := range many {
		w.phase(name(i), v1beta1.PhaseReady)
	}
	for i := range many {
		w.delete(w.home, build.Offloading(name(i)).Obj())
		if i%10 == 5 {
			w.stop()
			w.start()
		}
	}
	for i := range many {
		w.gone(w.home, name(i), v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
	}
	for _, provider := range w.providers {
		var twins corev1.NamespaceList
		w.eventually("no orphan on "+provider.Name, func(ctx context.Context) bool {
			err := provider.Client().List(ctx, &twins, client.MatchingLabels{v1beta1.LabelRemoteClusterID: w.id})
			return err == nil && len(twins.Items) == 1 // the tenant namespace
		})
	}
	for i := range many {
		w.delete(w.home, build.Namespace(name(i)).Obj())
	}
}

func (w *world) lastVirtualNode() {
	w.offload(w.shop)
	leaves, stays := w.providers[0], w.providers[1]
	uid := read(w, leaves, "", w.twin, &corev1.Namespace{}).UID
	data := volumeOn(leaves.Name, w.shop)
	w.create(w.home, data)
	w.delete(w.home, build.VirtualNode(leaves.Name, leaves.Name))
	w.eventually("a condition that names the claim", func(ctx context.Context) bool {
		node := &v1beta1.VirtualNode{}
		key := client.ObjectKeyFromObject(build.VirtualNode(leaves.Name, leaves.Name))
		return w.home.Client().Get(ctx, key, node) == nil && slices.ContainsFunc(node.Status.Conditions,
			func(c v1beta1.VirtualNodeCondition) bool {
				return c.Status == v1beta1.StatusDraining && strings.Contains(c.Message, w.shop+"/data")
			})
	})
	if twin := read(w, leaves, "", w.twin, &corev1.Namespace{}); twin.UID != uid || !twin.DeletionTimestamp.IsZero() {
		w.t.Error("the twin went with the volume in it")
	}
	w.delete(w.home, data)
	w.gone(leaves, "", w.twin, &corev1.Namespace{})
	tenant := v1beta1.TenantNamespace(leaves.Name)
	w.gone(w.home, tenant, leaves.Name, &v1beta1.NamespaceMap{})
	w.gone(w.home, tenant, leaves.Name, &v1beta1.VirtualNode{})
	off := w.phase(w.shop, v1beta1.PhaseReady)
	if _, listed := off.Status.RemoteNamespacesConditions[stays.Name]; !listed {
		w.t.Errorf("clusters %v", off.Status.RemoteNamespacesConditions)
	}
	w.clean(w.shop)
}

// volumeOn is a volume that is on a virtual node, and claimed by data in a namespace.
func volumeOn(node, claimant string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "data-of-" + claimant},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: "example.com", VolumeHandle: "data"},
			},
			ClaimRef: &corev1.ObjectReference{Namespace: claimant, Name: "data"},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: build.Selector(corev1.LabelHostname, node).NodeSelectorTerms,
			}},
		},
	}
}
