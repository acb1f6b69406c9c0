package namespacemap

import (
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// lostOnTheWay answers as a load balancer does that has no API server behind it.
func lostOnTheWay(client.ObjectKey, client.Object) error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, "get", schema.GroupResource{Resource: "namespaces"},
		"shop-a", "404 page not found", 0, true)
}

// Pods fail with a twin that is gone, so nobody but an API server may say that it is.
func TestATwinIsNotGoneBecauseItsAPIServerIsNotFound(t *testing.T) {
	a := newAgent(t, []client.Object{
		build.Namespace("shop").UID("uid-1").Obj(),
		build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
	}, twinOf("uid-1").Obj())
	a.away.read = lostOnTheWay
	if _, err := a.visit(t, "shop"); err == nil {
		t.Error("that nothing was found is taken for an answer")
	}
	if entry := a.entry(t); entry.Phase != v1beta1.MappingAccepted {
		t.Errorf("entry %+v", entry)
	}
	if len(a.heard) > 0 || len(a.away.writes) > 0 {
		t.Errorf("heard %v, writes %v", a.heard, a.away.writes)
	}
}

func TestATwinThatLeavesIsNotGoneBecauseItsAPIServerIsNotFound(t *testing.T) {
	a := newAgent(t, leaveShop(), twinOf("uid-1").Obj())
	a.away.read = lostOnTheWay
	if _, err := a.visit(t, "shop"); err == nil {
		t.Error("that nothing was found is taken for an answer")
	}
	entry := a.entry(t)
	if entry.Phase != v1beta1.MappingTerminating || entry.Reason != v1beta1.ReasonClusterUnreachable {
		t.Errorf("entry %+v", entry)
	}
	a.away.read = nil
	get(t, a.away, "", "shop-a", &corev1.Namespace{})
}

// What a NamespaceOffloading says protects its twins, also while it cannot be read.
func TestATwinStaysWhileHomeIsNotFound(t *testing.T) {
	a := newAgent(t, leaveShop(), twinOf("uid-1").Obj())
	a.home.read = func(key client.ObjectKey, object client.Object) error {
		if _, ok := object.(*v1beta1.NamespaceOffloading); ok {
			return lostOnTheWay(key, object)
		}
		return nil
	}
	if _, err := a.visit(t, "shop"); err == nil {
		t.Error("that nothing was found is taken for an answer")
	}
	get(t, a.away, "", "shop-a", &corev1.Namespace{})
}
