package history_test

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/history"
)

func TestARecorderHearsEverythingInOrder(t *testing.T) {
	set, err := kubernetes.NewForConfig(env.Planes(t, 1)[0].Config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shop := build.Namespace("shop").Obj()
	if _, err := set.CoreV1().Namespaces().Create(ctx, shop, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := set.CoreV1().ServiceAccounts("shop").Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods := set.CoreV1().Pods("shop")
	early, err := pods.Create(ctx, build.Pod("early").Namespace("shop").Obj(), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := history.Record(ctx, "home", pods)
	if err != nil {
		t.Fatal(err)
	}
	now := metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}
	const lives = 20
	for range lives { // faster than anybody looks
		if _, err := pods.Create(ctx, build.Pod("web").Namespace("shop").Obj(), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := pods.Delete(ctx, "web", now); err != nil {
			t.Fatal(err)
		}
	}
	changes, err := r.Changes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const each = 3 // it comes, is being deleted, and is gone
	if len(changes) != 1+each*lives || changes[0].Pod.UID != early.UID || changes[0].Gone {
		t.Fatalf("heard %d changes, want %d, the first of pod early", len(changes), 1+each*lives)
	}
	for i, c := range changes[1:] {
		if gone := i%each == each-1; c.Gone != gone || c.Pod.Name != "web" || c.Cluster != "home" {
			t.Errorf("change %d is of %s of %s, gone %t", i, c.Pod.Name, c.Cluster, c.Gone)
		}
	}
	gone := 0
	if err := r.Follow(ctx, func(c history.Change) (bool, error) {
		if c.Gone {
			gone++
		}
		return gone == lives, nil
	}); err != nil {
		t.Error(err)
	}
	cancel()
	nothing := func(history.Change) (bool, error) { return false, nil }
	if err := r.Follow(ctx, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("who follows when it is over gets %v", err)
	}
}
