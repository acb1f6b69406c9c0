package env

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
)

// asAlias returns a client of the cluster as home sees it, which speaks protobuf as our components do.
func asAlias(t *testing.T, e *Env, n int) *kubernetes.Clientset {
	t.Helper()
	a := Alias{Name: AliasName(n), Cluster: e.Providers()[0], HomeID: homeIDOf(n), number: n}
	server, err := e.disguise(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	file := a.Cluster.path(a.Name + suffixKubeconfig)
	if err := a.Cluster.writeAdminKubeconfig(file, server); err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ContentType, cfg.Timeout = "application/vnd.kubernetes.protobuf", time.Minute
	return kubernetes.NewForConfigOrDie(cfg)
}

// One API server is two to home, and home is two to it.
func TestAliasesOfAnAPIServerAreApart(t *testing.T) {
	const label = "origin"
	e := Start(t, Options{Providers: 1, Bare: true})
	uids := map[types.UID]bool{}
	for n := 1; n <= 2; n++ {
		c := asAlias(t, e, n)
		system, err := c.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		uids[system.UID] = true
		selector := metav1.ListOptions{LabelSelector: label + "=" + homeIDOf(0)}
		watch, err := c.CoreV1().Namespaces().Watch(t.Context(), selector)
		if err != nil {
			t.Fatal(err)
		}
		twin := build.Namespace("shop-"+homeIDOf(0)).Label(label, homeIDOf(0)).Obj()
		if _, err := c.CoreV1().Namespaces().Create(t.Context(), twin, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		seen, ok := (<-watch.ResultChan()).Object.(*corev1.Namespace)
		if !ok || seen.Name != twin.Name || seen.Labels[label] != homeIDOf(0) {
			t.Errorf("alias %d sees %v", n, seen)
		}
		watch.Stop()
		all, err := c.CoreV1().Namespaces().List(t.Context(), selector)
		if err != nil || len(all.Items) != 1 {
			t.Errorf("alias %d has %v, %v", n, all.Items, err)
		}
	}
	if len(uids) != 2 {
		t.Errorf("two aliases are %v", uids)
	}
	var real corev1.NamespaceList
	if err := e.Providers()[0].Client().List(t.Context(), &real, client.HasLabels{label}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for i := range real.Items {
		got[real.Items[i].Name] = real.Items[i].Labels[label]
	}
	want := map[string]string{"shop-borrower-01": "borrower-01", "shop-borrower-02": "borrower-02"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in truth there are (-want,+got)\n%s", diff)
	}
}
