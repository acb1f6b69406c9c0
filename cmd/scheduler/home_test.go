package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	patience = 30 * time.Second
	poll     = 50 * time.Millisecond
)

// home is a home cluster on which schedulers run with the rights that the project ships.
type home struct {
	*testing.T
	client.Client
	plane *env.Cluster
}

func (h *home) with(t *testing.T) *home { return &home{t, h.Client, h.plane} }

// kubeconfig returns the file by which a scheduler that runs in a pod would be known.
func (h *home) kubeconfig() string {
	h.Helper()
	file := filepath.Join(h.TempDir(), "scheduler.kubeconfig")
	if err := h.plane.WriteKubeconfigFor(h.Context(), v1beta1.SystemNamespace, "scheduler", file); err != nil {
		h.Fatal(err)
	}
	return file
}

// permitted waits until the API server has heard of all roles and bindings of the scheduler, one right for each.
func (h *home) permitted() {
	h.Helper()
	for _, right := range []authorizationv1.ResourceAttributes{
		{Verb: "list", Resource: "nodes"},
		{Verb: "patch", Resource: "persistentvolumes"},
		{Verb: "watch", Group: v1beta1.GroupVersion.Group, Resource: "namespacemaps"},
		{Verb: "get", Resource: "configmaps", Namespace: "kube-system", Name: "extension-apiserver-authentication"},
		{
			Verb: "update", Group: "coordination.k8s.io", Resource: "leases",
			Namespace: "kube-system", Name: v1beta1.SchedulerName,
		},
	} {
		h.eventually(fmt.Sprintf("the scheduler may %s %s", right.Verb, right.Resource), func() string {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: account, Groups: []string{"system:authenticated"}, ResourceAttributes: &right,
			}}
			if err := h.Create(h.Context(), review); err != nil {
				return err.Error()
			}
			if !review.Status.Allowed {
				return "refused"
			}
			return ""
		})
	}
}

// kubeconfigOf returns the file of an admin who acts as somebody else.
func (h *home) kubeconfigOf(user string) string {
	h.Helper()
	config, err := clientcmd.LoadFromFile(h.plane.Kubeconfig)
	if err != nil {
		h.Fatal(err)
	}
	for _, info := range config.AuthInfos {
		info.Impersonate = user
	}
	raw, err := clientcmd.Write(*config)
	if err != nil {
		h.Fatal(err)
	}
	return write(h.T, "admin.kubeconfig", string(raw))
}

