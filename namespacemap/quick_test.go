package namespacemap

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestQuick(t *testing.T) {
	stamped := func() *v1beta1.NamespaceOffloading {
		off := build.Offloading("shop").Obj()
		off.Annotations = map[string]string{v1beta1.AnnotationControlledBy: "somebody's tool"}
		return off
	}
	tests := map[string]struct {
		namespace *build.NamespaceBuilder
		off       *v1beta1.NamespaceOffloading
		wantThere bool
		wantWrite string
	}{
		"labelled": {
			namespace: build.Namespace("shop").Label(v1beta1.LabelEnabled, "true"),
			wantThere: true, wantWrite: "create offloading",
		},
		"labelled and done": {
			namespace: build.Namespace("shop").Label(v1beta1.LabelEnabled, "true"), off: stamped(), wantThere: true,
		},
		"labelled, but the user has made one": {
			namespace: build.Namespace("shop").Label(v1beta1.LabelEnabled, "true"),
			off:       build.Offloading("shop").Obj(), wantThere: true,
		},
		"not labelled":     {namespace: build.Namespace("shop")},
		"yes is not true":  {namespace: build.Namespace("shop").Label(v1beta1.LabelEnabled, "yes")},
		"True is not true": {namespace: build.Namespace("shop").Label(v1beta1.LabelEnabled, "True")},
		"label gone":       {namespace: build.Namespace("shop"), off: stamped(), wantWrite: "delete offloading"},
		"label changed": {
			namespace: build.Namespace("shop").Label(v1beta1.LabelEnabled, "false"), off: stamped(),
			wantWrite: "delete offloading",
		},
		"not labelled, and the user's own": {
			namespace: build.Namespace("shop"), off: build.Offloading("shop").Obj(), wantThere: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{tc.namespace.Obj()}
			if tc.off != nil {
				objects = append(objects, tc.off)
			}
			home := newServer(t, objects...)
			request := reconcile.Request{}
			request.Name = "shop"
			if _, err := (&Quick{Home: home}).Reconcile(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			off := &v1beta1.NamespaceOffloading{}
			err := home.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "offloading"}, off)
			if there := err == nil; there != tc.wantThere {
				t.Errorf("offloading there: %v, want %v", there, tc.wantThere)
			}
			if tc.wantWrite != "" && off.Name != "" && off.Annotations[v1beta1.AnnotationControlledBy] == "" {
				t.Error("made without stamp: it would never go with the label")
			}
			if got := strings.Join(home.writes, ", "); got != tc.wantWrite {
				t.Errorf("writes %q, want %q", got, tc.wantWrite)
			}
		})
	}
}

func TestQuickLeavesTheSystemAlone(t *testing.T) {
	for _, name := range []string{"kube-system", "default", "liqo", "liqo-tenant-b"} {
		home := newServer(t, build.Namespace(name).Label(v1beta1.LabelEnabled, "true").Obj())
		request := reconcile.Request{}
		request.Name = name
		if _, err := (&Quick{Home: home}).Reconcile(t.Context(), request); err != nil || len(home.writes) > 0 {
			t.Errorf("%s: error %v, writes %v", name, err, home.writes)
		}
	}
}

func TestQuickToleratesANamespaceOnItsWayOut(t *testing.T) {
	home := newServer(t, build.Namespace("shop").Label(v1beta1.LabelEnabled, "true").Obj())
	home.before = func(string, client.Object) error { return terminatingNamespace("shop") }
	request := reconcile.Request{}
	request.Name = "shop"
	if _, err := (&Quick{Home: home}).Reconcile(t.Context(), request); err != nil {
		t.Errorf("error %v", err)
	}
}

// terminatingNamespace is what an API server answers to a create in a namespace that is being deleted.
func terminatingNamespace(name string) error {
	err := apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", errors.New("being terminated"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: corev1.NamespaceTerminatingCause, Field: "metadata.namespace", Message: name,
	}}
	return err
}

func TestNamespaceLost(t *testing.T) {
	tests := map[string]struct {
		err  error
		want bool
	}{
		"being deleted":         {terminatingNamespace("shop"), true},
		"gone":                  {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"), true},
		"another thing is gone": {apierrors.NewNotFound(schema.GroupResource{Resource: "clusterroles"}, "x"), false},
		"forbidden": {apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "x",
			errors.New("no")), false},
		"no answer": {errors.New("timeout"), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			// The API server calls the kind what it is of: "namespaces".
			if got := namespaceLost(tc.err); got != tc.want {
				t.Errorf("namespaceLost(%v) = %v", tc.err, got)
			}
		})
	}
}

func TestQuickSaysWhyANamespaceIsNotOffloaded(t *testing.T) {
	h := newServer(t, build.Namespace("shop").Label(v1beta1.LabelEnabled, "true").Obj())
	refusal := errors.New("the quota is used up")
	h.before = func(string, client.Object) error { return refusal }
	recorder := events.NewFakeRecorder(10)
	q := &Quick{Home: h, Events: recorder}
	request := reconcile.Request{NamespacedName: client.ObjectKey{Name: "shop"}}
	if _, err := q.Reconcile(t.Context(), request); !errors.Is(err, refusal) {
		t.Errorf("error %v, so no retry", err)
	}
	want := "Warning OffloadingRefused create offloading of shop: the quota is used up"
	if got := <-recorder.Events; got != want {
		t.Errorf("event %q, want %q", got, want)
	}
	h.before = nil
	if _, err := q.Reconcile(t.Context(), request); err != nil || len(recorder.Events) > 0 {
		t.Errorf("error %v, %d events", err, len(recorder.Events))
	}
}
