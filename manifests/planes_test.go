package manifests_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// TestOnAnAPIServer applies everything to a real one, and asks it what the policies at home say.
func TestOnAnAPIServer(t *testing.T) {
	home := env.Planes(t, 1)[0]
	for _, overlay := range []string{"overlays/default", "overlays/replace-scheduler", "provider"} {
		t.Run(overlay, func(t *testing.T) { applied(t, home, overlay) })
	}
	t.Run("policies", func(t *testing.T) { policies(t, home) })
	t.Run("volumes", func(t *testing.T) { volumes(t, home) })
	t.Run("aggregation", func(t *testing.T) { aggregation(t, home) })
	t.Run("policies fail closed", func(t *testing.T) { closed(t, home.Client()) })
}

// kubectl is the one that is linked into the playground.
func kubectl(t *testing.T, home *env.Cluster, args ...string) []byte {
	t.Helper()
	root, err := env.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd := &exec.Cmd{
		Path: filepath.Join(root, "bin", "playground"), Stdout: &out, Stderr: &errOut,
		Args: append([]string{"kubectl", "--kubeconfig", home.Kubeconfig}, args...),
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.Bytes()
}

// applied does what the documentation tells a human to do.
func applied(t *testing.T, home *env.Cluster, overlay string) {
	kubectl(t, home, "apply", "--server-side", "--force-conflicts", "-k", overlay)
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(kubectl(t, home, "kustomize", overlay)), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if object.GetKind() == "Deployment" {
			restricted(t, home.Client(), object)
		}
	}
}

// restricted has a Deployment's pod admitted to a namespace that enforces the level restricted.
func restricted(t *testing.T, c client.Client, deployment *unstructured.Unstructured) {
	t.Helper()
	template, _, err := unstructured.NestedMap(deployment.Object, "spec", "template")
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &pod); err != nil {
		t.Fatal(err)
	}
	pod.Namespace, pod.Name = deployment.GetNamespace(), deployment.GetName()
	if err := c.Create(t.Context(), &pod, client.DryRunAll); err != nil {
		t.Errorf("pod of %s: %v", deployment.GetName(), err)
	}
	for _, container := range pod.Spec.Containers {
		if !strings.Contains(container.Image, ":v") {
			t.Errorf("image %s has no version", container.Image)
		}
		if container.SecurityContext == nil || container.SecurityContext.ReadOnlyRootFilesystem == nil ||
			!*container.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("container %s can write to its root", container.Name)
		}
	}
}

// closed: all policies but the one that only warns refuse what they cannot judge.
func closed(t *testing.T, c client.Client) {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("admissionregistration.k8s.io/v1")
	list.SetKind("ValidatingAdmissionPolicyList")
	if err := c.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) < 8 {
		t.Errorf("only %d policies", len(list.Items))
	}
	for _, policy := range list.Items {
		failure, _, _ := unstructured.NestedString(policy.Object, "spec", "failurePolicy")
		if open := failure != "Fail"; open != (policy.GetName() == "liqo-tightening") {
			t.Errorf("policy %s has failurePolicy %s", policy.GetName(), failure)
		}
	}
}

// warned is told an API server's warnings.
type warned []string

// HandleWarningHeaderWithContext is called with each.
func (w *warned) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	*w = append(*w, text)
}

