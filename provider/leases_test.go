package provider

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
)

// noon is when the lease is renewed by our clock.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func leaseAt(renewed time.Time) *coordinationv1.Lease {
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: "vn-1", Namespace: corev1.NamespaceNodeLease, ResourceVersion: "7",
	}}
	if !renewed.IsZero() {
		l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(renewed))
	}
	return l
}

func TestARenewedLease(t *testing.T) {
	for name, tc := range map[string]struct {
		had  *coordinationv1.Lease
		want time.Time
	}{
		"the first one":              {nil, noon},
		"one that was never renewed": {leaseAt(time.Time{}), noon},
		"one of a while ago":         {leaseAt(noon.Add(-time.Minute)), noon},
		"one of this moment":         {leaseAt(noon), noon.Add(time.Millisecond)},
		"one whose writer has a clock ahead of ours": {
			leaseAt(noon.Add(time.Hour)), noon.Add(time.Hour + time.Millisecond),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := renewed(tc.had, "vn-1", "uid-1", noon)
			if !got.Spec.RenewTime.Time.Equal(tc.want) {
				t.Errorf("renewed at %v, want %v", got.Spec.RenewTime, tc.want)
			}
			owner := []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "vn-1", UID: "uid-1"}}
			if diff := cmp.Diff(owner, got.OwnerReferences); diff != "" {
				t.Errorf("owner (-want,+got):\n%s", diff)
			}
			if *got.Spec.HolderIdentity != "vn-1" || *got.Spec.LeaseDurationSeconds != 40 ||
				got.Namespace != "kube-node-lease" {
				t.Errorf("got %+v", got)
			}
			if tc.had != nil && got.ResourceVersion != "7" {
				t.Error("it would replace a lease that nobody has seen")
			}
		})
	}
}

// newKeeper returns a keeper before a fake that refuses writes to what the writer has not seen, as API servers do.
func newKeeper(t *testing.T, had ...runtime.Object) (*keeper, *fake.Clientset, *clocktesting.FakeClock) {
	t.Helper()
	set, clock := fake.NewClientset(had...), clocktesting.NewFakeClock(noon)
	return &keeper{
		api: set.CoordinationV1().Leases(corev1.NamespaceNodeLease), clock: clock, name: "vn-1", node: "uid-1",
	}, set, clock
}

func requests(set *fake.Clientset) []string {
	var verbs []string
	for _, a := range set.Actions() {
		verbs = append(verbs, a.GetVerb())
	}
	set.ClearActions()
	return verbs
}

func TestALeaseCostsOneRequest(t *testing.T) {
	k, set, clock := newKeeper(t)
	for i, want := range [][]string{{"get", "create"}, {"update"}, {"update"}} {
		if err := k.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, requests(set)); diff != "" {
			t.Errorf("renewal %d (-want,+got):\n%s", i, diff)
		}
		clock.Step(leaseRenewal)
	}
}

// Another replica wrote in between, with a clock ahead of ours: what we knew is not written again.
func TestALeaseThatSomebodyElseRenewedIsReadAgain(t *testing.T) {
	k, set, _ := newKeeper(t)
	if err := k.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	theirs := noon.Add(time.Hour)
	fail := true
	set.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		if !fail {
			return false, nil, nil
		}
		fail = false
		gr := coordinationv1.Resource("leases")
		lease := leaseAt(theirs)
		lease.ResourceVersion = ""
		if err := set.Tracker().Update(coordinationv1.SchemeGroupVersion.WithResource("leases"), lease,
			corev1.NamespaceNodeLease); err != nil {
			t.Error(err)
		}
		return true, nil, apierrors.NewConflict(gr, "vn-1", errors.New("it changed"))
	})
	if err := k.renew(t.Context()); !apierrors.IsConflict(err) {
		t.Fatalf("error %v", err)
	}
	if err := k.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := k.api.Get(t.Context(), "vn-1", metav1.GetOptions{})
	if err != nil || !got.Spec.RenewTime.After(theirs) {
		t.Errorf("renewed at %v, after %v: %v", got.Spec.RenewTime, theirs, err)
	}
}

func TestALeaseIsTriedAgainSoon(t *testing.T) {
	k, set, clock := newKeeper(t)
	set.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewInternalError(errors.New("etcd is gone"))
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.run(ctx)
	}()
	for i := range 3 {
		within(t, "it waits", func() bool { return clock.HasWaiters() && len(set.Actions()) == i+1 })
		clock.Step(leaseRetry)
	}
	within(t, "it asked again", func() bool { return len(set.Actions()) == 4 })
	cancel()
	<-done
}

// A Node that was made anew under its name has a lease of its own.
func TestALeaseBelongsToOneNode(t *testing.T) {
	set := fake.NewClientset()
	var l leases
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Start(ctx) }()
	within(t, "leases are kept", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.ctx != nil
	})
	n := &Nodes{Home: set, Clock: clocktesting.NewFakeClock(noon)}
	for _, uid := range []types.UID{"uid-1", "uid-1", "uid-2"} {
		if err := l.ensure(n, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "vn-1", UID: uid}}); err != nil {
			t.Fatal(err)
		}
		within(t, "the lease is its Node's", func() bool {
			got, err := set.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, "vn-1", metav1.GetOptions{})
			return err == nil && got.OwnerReferences[0].UID == uid
		})
	}
	l.release("vn-1")
	if len(l.held) > 0 {
		t.Errorf("held are %v", l.held)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
