package main

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestAnAgentEndsWhenItsScopeChanges(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: "liqo-tenant-milan", Name: "kubeconfig-milan",
		Annotations: map[string]string{v1beta1.AnnotationWatchScope: string(v1beta1.WatchCluster)},
	}}
	for name, c := range map[string]struct {
		scope v1beta1.WatchScope
		says  string
	}{
		"as before": {scope: v1beta1.WatchCluster},
		"widened":   {scope: v1beta1.WatchNamespaces, says: "is cluster now, not namespace: starting over"},
	} {
		t.Run(name, func(t *testing.T) {
			clk := clocktesting.NewFakeClock(time.Now())
			guard := scopeGuard{
				home: fake.NewClientBuilder().WithObjects(secret).Build(), secret: client.ObjectKeyFromObject(secret),
				scope: c.scope, clock: clk,
			}
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error, 1)
			go func() { over <- guard.run(ctx) }()
			asleep := func(context.Context) (bool, error) { return clk.HasWaiters(), nil }
			for range 2 { // it sleeps again only when it has looked, and found nothing
				err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, patience, true, asleep)
				if err != nil {
					t.Fatal(err)
				}
				if clk.Step(scopeInterval); c.says != "" {
					break
				}
			}
			if c.says == "" {
				cancel()
			}
			defer cancel()
			err := <-over
			if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("it ended with %v, want %q", err, c.says)
			}
		})
	}
}