func policies(t *testing.T, home *env.Cluster) {
	warnings := &warned{}
	config := home.Config()
	config.WarningHandlerWithContext = warnings
	admin := connect(t, config)
	for _, name := range []string{"shop", "kube-shop", "liqo-tenant-b"} {
		if err := admin.Create(t.Context(), build.Namespace(name).Obj()); err != nil {
			t.Fatal(err)
		}
	}
	forbidden := build.Offloading("kube-shop").Obj()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 20*time.Second, true,
		func(ctx context.Context) (bool, error) {
			return admin.Create(ctx, forbidden.DeepCopy(), client.DryRunAll) != nil, nil
		})
	if err != nil {
		t.Fatal("the policies did not come into force")
	}
	t.Run("system namespaces stay at home", func(t *testing.T) {
		for _, ns := range []string{"kube-system", "kube-shop", "liqo", "liqo-tenant-b"} {
			err := admin.Create(t.Context(), build.Offloading(ns).Obj())
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "system namespaces may not be offloaded") {
				t.Errorf("%s: %v", ns, err)
			}
		}
		if err := admin.Create(t.Context(), build.Offloading("default").Obj(), client.DryRunAll); err != nil {
			t.Errorf("default: %v", err)
		}
	})
	t.Run("tightening the strategy warns, and is done", func(t *testing.T) { tighten(t, admin, warnings) })
	t.Run("another selector warns, and is done", func(t *testing.T) { narrow(t, admin, warnings) })
	t.Run("a switch is on or not there", func(t *testing.T) { switches(t, admin) })
	t.Run("the scheduler adds its toleration and changes nothing else", func(t *testing.T) { scheduler(t, home) })
	t.Run("an agent writes only its provider's nodes", func(t *testing.T) { agents(t, home) })
	t.Run("an agent lets pods go and tells how they do", func(t *testing.T) { agentsPods(t, home) })
}

func tighten(t *testing.T, admin client.Client, warnings *warned) {
	off := build.Offloading("shop").Obj()
	if err := admin.Create(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		to   v1beta1.PodOffloadingStrategy
		warn bool
	}{
		{v1beta1.LocalAndRemote, false}, {v1beta1.Remote, true}, {v1beta1.Remote, false}, {v1beta1.Local, true},
		{v1beta1.LocalAndRemote, false}, {v1beta1.Local, true},
	} {
		*warnings = nil
		off.Spec.PodOffloadingStrategy = step.to
		metav1.SetMetaDataAnnotation(&off.ObjectMeta, "to", string(step.to))
		if err := admin.Update(t.Context(), off); err != nil {
			t.Fatal(err)
		}
		want := "podOffloadingStrategy is now " + string(step.to) + ": pods that already run elsewhere stay there"
		if got := strings.Contains(strings.Join(*warnings, "\n"), want); got != step.warn {
			t.Errorf("to %s: warned %t (%q)", step.to, got, *warnings)
		}
	}
}

func narrow(t *testing.T, admin client.Client, warnings *warned) {
	off := build.Offloading("default").Obj()
	if err := admin.Create(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		to   *v1beta1.ClusterSelector
		warn bool
	}{
		{build.Selector(v1beta1.LabelNodeType, v1beta1.NodeTypeVirtual), false}, {build.Selector("region", "eu"), true},
		{build.Selector("region", "eu"), false}, {&v1beta1.ClusterSelector{}, false},
		{build.Selector("region", "us"), true},
	} {
		*warnings = nil
		off.Spec.ClusterSelector = step.to
		if err := admin.Update(t.Context(), off); err != nil {
			t.Fatal(err)
		}
		want := "clusterSelector changed: a cluster that it no longer picks loses its twin"
		if got := strings.Contains(strings.Join(*warnings, "\n"), want); got != step.warn {
			t.Errorf("to %v: warned %t (%q)", step.to, got, *warnings)
		}
	}
}

