package main

import (
	"net/http"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	account = "system:serviceaccount:liqo:scheduler"
	// kinds is the group of the custom resources of sigs.k8s.io/scheduler-plugins.
	kinds = "scheduling.x-k8s.io"
)

// TestOnAnAPIServer runs the program in each way that the documentation describes, with the rights that we ship.
func TestOnAnAPIServer(t *testing.T) {
	plane := env.Planes(t, 1)[0]
	for _, folder := range []string{"base", "scheduler/rbac"} {
		if err := plane.Apply(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	h := &home{t, plane.Client(), plane}
	h.permitted()
	h.node(build.Node("small"), "2")
	h.node(build.Node("big"), "8")
	h.node(build.VirtualNodesNode(build.VirtualNode("provider-1", "provider-1")), "64")
	h.offload("shop", "provider-1")
	h.namespace(build.Namespace("plain"))

	t.Run("in place of the default scheduler", func(t *testing.T) { inPlace(h.with(t)) })
	t.Run("beside a managed scheduler", func(t *testing.T) { beside(h.with(t)) })
	t.Run("plugins on offer", func(t *testing.T) { onOffer(h.with(t)) })
	t.Run("Coscheduling needs its kinds", func(t *testing.T) { gangs(h.with(t)) })
	t.Run("a lease shorter than the time to renew it", func(t *testing.T) {
		code, out := run(t, "--kubeconfig="+h.with(t).kubeconfigOf("system:kube-scheduler"),
			"--leader-elect-lease-duration=5s", "--leader-elect-renew-deadline=10s")
		const want = "couldn't create leader elector: leaseDuration must be greater than renewDeadline"
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("exit %d, want 1 and %q:\n%s", code, want, out)
		}
	})
}

// scheduledBy returns a pod for a scheduler.
func scheduledBy(name, scheduler string) *build.PodBuilder {
	return build.Pod(name).Spec(func(s *corev1.PodSpec) { s.SchedulerName = scheduler })
}

func inPlace(h *home) {
	audit, err := h.plane.Audit()
	if err != nil {
		h.Fatal(err)
	}
	address := h.serve(shipped(h.T, "replace-default.yaml"))
	away, here := build.Pod("replaced").Namespace("shop").Obj(), build.Pod("replaced").Namespace("plain").Obj()
	h.create(away, here)
	h.runsOn(away, "provider-1")
	h.runsOn(here, "small", "big")
	h.leads("kube-scheduler")
	h.measured(address)
	h.frugal(audit)
}

func beside(h *home) {
	audit, err := h.plane.Audit()
	if err != nil {
		h.Fatal(err)
	}
	start(h.T, managed, "--kubeconfig="+h.kubeconfigOf("system:kube-scheduler"),
		"--leader-elect=false", "--secure-port=0")
	address := h.serve(shipped(h.T, "side-by-side.yaml"))

	ours := v1beta1.SchedulerName
	away := scheduledBy("ours", ours).Namespace("shop").Obj()
	class := scheduledBy("class", ours).Namespace("shop").RuntimeClass(v1beta1.RuntimeClass).Obj()
	here := scheduledBy("ours", ours).Namespace("plain").Obj()
	refused := scheduledBy("refused", ours).Namespace("plain").RuntimeClass(v1beta1.RuntimeClass).Obj()
	theirs := build.Pod("theirs").Namespace("shop").Obj()
	pinned := build.Pod("pinned").Namespace("shop").NodeSelector(corev1.LabelHostname, "provider-1").Obj()
	h.create(away, class, here, refused, theirs, pinned)

	h.runsOn(away, "provider-1")
	h.runsOn(class, "provider-1")
	h.runsOn(here, "small", "big")
	h.waits(refused, "namespace is not offloaded")
	h.runsOn(theirs, "small", "big") // although its namespace is Remote: the policy is ours, not theirs
	h.waits(pinned, "untolerated taint")
	h.leads(ours)
	h.measured(address)
	h.frugal(audit)
}

// leads: the scheduler holds the lease that its configuration names, and could not without the right to.
func (h *home) leads(lease string) {
	h.Helper()
	h.eventually("lease "+lease+" is held", func() string {
		var l coordinationv1.Lease
		if err := h.Get(h.Context(), client.ObjectKey{Namespace: "kube-system", Name: lease}, &l); err != nil {
			return err.Error()
		}
		if l.Spec.HolderIdentity == nil {
			return "held by nobody"
		}
		return ""
	})
}

// measured: the scheduler knows its users by asking the API server, which needs rights too.
func (h *home) measured(address string) {
	h.Helper()
	if code, body := h.get(address+"/metrics", h.plane.Config()); code != http.StatusOK ||
		!strings.Contains(body, "scheduler_schedule_attempts_total") {
		h.Errorf("an admin gets %d for metrics", code)
	}
	config, err := h.plane.ConfigFor(h.Context(), "plain", "default")
	if err != nil {
		h.Fatal(err)
	}
	if code, _ := h.get(address+"/metrics", config); code != http.StatusForbidden {
		h.Errorf("somebody without rights gets %d for metrics", code)
	}
}

// frugal: the scheduler was refused nothing, and asked for nothing that only plugins need which are off.
func (h *home) frugal(audit *env.Audit) {
	h.Helper()
	events, err := audit.Events()
	if err != nil {
		h.Fatal(err)
	}
	asked := 0
	for _, event := range events {
		if event.User.Username != account {
			continue
		}
		asked++
		if event.ResponseStatus != nil && event.ResponseStatus.Code == http.StatusForbidden {
			h.Errorf("it may not %s %s", event.Verb, event.RequestURI)
		}
		if strings.Contains(event.RequestURI, kinds) {
			h.Errorf("it asked for %s, which nobody needs", event.RequestURI)
		}
	}
	if asked == 0 {
		h.Errorf("%s asked for nothing at all", account)
	}
}
