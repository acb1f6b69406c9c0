package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// TestStatsOnRealServers asks a provider with the rights that a peering leaves there.
func TestStatsOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.shop(t, "shop")
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home, away := s.running("web")
	figures := s.consumer()
	// Each time as if nobody had asked before.
	ask := func(path string) (int, string) {
		w := fetchStats(NewStats(p, figures), http.MethodGet, path)
		return w.Code, w.Body.String()
	}
	answers := func(what string, code int, says ...string) {
		t.Helper()
		s.eventually(what, func() error {
			got, body := ask("/metrics/resource")
			for _, want := range says {
				if got != code || !strings.Contains(body, want) {
					return fmt.Errorf("%d: %s", got, body)
				}
			}
			return nil
		})
	}
	answers("without a metrics server", http.StatusNotImplemented, "provider provider-1 serves no resource metrics")
	if err := s.planes[1].ServeMetrics(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers("without rights in the twin", http.StatusNotImplemented,
		"provider provider-1 does not let us read resource metrics")
	s.bindTwin()
	answers("before anything is measured", http.StatusOK,
		`container_cpu_usage_seconds_total{namespace="shop",pod="web",container="app"} 0`, "resource_scrape_error 0")

	foreign := build.Pod("foreign").Namespace(s.twin).Obj()
	must(t, s.away.CoreV1().Pods(s.twin).Create, foreign)
	s.measured(away.Name, "app", "smuggled")
	s.measured(foreign.Name, "app")
	answers("what is measured", http.StatusOK,
		`container_memory_working_set_bytes{namespace="shop",pod="web",container="app"} 67108864 `,
		`pod_memory_working_set_bytes{namespace="shop",pod="web"} 67108864 `,
		"node_memory_working_set_bytes 67108864 ")
	for _, path := range []string{"/metrics/resource", "/stats/summary"} {
		code, body := ask(path)
		if code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
		for _, stranger := range []string{"foreign", "smuggled", s.twin, string(away.UID)} {
			if strings.Contains(body, stranger) {
				t.Errorf("%s tells of %s:\n%s", path, stranger, body)
			}
		}
		if path == "/stats/summary" && (!strings.Contains(body, string(home.UID)) ||
			!strings.Contains(body, `"nodeName":"`+s.node()+`"`)) {
			t.Errorf("%s does not tell of the home pod and its Node:\n%s", path, body)
		}
	}

	s.deleteHome("web", nil)
	s.end(away)
	s.gone(s.homePod, home)
	s.eventually("a pod that is gone is told of no more", func() error {
		if _, body := ask("/stats/summary"); strings.Contains(body, "web") {
			return errors.New(body)
		}
		return nil
	})
}

// One twin that does not answer hides nothing of the others.
func TestStatsOfSomeTwins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, other := w.shop(t, "shop"), w.shop(t, "hidden")
	p, _ := s.agent(nil)
	p.Serve(other.node(), nil)
	for _, of := range []*shop{s, other} {
		p.TwinReady(of.ns, of.twin)
		_, away := of.running("web")
		if of == s {
			if err := s.planes[1].ServeMetrics(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		of.measured(away.Name, "app")
	}
	figures := s.consumer()
	s.bindTwin()
	stats := func() usage {
		u, err := NewStats(p, figures).usage(t.Context())
		if err != nil {
			t.Log(err)
		}
		return u
	}
	s.eventually("the rights in one twin", func() error {
		if u := stats(); len(u.pods) != 2 || !u.partial {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	got := map[string]bool{}
	for _, pod := range stats().pods {
		got[pod.namespace] = pod.containers[0].measured
	}
	if diff := cmp.Diff(map[string]bool{"shop": true, "hidden": false}, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	other.bindTwin()
	s.eventually("the rights in the other", func() error {
		if stats().partial {
			return errors.New("something is missing")
		}
		return nil
	})
}

// consumer returns a client of the provider that acts as our identity there, which has rights in no twin yet.
func (s *shop) consumer() metricsclient.Interface {
	s.Helper()
	tenant := v1beta1.TenantNamespace("home")
	if err := s.planes[1].Apply(s.Context(), "provider"); err != nil {
		s.Fatal(err)
	}
	must(s.T, s.away.CoreV1().Namespaces().Create, build.Namespace(tenant).Obj())
	must(s.T, s.away.CoreV1().ServiceAccounts(tenant).Create,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.PeerServiceAccount}})
	config, err := s.planes[1].ConfigFor(s.Context(), tenant, v1beta1.PeerServiceAccount)
	if err != nil {
		s.Fatal(err)
	}
	out, err := metricsclient.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// bindTwin gives our identity the role that it gives itself in a twin.
func (s *shop) bindTwin() {
	s.Helper()
	must(s.T, s.away.RbacV1().RoleBindings(s.twin).Create, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: v1beta1.TwinRole},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: v1beta1.TwinRole},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: v1beta1.TenantNamespace("home"),
			Name: v1beta1.PeerServiceAccount,
		}},
	})
}

// measured writes what a metrics server would say of a pod's containers.
func (s *shop) measured(pod string, containers ...string) {
	s.Helper()
	scheme := runtime.NewScheme()
	if err := metricsv1beta1.AddToScheme(scheme); err != nil {
		s.Fatal(err)
	}
	metrics := &metricsv1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.twin, Name: pod},
		Timestamp:  metav1.NewTime(time.Now().Add(time.Minute)), Window: metav1.Duration{Duration: 15 * time.Second},
	}
	for _, c := range containers {
		metrics.Containers = append(metrics.Containers, metricsv1beta1.ContainerMetrics{
			Name: c, Usage: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
			},
		})
	}
	s.eventually("metrics are served", func() error {
		c, err := client.New(s.planes[1].Config(), client.Options{Scheme: scheme})
		if err != nil {
			return err
		}
		return c.Create(s.Context(), metrics.DeepCopy())
	})
}