// switches: B46.
func switches(t *testing.T, admin client.Client) {
	const want = `must be "true" or absent`
	refused := func(err error) bool { return apierrors.IsInvalid(err) && strings.Contains(err.Error(), want) }
	for value, ok := range map[string]bool{
		"true": true, "false": true, "yes": false, "True": false, "1": false, "": false,
	} {
		ns := build.Namespace("switched").Label(v1beta1.LabelEnabled, value).Obj()
		if err := admin.Create(t.Context(), ns, client.DryRunAll); ok != (err == nil) || !ok && !refused(err) {
			t.Errorf("%q on a new namespace: %v", value, err)
		}
		ns = build.Namespace("shop").Label(v1beta1.LabelEnabled, value).Obj()
		if err := admin.Update(t.Context(), ns, client.DryRunAll); ok != (err == nil) || !ok && !refused(err) {
			t.Errorf("%q on an old one: %v", value, err)
		}
	}
	binding := &unstructured.Unstructured{}
	binding.SetAPIVersion("admissionregistration.k8s.io/v1")
	binding.SetKind("ValidatingAdmissionPolicyBinding")
	binding.SetName("liqo-switches")
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(binding), binding); err != nil {
		t.Fatal(err)
	}
	if err := admin.Delete(t.Context(), binding.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	old := build.Namespace("switched").Label(v1beta1.LabelEnabled, "yes").Obj() // labelled before there was a policy
	until(t, "the policy's end", func(ctx context.Context) bool { return admin.Create(ctx, old) == nil })
	binding.SetResourceVersion("")
	binding.SetUID("")
	if err := admin.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	until(t, "the policy's return", func(ctx context.Context) bool {
		ns := build.Namespace("new").Label(v1beta1.LabelEnabled, "yes").Obj()
		return refused(admin.Create(ctx, ns, client.DryRunAll))
	})
	old.Labels["other"] = "changed"
	if err := admin.Update(t.Context(), old); err != nil {
		t.Errorf("a change of something else: %v", err)
	}
}

func until(t *testing.T, what string, is func(context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 20*time.Second, true,
		func(ctx context.Context) (bool, error) { return is(ctx), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func scheduler(t *testing.T, home *env.Cluster) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}}
	other := corev1.Toleration{Key: "other", Operator: corev1.TolerationOpExists}
	pod := build.Pod("web").Namespace("shop").Label("a", "b").Annotation("c", "d").Tolerate(other).
		Spec(func(s *corev1.PodSpec) {
			s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}}
			s.InitContainers = []corev1.Container{{Name: "init", Image: build.Image}}
		}).Obj()
	for _, object := range []client.Object{account, pod} {
		if err := home.Client().Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	toleration := func(p *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, v1beta1.Toleration()) }
	allowed := map[string]func(*corev1.Pod){"the toleration": toleration, "nothing": func(*corev1.Pod) {}}
	refused := map[string]func(*corev1.Pod){
		"another toleration": func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
		},
		"more than the toleration": func(p *corev1.Pod) {
			toleration(p)
			p.Labels["a"] = "x"
		},
		"a label":          func(p *corev1.Pod) { p.Labels["a"] = "x" },
		"a new label":      func(p *corev1.Pod) { p.Labels["x"] = "y" },
		"no label":         func(p *corev1.Pod) { p.Labels = nil },
		"an annotation":    func(p *corev1.Pod) { p.Annotations["c"] = "x" },
		"a finalizer":      func(p *corev1.Pod) { p.Finalizers = []string{"example.com/x"} },
		"an image":         func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" },
		"an initial image": func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "evil" },
		"a deadline":       func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr.To[int64](1) },
		"a gate":           func(p *corev1.Pod) { p.Spec.SchedulingGates = nil },
	}
	for _, user := range []string{"system:kube-scheduler", "system:serviceaccount:liqo:scheduler"} {
		config := home.Config()
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
		c := connect(t, config)
		patch := func(change func(*corev1.Pod)) error {
			changed := pod.DeepCopy()
			change(changed)
			return c.Patch(t.Context(), changed, client.MergeFrom(pod), client.DryRunAll)
		}
		for name, change := range allowed {
			if err := patch(change); err != nil {
				t.Errorf("%s changes %s: %v", user, name, err)
			}
		}
		for name, change := range refused {
			if err := patch(change); err == nil || !strings.Contains(err.Error(), "may change nothing of a pod") {
				t.Errorf("%s changes %s: %v", user, name, err)
			}
		}
	}
	changed := pod.DeepCopy()
	changed.Labels["a"] = "x"
	if err := home.Client().Patch(t.Context(), changed, client.MergeFrom(pod), client.DryRunAll); err != nil {
		t.Errorf("everybody else: %v", err)
	}
}

// agent is the one of provider b, with rights to do anything.
func agent(t *testing.T, home *env.Cluster) client.Client {
	t.Helper()
	config := home.Config()
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:liqo-tenant-b:virtual-kubelet", Groups: []string{"system:masters"},
	}
	return connect(t, config)
}

