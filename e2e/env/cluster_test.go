package env_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// eventually waits until look says that all is well.
func eventually(t *testing.T, what string, look func(ctx context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true,
		func(ctx context.Context) (bool, error) { return look(ctx), nil })
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func create(t *testing.T, c *env.Cluster, objects ...client.Object) {
	t.Helper()
	for _, obj := range objects {
		if err := c.Client().Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

func phase(t *testing.T, c *env.Cluster, name string, want corev1.PodPhase) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	eventually(t, name+" becomes "+string(want), func(ctx context.Context) bool {
		err := c.Client().Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name}, pod)
		return err == nil && pod.Status.Phase == want
	})
	return pod
}

func TestClustersBehaveAsClustersDo(t *testing.T) {
	e := env.Start(t, env.Options{Providers: 1, Nodes: 2})
	home, away := e.Consumer(), e.Cluster(env.ProviderName(1))

	t.Run("pods run, in the cluster's own address range, and have logs", func(t *testing.T) {
		addresses := map[string]bool{}
		for _, c := range e.Clusters() {
			create(t, c, build.Pod("web").Obj())
			pod := phase(t, c, "web", corev1.PodRunning)
			ip, err := netip.ParseAddr(pod.Status.PodIP)
			if err != nil || !netip.MustParsePrefix(c.PodCIDR()).Contains(ip) || addresses[pod.Status.PodIP] {
				t.Errorf("pod of %s has address %q of %s (%v)", c.Name, pod.Status.PodIP, c.PodCIDR(), err)
			}
			addresses[pod.Status.PodIP] = true
			if log := podLog(t, c, "web"); !strings.Contains(log, "hello from cluster "+c.Name) {
				t.Errorf("log is %q", log)
			}
		}
	})
	t.Run("pods are ready again after their node was lost for a while", func(t *testing.T) {
		is := func(pod *corev1.Pod) *corev1.PodCondition {
			return &pod.Status.Conditions[slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady
			})]
		}
		for name, reason := range map[string]string{"lost-for-a-while": "", "told-so": "ReadinessGatesNotReady"} {
			create(t, away, build.Pod(name).Obj())
			pod := phase(t, away, name, corev1.PodRunning)
			is(pod).Status, is(pod).Reason = corev1.ConditionFalse, reason
			if err := away.Client().Status().Update(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the pod is ready again", func(context.Context) bool {
			return is(phase(t, away, "lost-for-a-while", corev1.PodRunning)).Status == corev1.ConditionTrue
		})
		if is(phase(t, away, "told-so", corev1.PodRunning)).Status == corev1.ConditionTrue {
			t.Error("a pod that is not ready for a reason became ready")
		}
	})
	t.Run("pods end when they are deleted, asked to, or done", func(t *testing.T) {
		create(t, away, build.Pod("gone").Obj(), ending("fine", "Succeeded"), ending("broken", "Failed"), job("once"))
		phase(t, away, "fine", corev1.PodSucceeded)
		phase(t, away, "broken", corev1.PodFailed)
		gone := phase(t, away, "gone", corev1.PodRunning)
		if err := away.Client().Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the pod goes", func(ctx context.Context) bool {
			return apierrors.IsNotFound(away.Client().Get(ctx, client.ObjectKeyFromObject(gone), gone))
		})
		eventually(t, "the Job completes", func(ctx context.Context) bool {
			var got batchv1.Job
			err := away.Client().Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "once"}, &got)
			return err == nil && got.Status.Succeeded == 1
		})
	})
	t.Run("fake kubelets end no pod that nobody deletes, nor one on another's node", func(t *testing.T) {
		cfg := home.Config()
		cfg.Impersonate.UserName = "kwok"
		kwok := kubernetes.NewForConfigOrDie(cfg).CoreV1().Pods(metav1.NamespaceDefault)
		held := build.Pod("held").Obj()
		held.Finalizers = []string{"example.com/held"}
		elsewhere := held.DeepCopy()
		elsewhere.Name, elsewhere.Spec.NodeName = "elsewhere", "other-node"
		create(t, home, build.Pod("stays").Obj(), held, elsewhere)
		phase(t, home, "stays", corev1.PodRunning)
		phase(t, home, "held", corev1.PodRunning)
		for _, pod := range []*corev1.Pod{held, elsewhere} {
			if err := home.Client().Delete(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
		}
		for name, may := range map[string]bool{"stays": false, "held": true, "elsewhere": false} {
			eventually(t, fmt.Sprintf("%s may be ended: %t", name, may), func(ctx context.Context) bool {
				now := metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0), DryRun: []string{metav1.DryRunAll}}
				err := kwok.Delete(ctx, name, now)
				return may && err == nil || !may && err != nil && strings.Contains(err.Error(), "fake kubelet")
			})
		}
	})
	t.Run("nodes that are not kwok's are left alone", func(t *testing.T) {
		create(t, home, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "virtual"}})
		lost := build.Pod("lost").Obj()
		lost.Spec.NodeName = "virtual"
		create(t, home, lost, build.Pod("after").Obj())
		phase(t, home, "after", corev1.PodRunning) // kwok was at work since
		if pod := phase(t, home, "lost", corev1.PodPending); pod.Status.StartTime != nil {
			t.Error("kwok ran a pod on a node that is not its own")
		}
	})
	t.Run("a ServiceAccount has its own rights only", func(t *testing.T) {
		eventually(t, "a config works", func(ctx context.Context) bool {
			cfg, err := home.ConfigFor(ctx, metav1.NamespaceDefault, "default")
			if err != nil {
				return false
			}
			_, err = kubernetes.NewForConfigOrDie(cfg).CoreV1().Nodes().List(ctx, metav1.ListOptions{})
			return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "system:serviceaccount:default:default")
		})
	})
	t.Run("links act on the provider's address for us", func(t *testing.T) {
		cfg := away.Config()
		cfg.Host, cfg.Timeout = away.ProxiedServer(), time.Second
		through := kubernetes.NewForConfigOrDie(cfg)
		for _, step := range []struct {
			mode  env.ModeKind
			works bool
		}{{env.Heal, true}, {env.Cut, false}, {env.Heal, true}, {env.Blackhole, false}, {env.Heal, true}} {
			if err := e.SetLink(t.Context(), away.Name, env.Mode{Kind: step.mode}); err != nil {
				t.Fatal(err)
			}
			_, err := through.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
			if (err == nil) != step.works {
				t.Errorf("with the link in mode %s: %v", step.mode, err)
			}
		}
		if err := e.SetLink(t.Context(), env.Consumer, env.Mode{Kind: env.Cut}); err == nil {
			t.Error("the consumer has a link")
		}
	})
	t.Run("components can be killed and started, and say what they use", func(t *testing.T) {
		if err := e.Kill(t.Context(), away.Name, env.Scheduler); err != nil {
			t.Fatal(err)
		}
		for _, u := range e.Usage() {
			if u.Cluster == away.Name && u.Component == env.Scheduler {
				t.Error("a dead process has usage")
			}
			if u.PeakRSS < 1<<20 {
				t.Errorf("%s of %s used %d bytes at most", u.Component, u.Cluster, u.PeakRSS)
			}
		}
		if err := e.Start(t.Context(), away.Name, env.Scheduler); err != nil {
			t.Fatal(err)
		}
		if err := e.Restart(t.Context(), away.Name, env.Kwok); err != nil {
			t.Fatal(err)
		}
		create(t, away, build.Pod("later").Obj())
		phase(t, away, "later", corev1.PodRunning)
	})
}

func podLog(t *testing.T, c *env.Cluster, name string) string {
	t.Helper()
	request := kubernetes.NewForConfigOrDie(c.Config()).CoreV1().Pods(metav1.NamespaceDefault).
		GetLogs(name, &corev1.PodLogOptions{})
	stream, err := request.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	text, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ending is a pod that asks its fake kubelet for an end.
func ending(name, how string) *corev1.Pod {
	pod := build.Pod(name).Obj()
	pod.Annotations = map[string]string{"playground.twinspace/end": how}
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	return pod
}

func job(name string) *batchv1.Job {
	spec := build.Pod(name).Obj().Spec
	spec.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: spec}},
	}
}
