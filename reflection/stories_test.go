package reflection_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// R1, R2, R6, R8 for the four kinds.
func (w *world) fourKinds() {
	home, away := w.offload("four")
	service, endpoints := build.Service(home, "web"), slice(home, "web-abc", "10.9.0.1")
	settings := configMap(home, "settings", one("a", "1"))
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "pull"}, Data: map[string][]byte{"k": []byte("v")},
	}
	root := configMap(home, "kube-root-ca.crt", one("ca.crt", "home's"))
	w.create(w.away, configMap(away, "kube-root-ca.crt", one("ca.crt", "the provider's")))
	w.create(w.home, service, endpoints, settings, secret, root)

	eventually(w, &corev1.Service{}, at(away, "web"), "created with its own address", func(s *corev1.Service) bool {
		return s.Spec.ClusterIP != "" && s.Spec.ClusterIP != service.Spec.ClusterIP && s.Spec.Selector["app"] == "web"
	})
	const copied = "web-abc.consumer"
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, copied), "created", func(s *discoveryv1.EndpointSlice) bool {
		return *s.Endpoints[0].NodeName == origin &&
			s.Labels[discoveryv1.LabelManagedBy] == v1beta1.EndpointSliceManagedBy
	})
	eventually(w, &corev1.ConfigMap{}, at(away, "settings"), "created", is("a", "1"))
	eventually(w, &corev1.ConfigMap{}, at(away, "kube-root-ca.crt.consumer"), "created", is("ca.crt", "home's"))
	eventually(w, &corev1.ConfigMap{}, at(away, "kube-root-ca.crt"), "the provider's", is("ca.crt", "the provider's"))
	hidden := client.ObjectKey{Namespace: away, Name: "pull"}
	if err := w.away.Client().Get(w.t.Context(), hidden, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		w.t.Error("a Secret left that nobody refers to")
	}
	w.pods.add(build.Pod("web").Namespace(home).Node("vn-1").Spec(func(s *corev1.PodSpec) {
		s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	}).Obj())
	eventually(w, &corev1.Secret{}, at(away, "pull"), "created", holds("v"))

	change(w, w.home, service, func(s *corev1.Service) { s.Spec.Ports[0].Port = 81 })
	change(w, w.home, endpoints, func(s *discoveryv1.EndpointSlice) { s.Endpoints[0].Conditions.Ready = ptr.To(false) })
	change(w, w.home, settings, func(c *corev1.ConfigMap) { c.Data = one("b", "2") })
	change(w, w.home, secret, func(s *corev1.Secret) { s.Data["k"] = []byte("new") })
	eventually(w, &corev1.Service{}, at(away, "web"), "changed", func(s *corev1.Service) bool {
		return s.Spec.Ports[0].Port == 81
	})
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, copied), "changed", func(s *discoveryv1.EndpointSlice) bool {
		return !*s.Endpoints[0].Conditions.Ready
	})
	eventually(w, &corev1.ConfigMap{}, at(away, "settings"), "changed", func(c *corev1.ConfigMap) bool {
		return cmp.Equal(one("b", "2"), c.Data)
	})
	eventually(w, &corev1.Secret{}, at(away, "pull"), "changed", holds("new"))

	w.delete(w.home, service, endpoints, settings, secret)
	w.eventuallyGone(&corev1.Service{}, away, "web")
	w.eventuallyGone(&discoveryv1.EndpointSlice{}, away, copied)
	w.eventuallyGone(&corev1.ConfigMap{}, away, "settings")
	w.eventuallyGone(&corev1.Secret{}, away, "pull")
}

func holds(value string) func(*corev1.Secret) bool {
	return func(s *corev1.Secret) bool { return string(s.Data["k"]) == value }
}

// R4: untouched, an event says so, and the copy appears when the name is free.
func (w *world) foreign() {
	home, away := w.offload("theirs")
	there := configMap(away, "taken", one("owner", "provider"))
	w.create(w.away, there)
	version := there.ResourceVersion
	w.create(w.home, configMap(home, "taken", one("owner", "home")), configMap(home, "free", nil))
	eventually(w, &corev1.ConfigMap{}, at(away, "free"), "created", func(*corev1.ConfigMap) bool { return true })
	select {
	case event := <-w.events.Events:
		if !strings.Contains(event, "FailedReflection") || !strings.Contains(event, "not ours") {
			w.t.Errorf("the event says %q", event)
		}
	case <-time.After(patience):
		w.t.Error("no event")
	}
	w.mirror.Refresh()
	w.delete(w.home, configMap(home, "free", nil))
	w.eventuallyGone(&corev1.ConfigMap{}, away, "free")
	if err := w.away.Client().Get(w.t.Context(), client.ObjectKeyFromObject(there), there); err != nil {
		w.t.Fatal(err)
	}
	if there.ResourceVersion != version {
		w.t.Errorf("it was touched: %+v", there)
	}
	w.delete(w.away, there)
	w.mirror.Refresh()
	eventually(w, &corev1.ConfigMap{}, at(away, "taken"), "created", is("owner", "home"))
}