func agentsPods(t *testing.T, home *env.Cluster) {
	agent := agent(t, home)
	pod := build.Pod("offloaded").Namespace("shop").Label("app", "web").Node("b").Obj()
	if err := home.Client().Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	merge := func(body string) client.Patch { return client.RawPatch("application/merge-patch+json", []byte(body)) }
	if err := agent.Status().Patch(t.Context(), pod.DeepCopy(), merge(`{"status":{"phase":"Running"}}`)); err != nil {
		t.Errorf("its status: %v", err)
	}
	for _, value := range []string{`"true"`, "null"} {
		flag := merge(`{"metadata":{"labels":{"liqo.io/remote-unavailable":` + value + `}}}`)
		if err := agent.Status().Patch(t.Context(), pod.DeepCopy(), flag); err != nil {
			t.Errorf("its label that the provider cannot be reached: %v", err)
		}
	}
	for name, err := range map[string]error{
		"another value of that label": agent.Status().Patch(t.Context(), pod.DeepCopy(),
			merge(`{"metadata":{"labels":{"liqo.io/remote-unavailable":"x"}}}`)),
		"taking a label away with it": agent.Status().Patch(t.Context(), pod.DeepCopy(),
			merge(`{"metadata":{"labels":{"liqo.io/remote-unavailable":"true","app":null}}}`)),
		"deleting a pod that stays": agent.Delete(t.Context(), pod.DeepCopy()),
		"the same by force":         agent.Delete(t.Context(), pod.DeepCopy(), client.GracePeriodSeconds(0)),
		"deleting every pod":        agent.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace("shop")),
		"a label through its status": agent.Status().Patch(t.Context(), pod.DeepCopy(),
			merge(`{"metadata":{"labels":{"app":"bank"}}}`)),
		"an empty label through it": agent.Status().Patch(t.Context(), pod.DeepCopy(),
			merge(`{"metadata":{"labels":{"x":""}}}`)),
		"an annotation through its status": agent.Status().Patch(t.Context(), pod.DeepCopy(),
			merge(`{"metadata":{"annotations":{"a":"b"}}}`)),
	} {
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "the agent of a provider may ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := home.Client().Delete(t.Context(), pod.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	if err := agent.Delete(t.Context(), pod.DeepCopy(), client.GracePeriodSeconds(0)); err != nil {
		t.Errorf("letting a deleted pod go: %v", err)
	}
}

func agents(t *testing.T, home *env.Cluster) {
	agent := agent(t, home)
	ours := build.VirtualNodesNode(build.VirtualNode("b", "b"))
	others := build.VirtualNodesNode(build.VirtualNode("c", "c"))
	ordinary := build.Node("worker")
	if err := agent.Create(t.Context(), ours); err != nil {
		t.Errorf("its own node: %v", err)
	}
	if err := home.Client().Create(t.Context(), ordinary.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{
		"liqo.io/type":"virtual-node","liqo.io/remote-cluster-id":"b","x":"y"}}}`))
	given := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{
		"liqo.io/remote-cluster-id":"c"}}}`))
	for name, err := range map[string]error{
		"another provider's node":      agent.Create(t.Context(), others),
		"taking over an ordinary node": agent.Patch(t.Context(), ordinary.DeepCopy(), patch),
		"the same through its status":  agent.Status().Patch(t.Context(), ordinary.DeepCopy(), patch),
		"deleting an ordinary node":    agent.Delete(t.Context(), ordinary.DeepCopy()),
		"an ordinary node":             agent.Create(t.Context(), build.Node("new")),
		"giving its own to another":    agent.Patch(t.Context(), ours.DeepCopy(), given),
	} {
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "the agent of provider b may ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := agent.Patch(t.Context(), ours.DeepCopy(), patch); err != nil {
		t.Errorf("labels of its own node: %v", err)
	}
	if err := agent.Delete(t.Context(), ours); err != nil {
		t.Errorf("deleting its own node: %v", err)
	}
}

func connect(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1beta1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
