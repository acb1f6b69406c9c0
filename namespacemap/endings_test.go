package namespacemap_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
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
			err := provider.Client().List(ctx, &twins, client.HasLabels{v1beta1.LabelRemoteClusterID})
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
	w.delete(w.home, build.VirtualNode(leaves.Name, leaves.Name))
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