// R5: edited, deleted.
func (w *world) drift() {
	home, away := w.offload("drift")
	w.create(w.home, configMap(home, "settings", one("a", "1")), build.Service(home, "web"))
	copied := configMap(away, "settings", nil)
	eventually(w, copied, at(away, "settings"), "created", is("a", "1"))
	change(w, w.away, copied, func(c *corev1.ConfigMap) { c.Data = one("a", "theirs") })
	eventually(w, copied, at(away, "settings"), "put right", is("a", "1"))
	uid := copied.UID
	w.delete(w.away, copied)
	eventually(w, copied, at(away, "settings"), "made again", func(c *corev1.ConfigMap) bool {
		return c.UID != uid && c.Data["a"] == "1"
	})
	service := build.Service(away, "web")
	eventually(w, service, at(away, "web"), "created", func(*corev1.Service) bool { return true })
	change(w, w.away, service, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "evil"} })
	eventually(w, service, at(away, "web"), "put right", func(s *corev1.Service) bool {
		return s.Spec.Selector["app"] == "web"
	})
}

// R9: many keys, a megabyte, long names, labels at their limit.
func (w *world) large() {
	home, away := w.offload("large")
	keys := map[string]string{}
	for i := range 30_000 {
		keys[fmt.Sprintf("key-%d", i)] = "x"
	}
	name := strings.Repeat("n", 253)
	full := configMap(home, name, one("mib", strings.Repeat("x", 1<<20-3)))
	full.Labels = map[string]string{strings.Repeat("l", 63): strings.Repeat("v", 63)}
	endpoints := slice(home, strings.Repeat("s", 253), "10.9.0.1")
	w.create(w.home, configMap(home, "keys", keys), full, build.Service(home, "web"), endpoints)
	eventually(w, &corev1.ConfigMap{}, at(away, "keys"), "created", is("key-29999", "x"))
	eventually(w, &corev1.ConfigMap{}, at(away, name), "created", func(c *corev1.ConfigMap) bool {
		return len(c.Data["mib"]) == 1<<20-3 && len(c.Labels[strings.Repeat("l", 63)]) == 63
	})
	change(w, w.home, configMap(home, "keys", nil), func(c *corev1.ConfigMap) { c.Data["key-29999"] = "y" })
	eventually(w, &corev1.ConfigMap{}, at(away, "keys"), "changed", is("key-29999", "y"))
	list := &discoveryv1.EndpointSliceList{}
	if err := w.away.Client().List(w.t.Context(), list, client.InNamespace(away)); err != nil {
		w.t.Fatal(err)
	}
	for _, got := range list.Items {
		if len(got.Name) != 253 || !strings.HasSuffix(got.Name, "."+origin) {
			w.t.Errorf("the copy of a long name is called %s", got.Name)
		}
	}
	if len(list.Items) != 1 {
		w.t.Errorf("want one slice, got %d", len(list.Items))
	}
}

