package eviction

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// server is a fake API server that counts what it is asked for.
type server struct {
	client.WithWatch
	evicted []string
	lists   []string
	patches int
	// refuse is asked about every eviction, list and patch; an error is the answer.
	refuse func(what string) error
}

func (s *server) refusal(what string) error {
	if s.refuse == nil {
		return nil
	}
	return s.refuse(what)
}

// Evict evicts a pod of the fake API server.
func (s *server) Evict(ctx context.Context, eviction *policyv1.Eviction) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: eviction.Namespace, Name: eviction.Name}}
	return s.SubResource("eviction").Create(ctx, pod, eviction)
}

// forget starts counting anew.
func (s *server) forget() { s.evicted, s.lists, s.patches = nil, nil, 0 }

type nothingLeft struct{ accepted int }

// TryAccept accepts a given number of times.
func (n *nothingLeft) TryAccept() bool {
	n.accepted--
	return n.accepted >= 0
}

func newServer(t *testing.T, objects ...client.Object) *server {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, policyv1.AddToScheme, v1beta1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	s := &server{}
	s.WithWatch = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1beta1.NamespaceOffloading{}, &corev1.Pod{}).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string {
			return []string{o.(*corev1.Pod).Spec.NodeName}
		}).
		WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList,
				opts ...client.ListOption) error {
				var what string
				switch list.(type) {
				case *corev1.PodList:
					what = "pods"
				case *corev1.NodeList:
					what = "nodes"
				default:
					return c.List(ctx, list, opts...)
				}
				if err := s.refusal("list " + what); err != nil {
					return err
				}
				s.lists = append(s.lists, what)
				return c.List(ctx, list, opts...)
			},
			SubResourceCreate: func(ctx context.Context, c client.Client, sub string, o, body client.Object,
				opts ...client.SubResourceCreateOption) error {
				if err := s.refusal("evict " + o.GetName()); err != nil {
					return err
				}
				eviction, ok := body.(*policyv1.Eviction)
				if !ok || eviction.DeleteOptions == nil || eviction.DeleteOptions.Preconditions == nil ||
					string(*eviction.DeleteOptions.Preconditions.UID) != "uid-"+o.GetName() {
					t.Errorf("%s of %s is not of exactly the pod that was seen", sub, o.GetName())
				}
				s.evicted = append(s.evicted, o.GetName())
				return c.SubResource(sub).Create(ctx, o, body, opts...)
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
				opts ...client.SubResourcePatchOption) error {
				if err := s.refusal("patch " + o.GetName()); err != nil {
					return err
				}
				s.patches++
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	return s
}

// newReconciler returns a reconciler on a fake API server.
func newReconciler(t *testing.T, objects ...client.Object) (*Reconciler, *server) {
	t.Helper()
	s := newServer(t, objects...)
	return &Reconciler{
		Home: s, Live: s, Evictor: s, Pace: DefaultPace(), Limit: &nothingLeft{accepted: 1000},
		Clock: clocktesting.NewFakePassiveClock(morning), Events: events.NewFakeRecorder(100),
	}, s
}

// shop is namespace shop, which has twins on b and c, with the given policy and pods.
func shop(off *v1beta1.NamespaceOffloading, pods ...corev1.Pod) []client.Object {
	off.Status.ObservedGeneration, off.Generation = 1, 1
	objects := []client.Object{
		build.Namespace("shop").Label(v1beta1.LabelSchedulingEnabled, "true").Obj(), off,
		build.Map("b").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
		build.Map("c").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
	}
	for _, node := range cluster() {
		objects = append(objects, &node)
	}
	for _, pod := range pods {
		objects = append(objects, &pod)
	}
	return objects
}

// evicting returns an offloading that evicts.
func evicting(strategy v1beta1.PodOffloadingStrategy) *v1beta1.NamespaceOffloading {
	off := build.Offloading("shop").Strategy(strategy).Obj()
	off.Spec.PodEvictionStrategy = v1beta1.EvictOnPolicyChange
	return off
}

var request = reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: v1beta1.OffloadingName}}

// look reconciles once, which may not fail.
func look(t *testing.T, r *Reconciler) reconcile.Result {
	t.Helper()
	result, err := r.Reconcile(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// said returns the offloading and its condition.
func said(t *testing.T, s *server) (*v1beta1.NamespaceOffloading, metav1.Condition) {
	t.Helper()
	off := &v1beta1.NamespaceOffloading{}
	if err := s.Get(t.Context(), request.NamespacedName, off); err != nil {
		t.Fatal(err)
	}
	c := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionPodsPermitted)
	if c == nil {
		return off, metav1.Condition{}
	}
	return off, *c
}

// told returns what users were told since the last call.
func told(r *Reconciler) []string {
	var all []string
	for {
		select {
		case event := <-r.Events.(*events.FakeRecorder).Events:
			all = append(all, event)
		default:
			slices.Sort(all)
			return all
		}
	}
}

// tooMany is how the API server refuses for a budget.
func tooMany(cause string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: cause}}
	return err
}
