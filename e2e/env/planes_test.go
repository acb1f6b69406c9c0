package env_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

func TestPlanesServeOurKindsAtHomeOnly(t *testing.T) {
	ctx := context.Background()
	planes := env.Planes(t, 2)
	home, away := planes[0], planes[1]

	if err := home.Client().List(ctx, &v1beta1.NamespaceOffloadingList{}); err != nil {
		t.Errorf("list offloadings at home: %v", err)
	}
	if err := away.Client().List(ctx, &v1beta1.NamespaceOffloadingList{}); err == nil {
		t.Error("the provider serves our kinds: something was installed there")
	}

	audit, err := away.Audit()
	if err != nil {
		t.Fatal(err)
	}
	if err := away.Client().Create(ctx, build.Namespace("twin").Obj()); err != nil {
		t.Fatal(err)
	}
	if err := home.Client().Get(ctx, client.ObjectKey{Name: "twin"}, &corev1.Namespace{}); err == nil {
		t.Error("the planes share their objects")
	}
	events, err := audit.Events()
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	for _, event := range events {
		if env.IsWrite(event) && event.User.Username == "admin" {
			writes++
		}
	}
	if writes != 1 {
		t.Errorf("the audit log has %d writes of ours, want 1", writes)
	}
}
