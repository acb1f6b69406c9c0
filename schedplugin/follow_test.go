package schedplugin

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestWhatTheSchedulerWatchesIsFollowed(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	if err := follow(f.factory, f.policies, f.offloading.proofs); err != nil {
		t.Fatal(err)
	}
	f.factory.Start(ctx.Done())
	f.factory.WaitForCacheSync(ctx.Done())
	core := f.client.CoreV1()
	eventually := func(what string, ok func() bool) {
		t.Helper()
		if !cache.WaitForCacheSync(ctx.Done(), ok) {
			t.Fatalf("never %s", what)
		}
	}

	bare := virtual("provider-1", "eu")
	bare.Spec.Taints = nil
	if _, err := core.Nodes().Create(ctx, bare, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("noticed a node", f.policies.anyBare)
	if _, err := core.Nodes().Update(ctx, virtual("provider-1", "eu"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("noticed a node's taint", func() bool { return !f.policies.anyBare() })
	if err := core.Nodes().Delete(ctx, "provider-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("noticed a node's end", func() bool {
		f.policies.mu.RLock()
		defer f.policies.mu.RUnlock()
		return len(f.policies.virtual) == 0
	})

	f.see(build.Pod("web").Namespace("shop").Obj())
	if _, err := core.Namespaces().Create(ctx, announced("shop"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.Namespaces().Update(ctx, namespace("shop"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("woke the pod of a namespace that is not announced any more", func() bool {
		return f.woken.take() == "shop/web"
	})
	if err := f.offloading.proofs.confirm(ctx, version("shop", 5), identity{}); err != nil {
		t.Fatal(err)
	}
	if err := core.Namespaces().Delete(ctx, "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("forgot a namespace", func() bool {
		f.offloading.proofs.mu.Lock()
		defer f.offloading.proofs.mu.Unlock()
		return len(f.offloading.proofs.spaces) == 0
	})
}

func TestDeletionsThatWereMissedAreUnderstood(t *testing.T) {
	node := build.Node("provider-1")
	got := last(cache.DeletedFinalStateUnknown{Key: "provider-1", Obj: node})
	if got != any(node) {
		t.Errorf("got %v, want the node", got)
	}
	on(got, func(ns *corev1.Namespace) { t.Errorf("a node was taken for namespace %s", ns.Name) })
	on(any(namespace("shop")), func(n *v1beta1.NamespaceMap) { t.Errorf("a namespace was taken for map %s", n.Name) })
}
