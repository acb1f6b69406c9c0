package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

// takeover is how long nobody may lead when the leader has gone without a word.
const takeover = 20 * time.Second

// TestTakeover has two replicas of the agent: the leader is stopped for longer than its lease and wakes when the other
// leads; then it starts anew, and the other is killed.
func TestTakeover(t *testing.T) {
	w := unserved(t, v1beta1.WatchNamespaces)
	one, two := w.replica("replica-one", "127.0.0.1"), w.replica("replica-two", "127.0.0.2")
	old, next := w.leader(one, two)
	w.nodeAt(old)
	w.offload(1, 1)

	w.must(old.process.Signal(syscall.SIGSTOP))
	w.takesOver(next)
	w.nodeAt(next)
	w.offload(2, 2)

	writes := w.writesOf(old)
	w.must(old.process.Signal(syscall.SIGCONT))
	select {
	case <-old.ended:
	case <-time.After(patience):
		t.Fatalf("%s leads no more, and goes on", old.name)
	}
	if code := old.state.ExitCode(); code != 1 || !strings.Contains(old.said(), "another replica leads now") {
		t.Errorf("it ends with %d", code)
	}
	if all := writes(); len(all) > 0 {
		t.Errorf("when it wakes, another leads, and it does this:\n%s", strings.Join(all, "\n"))
	}
	w.nodeAt(next)

	again := w.replica(old.name+"-again", old.ip)
	w.eventually("a standby", func(ctx context.Context) string { return again.leads(ctx, false) })
	w.must(next.process.Kill())
	w.takesOver(again)
	w.nodeAt(again)
	w.offload(3, 3)

	third := w.replica("replica-three", "127.0.0.3")
	w.eventually("a standby", func(ctx context.Context) string { return third.leads(ctx, false) })
	asked := time.Now()
	w.must(again.process.Signal(os.Interrupt))
	w.nodeAt(third)
	if took := time.Since(asked); took > takeover/2 {
		t.Errorf("who ends as asked gives its lease back, but it took %s", took)
	}
}

// leader waits until one of two replicas leads and the other stands by, and returns them in this order.
func (w *peered) leader(one, two *replica) (leads, standsBy *replica) {
	w.Helper()
	w.eventually("one leader", func(ctx context.Context) string {
		for _, pair := range [][2]*replica{{one, two}, {two, one}} {
			if pair[0].leads(ctx, true) == "" && pair[1].leads(ctx, false) == "" {
				leads, standsBy = pair[0], pair[1]
				return ""
			}
		}
		return "nobody leads, or both"
	})
	return leads, standsBy
}

// takesOver waits until a replica leads, which is bounded.
func (w *peered) takesOver(r *replica) {
	w.Helper()
	start := time.Now()
	w.eventually("a new leader", func(ctx context.Context) string {
		if wrong := w.notReady(ctx); wrong != "" {
			w.Fatal(wrong)
		}
		return r.leads(ctx, true)
	})
	took := time.Since(start)
	w.Logf("%s leads after %s", r.name, took)
	if took > takeover {
		w.Errorf("it took %s until another led", took)
	}
}

// nodeAt waits until a replica's kubelet endpoint is the Node's. The Node is ready all the while, once it was.
func (w *peered) nodeAt(r *replica) {
	w.Helper()
	w.eventually("the Node at "+r.ip, func(ctx context.Context) string {
		var node corev1.Node
		if err := w.home.Client().Get(ctx, client.ObjectKey{Name: w.away.Name}, &node); err != nil {
			return err.Error()
		}
		for _, address := range node.Status.Addresses {
			if address.Type == corev1.NodeInternalIP && address.Address == r.ip {
				return w.notReady(ctx)
			}
		}
		return fmt.Sprint(node.Status.Addresses)
	})
}

func (w *peered) notReady(ctx context.Context) string {
	var node corev1.Node
	if err := w.home.Client().Get(ctx, client.ObjectKey{Name: w.away.Name}, &node); err != nil {
		return err.Error()
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return ""
		}
	}
	return fmt.Sprintf("the Node is not ready: %v", node.Status.Conditions)
}

// writesOf returns what lists the changes that a replica asks any API server for from now on. Its part in the election
// is no matter as long as it gets nothing: an event tells of it, and a renewal may have been on its way.
func (w *peered) writesOf(r *replica) func() []string {
	w.Helper()
	audits := map[string]*env.Audit{}
	for _, c := range []*env.Cluster{w.home, w.away} {
		audit, err := c.Audit()
		w.must(err)
		audits[c.Name] = audit
	}
	return func() []string {
		w.Helper()
		var out []string
		for cluster, audit := range audits {
			events, err := audit.Events()
			w.must(err)
			for _, e := range events {
				if strings.HasPrefix(e.UserAgent, r.name+"/") && env.IsWrite(e) && !idle(e) {
					out = append(out, fmt.Sprintf("%s %s on %s by %s", e.Verb, e.RequestURI, cluster, e.UserAgent))
				}
			}
		}
		return out
	}
}

// idle tells a request of the election that changes nothing about who leads.
func idle(e auditv1.Event) bool {
	return strings.HasSuffix(e.UserAgent, "/leader-election") && e.ObjectRef != nil &&
		(e.ObjectRef.Resource == "events" || e.ResponseStatus != nil && e.ResponseStatus.Code >= http.StatusBadRequest)
}
