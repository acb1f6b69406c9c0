package reflection_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/reflection"
	"github.com/twinspace/twinspace/reflection/remote"
)

func TestEventsBetweenAPIServers(t *testing.T) {
	t.Parallel()
	planes := env.Planes(t, 2)
	w := &world{t: t, home: planes[0], away: planes[1], pods: &pods{}, events: record.NewFakeRecorder(1000)}
	w.prepare()
	w.create(w.home, everywhere("liqo-virtual-kubelet", v1beta1.TenantNamespace(destination),
		v1beta1.AgentServiceAccount))
	w.create(w.away, everywhere("liqo-peer-cluster", v1beta1.TenantNamespace(origin), v1beta1.PeerServiceAccount))
	w.start()
	defer func() { w.stop() }()
	for _, scope := range []reflection.Scope{reflection.ScopeNamespace, reflection.ScopeCluster} {
		t.Run("scope "+string(scope), func(t *testing.T) {
			told := *w
			told.t = t
			(&eventWorld{world: &told, scope: scope}).story()
		})
	}
}

// everywhere binds a role to an account in all namespaces.
func everywhere(role, namespace, name string) client.Object {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}},
	}
}

// eventWorld is a world with Events beside the Mirror.
type eventWorld struct {
	*world
	scope      reflection.Scope
	home, away string // namespaces
	n          int
}

// story tells of events from the first to those after a restart.
func (w *eventWorld) story() {
	w.home, w.away = w.offload("events-" + string(w.scope))
	settings, ca := &corev1.ConfigMap{}, &corev1.ConfigMap{}
	w.create(w.world.home, configMap(w.home, "settings", one("a", "1")))
	w.create(w.world.away, configMap(w.away, "theirs", one("a", "1")))
	theirs := &corev1.ConfigMap{}
	eventually(w.world, settings, at(w.away, "settings"), "there", is("a", "1"))
	eventually(w.world, theirs, at(w.away, "theirs"), "there", is("a", "1"))
	w.create(w.world.home, configMap(w.home, "kube-root-ca.crt", one("ca.crt", "x")))
	eventually(w.world, ca, at(w.away, "kube-root-ca.crt."+origin), "there", is("ca.crt", "x"))
	stop := w.tell()

	first := w.happens(settings, "Mounted", "mounted "+w.away+"/settings")
	w.happens(theirs, "Mounted", "somebody else's")
	w.happens(ca, "Mounted", "mounted the authority")
	w.told(map[string]int32{
		"settings Mounted provider-1: mounted " + w.home + "/settings": 1,
		"kube-root-ca.crt Mounted provider-1: mounted the authority":   1,
	})
	again := first.DeepCopy()
	again.Count, again.LastTimestamp = 4, metav1.Now()
	if err := w.world.away.Client().Patch(w.t.Context(), again, client.MergeFrom(first)); err != nil {
		w.t.Fatal(err)
	}
	want := map[string]int32{
		"settings Mounted provider-1: mounted " + w.home + "/settings": 4,
		"kube-root-ca.crt Mounted provider-1: mounted the authority":   1,
	}
	w.told(want)
	w.rightObject("kube-root-ca.crt")

	stop()
	w.happens(settings, "Unmounted", "while nobody looked")
	w.flood(theirs, 1100) // more than a page
	audit, err := w.world.home.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	defer w.tell()()
	w.happens(settings, "Mounted", "after the restart")
	want["settings Unmounted provider-1: while nobody looked"] = 1
	want["settings Mounted provider-1: after the restart"] = 1
	w.told(want)
	var writes []string
	agent := "system:serviceaccount:" + v1beta1.TenantNamespace(destination) + ":" + v1beta1.AgentServiceAccount
	events, err := audit.Events()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if e.User.Username == agent && env.IsWrite(e) && e.ObjectRef.Resource == "events" {
			writes = append(writes, e.Verb)
		}
	}
	if diff := cmp.Diff([]string{"create", "create"}, writes); diff != "" {
		w.t.Errorf("writes at home after a restart (-want,+got)\n%s", diff)
	}
}

