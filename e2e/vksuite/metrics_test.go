package vksuite

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/env"
)

const metricsPath = "/apis/metrics.k8s.io/v1beta1"

// metricsOf gives a cluster a metrics API that is served by the test: each container uses a tenth of a core and 10 MiB.
// metrics-server would have to read them from kubelets first, which kwok's are only in part.
func metricsOf(t *testing.T, c *env.Cluster) {
	t.Helper()
	routes := http.NewServeMux()
	routes.HandleFunc("GET "+metricsPath, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, &metav1.APIResourceList{
			TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
			GroupVersion: metricsv1beta1.SchemeGroupVersion.String(),
			APIResources: []metav1.APIResource{
				{Name: "pods", Namespaced: true, Kind: "PodMetrics", Verbs: metav1.Verbs{"get", "list"}},
			},
		})
	})
	const pods = "/namespaces/{namespace}/pods"
	routes.HandleFunc("GET "+metricsPath+pods, func(w http.ResponseWriter, r *http.Request) {
		var pods corev1.PodList
		if err := c.Client().List(r.Context(), &pods, client.InNamespace(r.PathValue("namespace"))); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		list := metricsv1beta1.PodMetricsList{TypeMeta: metav1.TypeMeta{
			Kind: "PodMetricsList", APIVersion: metricsv1beta1.SchemeGroupVersion.String(),
		}}
		for i := range pods.Items {
			list.Items = append(list.Items, usage(&pods.Items[i]))
		}
		answer(w, &list)
	})
	server := httptest.NewTLSServer(routes)
	t.Cleanup(server.Close)
	aggregate(t, c, server.Listener.Addr())
}

func answer(w http.ResponseWriter, obj any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(obj) // who does not get it complains
}

func usage(pod *corev1.Pod) metricsv1beta1.PodMetrics {
	m := metricsv1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		Timestamp:  metav1.Now(), Window: metav1.Duration{Duration: 10 * time.Second},
	}
	for _, container := range pod.Spec.Containers {
		used := corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("10Mi"),
		}
		m.Containers = append(m.Containers, metricsv1beta1.ContainerMetrics{Name: container.Name, Usage: used})
	}
	return m
}

// aggregate makes an API server pass the metrics API on to an address of this machine.
func aggregate(t *testing.T, c *env.Cluster, at net.Addr) {
	t.Helper()
	_, text, err := net.SplitHostPort(at.String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	create(t, c.Client(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "metrics"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": "v1beta1.metrics.k8s.io"},
		"spec": map[string]any{
			"group": "metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
			"groupPriorityMinimum": int64(100), "versionPriority": int64(100),
			"service": map[string]any{"namespace": metav1.NamespaceSystem, "name": "metrics", "port": port},
		},
	}})
	eventually(t, "the metrics API is served", func(ctx context.Context) error {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(metricsv1beta1.SchemeGroupVersion.WithKind("PodMetricsList"))
		return c.Client().List(ctx, list, client.InNamespace(namespace))
	})
}
