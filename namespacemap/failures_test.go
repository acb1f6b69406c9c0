package namespacemap

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// refused is how a call to a dead API server ends, from a port that differs each time.
func refused(port int) error {
	return &url.Error{Op: "Get", URL: "https://127.0.0.1:6443/api", Err: &net.OpError{
		Op: "dial", Net: "tcp", Source: &net.TCPAddr{Port: port}, Addr: &net.TCPAddr{Port: 6443},
		Err: syscall.ECONNREFUSED,
	}}
}

func TestFailuresOnTheProvider(t *testing.T) {
	namespaces := schema.GroupResource{Resource: "namespaces"}
	tests := map[string]struct {
		err         error
		wantReason  string
		wantMessage string
	}{
		"refused by the provider, in its words": {
			apierrors.NewForbidden(namespaces, "shop-a",
				errors.New("quota of namespaces")), "PermissionDenied", "quota of namespaces",
		},
		"our identity is not known there": {apierrors.NewUnauthorized("token expired"), "PermissionDenied",
			"token expired"},
		"nobody there": {refused(4711), "ClusterUnreachable", "connection refused"},
		"a black hole": {context.DeadlineExceeded, "ClusterUnreachable", "no answer within 10s"},
		"busy":         {apierrors.NewTooManyRequests("later", 1), "ClusterUnreachable", "later"},
		"starting": {apierrors.NewServiceUnavailable("starting"), "ClusterUnreachable",
			"starting"},
		"broken": {apierrors.NewInternalError(errors.New("etcd")), "CreationLoopBackOff",
			"etcd"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, wantShop())
			a.away.before = func(string, client.Object) error { return tc.err }
			if _, err := a.visit(t, "shop"); !errors.Is(err, tc.err) {
				t.Errorf("error %v, want it passed on for the retry", err)
			}
			entry := a.entry(t)
			if entry.Phase != v1beta1.MappingCreationLoopBackOff || entry.Reason != tc.wantReason ||
				!strings.Contains(entry.Message, tc.wantMessage) {
				t.Errorf("entry %+v", entry)
			}
			a.away.before = nil
			a.mustVisit(t, "shop")
			if diff := cmp.Diff(accepted("shop-a"), a.entry(t)); diff != "" {
				t.Errorf("after the repair (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestTheSameFailureIsWrittenOnce(t *testing.T) {
	a := newAgent(t, wantShop())
	port := 40000
	a.away.read = func(client.ObjectKey, client.Object) error {
		port++
		return refused(port)
	}
	for range 3 {
		if _, err := a.visit(t, "shop"); err == nil {
			t.Error("no error")
		}
	}
	if len(a.home.writes) != 1 {
		t.Errorf("writes %v, want one", a.home.writes)
	}
}

func TestAReadyTwinOutlivesACutLinkButNotALostRight(t *testing.T) {
	tests := map[string]struct {
		err       error
		wantPhase v1beta1.MappingPhase
	}{
		"no answer":    {refused(1), v1beta1.MappingAccepted},
		"server error": {apierrors.NewInternalError(errors.New("etcd")), v1beta1.MappingAccepted},
		"forbidden": {apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "shop-a", errors.New("no")),
			v1beta1.MappingCreationLoopBackOff},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, wantShop())
			a.mustVisit(t, "shop")
			a.away.read = func(client.ObjectKey, client.Object) error { return tc.err }
			if _, err := a.visit(t, "shop"); err == nil {
				t.Error("no error, so no retry")
			}
			if got := a.entry(t).Phase; got != tc.wantPhase {
				t.Errorf("phase %s, want %s", got, tc.wantPhase)
			}
		})
	}
}

func TestEveryCallToTheProviderHasADeadline(t *testing.T) {
	a := newAgent(t, wantShop())
	a.Away = &watchful{server: a.away, t: t}
	a.mustVisit(t, "shop")
}

// watchful fails the test for each call without a deadline.
type watchful struct {
	*server
	t *testing.T
}

func (w *watchful) check(ctx context.Context, call string) {
	if _, bounded := ctx.Deadline(); !bounded {
		w.t.Errorf("%s without a deadline", call)
	}
}

func (w *watchful) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	w.check(ctx, "get")
	return w.server.Get(ctx, key, o, opts...)
}

func (w *watchful) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	w.check(ctx, "create")
	return w.server.Create(ctx, o, opts...)
}

// Pods of ours may still run in a twin that lost our marks, so nobody is told that it never was, however often it is
// looked at, and whatever else fails meanwhile.
func TestATwinThatLostItsMarksIsNotGone(t *testing.T) {
	a := newAgent(t, wantShop())
	a.mustVisit(t, "shop")
	twin := get(t, a.away, "", "shop-a", &corev1.Namespace{})
	marks := twin.Labels
	twin.Labels = nil
	if err := a.away.Update(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	for _, trouble := range []error{nil, nil, refused(1), nil} {
		a.away.read = func(client.ObjectKey, client.Object) error { return trouble }
		if _, err := a.visit(t, "shop"); err == nil {
			t.Error("no error, so no retry")
		}
	}
	if diff := cmp.Diff(heard{"ready shop shop-a", "leaving shop"}, a.heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}
	if entry := a.entry(t); failureReason(entry.Reason) != v1beta1.ReasonCreationLoopBackOff {
		t.Errorf("entry %+v", entry)
	}
	twin = get(t, a.away, "", "shop-a", &corev1.Namespace{})
	twin.Labels = marks
	if err := a.away.Update(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	a.mustVisit(t, "shop")
	if diff := cmp.Diff(accepted("shop-a"), a.entry(t)); diff != "" {
		t.Errorf("after the repair (-want,+got):\n%s", diff)
	}
}