// tell runs Events as a process would, until the returned function is called.
func (w *eventWorld) tell() (stop func()) {
	w.t.Helper()
	cluster, err := remote.New(w.provider, remote.Options{UserAgent: "events-test"})
	if err != nil {
		w.t.Fatal(err)
	}
	away, err := reflection.NewClient(cluster.Config(), cluster.HTTPClient())
	if err != nil {
		w.t.Fatal(err)
	}
	home, err := reflection.NewClient(w.agent, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	metrics, err := reflection.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	events, err := reflection.NewEvents(reflection.EventsOptions{
		Origin: origin, Destination: destination, Home: home, Away: away, Metrics: metrics, Scope: w.scope,
		Subjects: []reflection.Subjects{w.mirror},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(log.IntoContext(context.Background(), logr.Discard()))
	var running sync.WaitGroup
	running.Go(func() { _ = events.Start(ctx) })
	events.TwinReady(w.home, w.away)
	return func() {
		cancel()
		running.Wait()
	}
}

// happens puts an event about an object on the provider, as a component there would.
func (w *eventWorld) happens(about *corev1.ConfigMap, reason, message string) *corev1.Event {
	w.t.Helper()
	w.n++
	event := w.event(about, fmt.Sprintf("%s.%d", about.Name, w.n), reason, message)
	w.create(w.world.away, event)
	return event
}

func (w *eventWorld) event(about *corev1.ConfigMap, name, reason, message string) *corev1.Event {
	now := metav1.Now()
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: about.Namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "ConfigMap", Namespace: about.Namespace, Name: about.Name, UID: about.UID,
		},
		Type: corev1.EventTypeNormal, Reason: reason, Message: message, Count: 1,
		FirstTimestamp: now, LastTimestamp: now, Source: corev1.EventSource{Component: "kubelet"},
	}
}

// flood makes many events about an object.
func (w *eventWorld) flood(about *corev1.ConfigMap, n int) {
	w.t.Helper()
	var running sync.WaitGroup
	errs := make(chan error, n)
	for lane := range 8 {
		running.Go(func() {
			for i := lane; i < n; i += 8 {
				event := w.event(about, fmt.Sprintf("flood.%d", i), "Flood", "flood")
				errs <- w.world.away.Client().Create(w.t.Context(), event)
			}
		})
	}
	running.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// told waits until the events at home that are from us are these: object, reason and message -> count.
func (w *eventWorld) told(want map[string]int32) {
	w.t.Helper()
	var got map[string]int32
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, patience, true,
		func(context.Context) (bool, error) {
			got = map[string]int32{}
			for _, event := range w.atHome() {
				got[event.InvolvedObject.Name+" "+event.Reason+" "+event.Message] += event.Count
			}
			return cmp.Equal(want, got), nil
		})
	if err != nil {
		w.t.Fatalf("told at home (-want,+got)\n%s", cmp.Diff(want, got))
	}
}

func (w *eventWorld) atHome() []corev1.Event {
	w.t.Helper()
	var list corev1.EventList
	if err := w.world.home.Client().List(w.t.Context(), &list, client.InNamespace(w.home)); err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(e corev1.Event) bool { return e.Source.Component != "virtual-kubelet" })
}

// rightObject checks that what is told of an object carries its UID, by which kubectl describe finds it.
func (w *eventWorld) rightObject(name string) {
	w.t.Helper()
	var obj corev1.ConfigMap
	if err := w.world.home.Client().Get(w.t.Context(), at(w.home, name), &obj); err != nil {
		w.t.Fatal(err)
	}
	got := map[types.UID]bool{}
	for _, event := range w.atHome() {
		if event.InvolvedObject.Name == name {
			got[event.InvolvedObject.UID] = true
		}
	}
	if diff := cmp.Diff(map[types.UID]bool{obj.UID: true}, got); diff != "" {
		w.t.Errorf("events about %s (-want,+got)\n%s", name, diff)
	}
}
