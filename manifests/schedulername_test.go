package manifests_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// TestSchedulerName asks an API server with the flags that the component needs which pods get our scheduler's name.
func TestSchedulerName(t *testing.T) {
	home := env.Start(t, env.Options{Bare: true, APIServer: []string{
		"--feature-gates=MutatingAdmissionPolicy=true", "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
	}}).Consumer()
	kubectl(t, home, "apply", "--server-side", "-k", "overlays/scheduler-name")
	t.Run("the component for 1.36 differs in its version only", func(t *testing.T) { sameButVersion(t, home) })

	c := home.Client()
	create := func(objs ...client.Object) {
		t.Helper()
		for _, obj := range objs {
			if err := client.IgnoreAlreadyExists(c.Create(t.Context(), obj)); err != nil {
				t.Fatal(err)
			}
		}
	}
	create(
		build.Namespace("shop").Label(v1beta1.LabelSchedulingEnabled, "true").Obj(),
		build.Namespace("recalled").Label(v1beta1.LabelSchedulingEnabled, "false").Obj(),
		build.Namespace("plain").Obj(),
		&nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "sandbox"}, Handler: "sandbox"},
	)
	for _, ns := range []string{"shop", "recalled", "plain", "kube-system"} {
		create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "default"}})
	}
	scheduler := func(t *testing.T, pod *corev1.Pod) string {
		t.Helper()
		pod = pod.DeepCopy()
		if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
		return pod.Spec.SchedulerName
	}
	inForce := func(pod *corev1.Pod) {
		t.Helper()
		err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true,
			func(ctx context.Context) (bool, error) { return scheduler(t, pod) == v1beta1.SchedulerName, ctx.Err() })
		if err != nil {
			t.Fatal("the policy did not come into force")
		}
	}
	// One for each that the API server has to hear of: the policy, and the label of a namespace.
	inForce(build.Pod("web").Namespace("plain").RuntimeClass(v1beta1.RuntimeClass).Obj())
	inForce(build.Pod("web").Namespace("shop").Obj())

	const theirs = corev1.DefaultSchedulerName
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"offloaded namespace": {build.Pod("web").Namespace("shop").Obj(), v1beta1.SchedulerName},
		"offloaded namespace, class liqo": {
			build.Pod("web").Namespace("shop").RuntimeClass(v1beta1.RuntimeClass).Obj(), v1beta1.SchedulerName,
		},
		"class liqo, as where the strategy is Local": {
			build.Pod("web").Namespace("plain").RuntimeClass(v1beta1.RuntimeClass).Obj(), v1beta1.SchedulerName,
		},
		"pod of a DaemonSet in an offloaded namespace": {daemon("shop"), v1beta1.SchedulerName},
		"ordinary namespace":                           {build.Pod("web").Namespace("plain").Obj(), theirs},
		"pod of a DaemonSet in an ordinary namespace":  {daemon("plain"), theirs},
		"another class in an ordinary namespace": {
			build.Pod("web").Namespace("plain").RuntimeClass("sandbox").Obj(), theirs,
		},
		"label with another value": {build.Pod("web").Namespace("recalled").Obj(), theirs},
		"the cluster's own namespace": {
			build.Pod("web").Namespace("kube-system").RuntimeClass(v1beta1.RuntimeClass).Obj(), theirs,
		},
		"bound when it is created": {build.Pod("web").Namespace("shop").Node("worker").Obj(), theirs},
		"another scheduler is chosen": {
			build.Pod("web").Namespace("shop").Spec(func(s *corev1.PodSpec) { s.SchedulerName = "batch" }).Obj(),
			"batch",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := scheduler(t, test.pod); got != test.want {
				t.Errorf("scheduler %q, want %q", got, test.want)
			}
		})
	}
}

// daemon is a pod as the DaemonSet controller makes it, for one node.
func daemon(namespace string) *corev1.Pod {
	pod := build.Pod("daemon").Namespace(namespace).Spec(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
					Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"worker"},
				}}}},
			},
		}}
	}).Obj()
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "DaemonSet", Name: "daemon", UID: "1", Controller: ptr.To(true),
	}}
	return pod
}

func sameButVersion(t *testing.T, home *env.Cluster) {
	want, err := os.ReadFile(filepath.Join("components", "scheduler-name", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const beta, stable = "admissionregistration.k8s.io/v1beta1\n", "admissionregistration.k8s.io/v1\n"
	got := kubectl(t, home, "kustomize", "testdata/scheduler-name-v1")
	if !bytes.Contains(got, []byte(stable)) || bytes.Contains(got, []byte(beta)) {
		t.Errorf("its versions:\n%s", got)
	}
	stabilized := []byte(strings.ReplaceAll(string(want), beta, stable))
	if diff := cmp.Diff(documents(t, stabilized), documents(t, got)); diff != "" {
		t.Errorf("(-scheduler-name,+scheduler-name-v1):\n%s", diff)
	}
}

// documents returns the objects of a YAML stream.
func documents(t *testing.T, content []byte) []map[string]any {
	t.Helper()
	var out []map[string]any
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096); ; {
		var object map[string]any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, object)
	}
}