// serve starts our scheduler as its Deployment does, and returns the address where it serves.
func (h *home) serve(configuration string) string {
	h.Helper()
	kubeconfig, port := h.kubeconfig(), freePort(h.T)
	content := strings.Replace(configuration, "clientConnection:\n",
		"clientConnection:\n  kubeconfig: "+kubeconfig+"\n", 1)
	start(h.T, ours, "--config", write(h.T, "config.yaml", content), "--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig)
	address := fmt.Sprintf("https://127.0.0.1:%d", port)
	h.eventually("the scheduler is ready", func() string {
		code, body := h.get(address+"/readyz", &rest.Config{})
		if code == http.StatusOK {
			return ""
		}
		return fmt.Sprint(code, " ", body)
	})
	return address
}

// freePort is below the range from which outgoing connections get theirs.
func freePort(t *testing.T) int {
	t.Helper()
	const lowest, highest, tries = 20000, 32000, 100
	for range tries {
		port := lowest + rand.IntN(highest-lowest)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// get asks a scheduler, whose certificate is its own, with the credentials of a user.
func (h *home) get(url string, user *rest.Config) (int, string) {
	h.Helper()
	user.CAData, user.CAFile, user.Insecure = nil, "", true
	config, err := rest.TLSConfigFor(user)
	if err != nil {
		h.Fatal(err)
	}
	if config == nil {
		config = &tls.Config{}
	}
	config.InsecureSkipVerify = true
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// eventually waits until nothing is missing.
func (h *home) eventually(what string, missing func() string) {
	h.Helper()
	deadline := time.After(patience)
	for tick := time.NewTicker(poll); ; {
		last := missing()
		if last == "" {
			return
		}
		select {
		case <-deadline:
			h.Fatalf("never: %s; the last was %s", what, last)
		case <-tick.C:
		}
	}
}

func (h *home) create(objs ...client.Object) {
	h.Helper()
	for _, obj := range objs {
		if err := h.Create(context.Background(), obj); err != nil {
			h.Fatalf("create %T %s: %v", obj, obj.GetName(), err)
		}
	}
}

// node makes a node that is ready, also in the eyes of admission, which taints every new one.
func (h *home) node(node *corev1.Node, cpus string) {
	h.Helper()
	taints, status := node.Spec.Taints, node.Status.DeepCopy()
	h.create(node)
	node.Status = *status
	for _, list := range []corev1.ResourceList{node.Status.Capacity, node.Status.Allocatable} {
		list[corev1.ResourceCPU] = resource.MustParse(cpus)
	}
	if err := h.Status().Update(context.Background(), node); err != nil {
		h.Fatalf("update status of node %s: %v", node.Name, err)
	}
	node.Spec.Taints = taints
	if err := h.Update(context.Background(), node); err != nil {
		h.Fatalf("remove admission's taint from node %s: %v", node.Name, err)
	}
}

// namespace makes a namespace that pods can be created in.
func (h *home) namespace(b *build.NamespaceBuilder) {
	h.Helper()
	ns := b.Obj()
	h.create(ns, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "default"}})
}

// offload makes a namespace whose pods have to leave home, with a twin that is ready on a cluster.
func (h *home) offload(namespace, clusterID string) {
	h.Helper()
	h.namespace(build.Namespace(namespace).Label(v1beta1.LabelSchedulingEnabled, "true"))
	off := build.Offloading(namespace).Strategy(v1beta1.Remote).Obj()
	h.create(off)
	off.Status.OffloadingPhase = v1beta1.PhaseReady
	m := build.Map(clusterID).Obj()
	h.create(build.Namespace(m.Namespace).Obj(), m)
	patch := fmt.Sprintf(`{"status":{"currentMapping":{%q:{"remoteNamespace":%q,"phase":"Accepted"}}}}`,
		namespace, namespace)
	accepted := client.RawPatch(types.MergePatchType, []byte(patch))
	if err := h.Status().Patch(context.Background(), m, accepted); err != nil {
		h.Fatal(err)
	}
	if err := h.Status().Update(context.Background(), off); err != nil {
		h.Fatal(err)
	}
}

// runsOn waits until the pod is bound to one of the nodes.
func (h *home) runsOn(pod *corev1.Pod, nodes ...string) {
	h.Helper()
	h.eventually(fmt.Sprintf("pod %s/%s is on one of %q", pod.Namespace, pod.Name, nodes), func() string {
		if err := h.Get(context.Background(), client.ObjectKeyFromObject(pod), pod); err != nil {
			return err.Error()
		}
		if on := pod.Spec.NodeName; !slices.Contains(nodes, on) {
			return fmt.Sprintf("%q %s", on, refusal(pod))
		}
		return ""
	})
}

// waits waits until a scheduler has said why the pod has to wait.
func (h *home) waits(pod *corev1.Pod, why string) {
	h.Helper()
	h.eventually(fmt.Sprintf("pod %s/%s waits because %s", pod.Namespace, pod.Name, why), func() string {
		if err := h.Get(context.Background(), client.ObjectKeyFromObject(pod), pod); err != nil {
			return err.Error()
		}
		if said := refusal(pod); pod.Spec.NodeName != "" || !strings.Contains(said, why) {
			return fmt.Sprintf("%q %s", pod.Spec.NodeName, said)
		}
		return ""
	})
}

// refusal returns why the scheduler could not place the pod.
func refusal(pod *corev1.Pod) string {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return condition.Message
		}
	}
	return ""
}