// R9: the API server refuses these changes.
func (w *world) immutable() {
	home, away := w.offload("frozen")
	settings := configMap(home, "settings", one("a", "1"))
	settings.Immutable = ptr.To(true)
	service := build.Service(home, "web")
	service.Spec.ClusterIP = corev1.ClusterIPNone
	w.create(w.home, settings, service)
	eventually(w, &corev1.ConfigMap{}, at(away, "settings"), "created", is("a", "1"))
	eventually(w, &corev1.Service{}, at(away, "web"), "headless", func(s *corev1.Service) bool {
		return s.Spec.ClusterIP == "None"
	})

	w.delete(w.home, settings, service)
	again := configMap(home, "settings", one("a", "2"))
	named := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "web"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "db.example"},
	}
	w.create(w.home, again, named)
	eventually(w, &corev1.ConfigMap{}, at(away, "settings"), "replaced", is("a", "2"))
	eventually(w, &corev1.Service{}, at(away, "web"), "replaced", func(s *corev1.Service) bool {
		return s.Spec.ExternalName == "db.example" && s.Spec.ClusterIP == ""
	})
	w.delete(w.home, named)
	ports := build.Service(home, "web")
	ports.Spec.Type = corev1.ServiceTypeNodePort
	w.create(w.home, ports)
	eventually(w, &corev1.Service{}, at(away, "web"), "open on nodes", func(s *corev1.Service) bool {
		return s.Spec.Type == corev1.ServiceTypeNodePort && s.Spec.Ports[0].NodePort != 0
	})
	change(w, w.home, ports, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
	eventually(w, &corev1.Service{}, at(away, "web"), "closed on nodes", func(s *corev1.Service) bool {
		return s.Spec.Type == corev1.ServiceTypeClusterIP && s.Spec.Ports[0].NodePort == 0
	})
}

// R3: nobody writes after a restart, on resync, or for what is not reflected.
func (w *world) restart() {
	home, away := w.offload("steady")
	var objs []client.Object
	for i := range 20 {
		service := build.Service(home, fmt.Sprintf("web-%d", i))
		endpoints := build.EndpointSlice(home, fmt.Sprintf("web-%d", i), service.Name, "worker-1", "10.9.0.1")
		objs = append(objs, service, endpoints, configMap(home, fmt.Sprintf("settings-%d", i), one("a", "1")))
	}
	w.create(w.home, objs...)
	eventually(w, &corev1.ConfigMap{}, at(away, "settings-19"), "created", is("a", "1"))
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, "web-19.consumer"), "created",
		func(*discoveryv1.EndpointSlice) bool { return true })
	w.settled()
	audit, err := w.away.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	w.stop()
	w.start()
	w.mirror.TwinReady(home, away)
	service := build.Service(home, "web-0")
	if err := w.home.Client().Get(w.t.Context(), client.ObjectKeyFromObject(service), service); err != nil {
		w.t.Fatal(err)
	}
	service.Status.Conditions = []metav1.Condition{{
		Type: "Seen", Status: metav1.ConditionTrue, Reason: "Test", LastTransitionTime: metav1.Now(),
	}}
	if err := w.home.Client().Status().Update(w.t.Context(), service); err != nil {
		w.t.Fatal(err)
	}
	w.create(w.home, configMap(home, "last", nil))
	eventually(w, &corev1.ConfigMap{}, at(away, "last"), "created", func(*corev1.ConfigMap) bool { return true })
	w.settled()
	writes := w.audited(audit, func(user string, write bool) bool { return user == peer && write })
	if diff := cmp.Diff([]string{"create configmaps steady-consumer/last 201"}, writes); diff != "" {
		w.t.Errorf("writes after a restart, -want,+got:\n%s", diff)
	}
}

// settled waits until the peer has asked for nothing for a second.
func (w *world) settled() {
	w.t.Helper()
	audit, err := w.away.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	quiet := time.NewTimer(patience)
	defer quiet.Stop()
	for {
		select {
		case <-quiet.C:
			w.t.Fatal("it does not come to rest")
		case <-time.After(time.Second):
		}
		if len(w.audited(audit, func(user string, _ bool) bool { return user == peer })) == 0 {
			return
		}
		if audit, err = w.away.Audit(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// R13: un-offload, then offload again.
func (w *world) again() {
	home, away := w.offload("again")
	w.create(w.home, configMap(home, "before", nil))
	eventually(w, &corev1.ConfigMap{}, at(away, "before"), "created", func(*corev1.ConfigMap) bool { return true })
	w.mirror.TwinLeaving(home)
	w.settled()
	audit, err := w.away.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	w.create(w.home, configMap(home, "meanwhile", nil))
	w.delete(w.home, configMap(home, "before", nil))
	w.settled()
	if did := w.audited(audit, func(user string, write bool) bool { return user == peer && write }); len(did) > 0 {
		w.t.Errorf("it was written into: %v", did)
	}
	w.mirror.TwinGone(home)
	w.mirror.TwinReady(home, away)
	eventually(w, &corev1.ConfigMap{}, at(away, "meanwhile"), "created", func(*corev1.ConfigMap) bool { return true })
	w.eventuallyGone(&corev1.ConfigMap{}, away, "before")
}
