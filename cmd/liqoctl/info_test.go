package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// busy is a cluster that borrows from two, lends to one and has namespaces in every state.
func busy(t *testing.T) *stage {
	t.Helper()
	good := build.VirtualNode("b", "b", "region", "eu")
	node := build.VirtualNodesNode(good)
	ready := build.Offloading("shop").Phase(v1beta1.PhaseReady).Obj()
	ready.Status = offloadedOn(v1beta1.PhaseReady, map[string]v1beta1.ClusterCondition{"b": twinReady})
	failed := build.Offloading("bank").Strategy(v1beta1.Remote).Obj()
	failed.Status = offloadedOn(v1beta1.PhaseAllFailed, map[string]v1beta1.ClusterCondition{"c": twinFailed})
	return newStage(t, good, node, build.VirtualNode("c", "c"), ready, failed, build.Offloading("new").Obj(),
		build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).
			Has("old", "old-a", v1beta1.MappingAccepted).Obj(),
		build.Map("c").Want("bank", "bank-a").Obj(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "liqo-tenant-z", Labels: map[string]string{
			v1beta1.LabelTenantNamespace: "true", v1beta1.LabelRemoteClusterID: "z",
		}}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "liqo-tenant-z", Name: "liqo-consumer"}},
	)
}

func TestInfo(t *testing.T) {
	tests := map[string][]string{
		"info.txt":       {"info"},
		"info.yaml":      {"info", "-o", "yaml"},
		"info-peer.txt":  {"info", "peer"},
		"info-peer.json": {"info", "peer", "c", "-o", "json"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := busy(t).run(args...)
			if code != exitDone || errOut != "" {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			golden(t, name, out)
		})
	}
	t.Run("a cluster with nothing is well", func(t *testing.T) {
		code, out, _ := newStage(t).run("info")
		if code != exitDone || !strings.Contains(out, "All is well.") || !strings.Contains(out, "Borrows from: none") {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
	t.Run("a selector that picks nothing is something to look at", func(t *testing.T) {
		idle := build.Offloading("shop").Obj()
		idle.Status = offloadedOn(v1beta1.PhaseNoClusterSelected, nil)
		_, out, _ := newStage(t, idle).run("info")
		if !strings.Contains(out, "namespace shop is NoClusterSelected: no virtual node matches its selector") {
			t.Errorf("got %q", out)
		}
	})
	t.Run("peers of a cluster with none", func(t *testing.T) {
		if _, out, _ := newStage(t).run("info", "peer"); out != "This cluster borrows from none.\n" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("a peer that is none", func(t *testing.T) {
		code, _, errOut := busy(t).run("info", "peer", "x")
		if code != exitFailed || !strings.Contains(errOut, `no peering with "x": this cluster borrows from b, c`) {
			t.Errorf("exit code %d: %s", code, errOut)
		}
	})
}
