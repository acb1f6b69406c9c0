package provider

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// What is told of a VirtualNode is told when it is written, and once, however often a write has to be tried.
func TestAChangeOfAVirtualNodeIsToldOnce(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1beta1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	vn := build.VirtualNode("vn-1", provider)
	vn.Spec.CreateNode = ptr.To(false)
	answers := []error{
		apierrors.NewConflict(schema.GroupResource{Resource: "virtualnodes"}, "vn-1", errors.New("it changed")),
		apierrors.NewInternalError(errors.New("etcd is gone")),
	}
	c := ctrlfake.NewClientBuilder().WithScheme(scheme).WithObjects(vn).WithStatusSubresource(vn).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string,
			o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if len(answers) > 0 {
				answer := answers[0]
				answers = answers[1:]
				return answer
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		}}).Build()
	pods := NewPods(PodsOptions{})
	defer pods.queue.ShutDown()
	recorder := events.NewFakeRecorder(10)
	n := &Nodes{
		Client: c, Home: fake.NewClientset(), Provider: provider, Pods: pods, Recorder: recorder,
		Clock: clocktesting.NewFakeClock(noon),
	}
	var failed []bool
	for range 4 {
		_, err := n.Reconcile(t.Context(), reconcile.Request{NamespacedName: n.key("vn-1")})
		failed = append(failed, err != nil)
	}
	if diff := cmp.Diff([]bool{false, true, false, false}, failed); diff != "" {
		t.Errorf("failed (-want,+got):\n%s", diff)
	}
	close(recorder.Events)
	var told []string
	for event := range recorder.Events {
		told = append(told, event)
	}
	if diff := cmp.Diff([]string{"Normal NodeNone Node vn-1 is now None"}, told); diff != "" {
		t.Errorf("told (-want,+got):\n%s", diff)
	}
}
