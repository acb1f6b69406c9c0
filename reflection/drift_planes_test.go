package reflection_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// repairWithin is how soon what others do to a copy is undone, while they do not do it again and again.
const repairWithin = 10 * time.Second

// mostRepairs is how often within a minute it is undone otherwise.
const mostRepairs = 5

func TestDriftAndConflictsBetweenAPIServers(t *testing.T) {
	t.Parallel()
	planes := env.Planes(t, 2)
	w := &world{t: t, home: planes[0], away: planes[1], pods: &pods{}, events: record.NewFakeRecorder(1000)}
	w.prepare()
	w.start()
	defer func() { w.stop() }()
	for _, story := range []struct {
		name string
		tell func(*world)
	}{
		{"R5 copies of every kind that others edit or delete are put right", (*world).everyKindDrifts},
		{"R5 what others add to a copy stays", (*world).notes},
		{"R5 who edits or deletes again and again is named, and outlasted", (*world).fought},
		{"R4 fifty objects of others keep their names and their resourceVersion", (*world).fiftyForeign},
		{"R4 a copy that lost our label is not ours any more", (*world).disowned},
		{"R4 what home no longer has does not take others' objects with it", (*world).foreignSurvives},
	} {
		t.Run(story.name, func(t *testing.T) {
			told := *w
			told.t = t
			story.tell(&told)
		})
	}
}

// every returns one object of each of the four kinds at home, by the name of its copy, and has a pod refer to the
// Secret.
func (w *world) every(home string) map[string]client.Object {
	w.pods.add(build.Pod("user").Namespace(home).Node("vn-1").Spec(func(s *corev1.PodSpec) {
		s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	}).Obj())
	pull := &corev1.Secret{Data: map[string][]byte{"k": []byte("v")}}
	pull.Namespace, pull.Name = home, "pull"
	return map[string]client.Object{
		"web": build.Service(home, "web"), "web-1." + origin: slice(home, "web-1", "10.9.0.1"),
		"settings": configMap(home, "settings", one("a", "1")), "pull": pull,
	}
}

// spoil changes what is ours of a copy.
func spoil(obj client.Object) {
	switch o := obj.(type) {
	case *corev1.Service:
		o.Spec.Selector = map[string]string{"app": "evil"}
	case *discoveryv1.EndpointSlice:
		o.Endpoints[0].Addresses = []string{"10.66.6.6"}
	case *corev1.ConfigMap:
		o.Data = one("a", "theirs")
	case *corev1.Secret:
		o.Data = map[string][]byte{"k": []byte("theirs")}
	}
}

// spoiled says whether a copy is still as spoil made it.
func spoiled(obj client.Object) bool {
	switch o := obj.(type) {
	case *corev1.Service:
		return o.Spec.Selector["app"] == "evil"
	case *discoveryv1.EndpointSlice:
		return o.Endpoints[0].Addresses[0] == "10.66.6.6"
	case *corev1.ConfigMap:
		return o.Data["a"] == "theirs"
	case *corev1.Secret:
		return string(o.Data["k"]) == "theirs"
	}
	return true
}

func (w *world) everyKindDrifts() {
	home, away := w.offload("every")
	copies := w.every(home)
	for _, obj := range copies { // in any order: a slice that comes before its Service has no copy until then
		w.create(w.home, obj)
	}
	for name, obj := range copies {
		eventually(w, obj, at(away, name), "created", func(client.Object) bool { return true })
	}
	for name, obj := range copies {
		change(w, w.away, obj, spoil)
		began := time.Now()
		eventually(w, obj, at(away, name), "put right", func(o client.Object) bool { return !spoiled(o) })
		if took := time.Since(began); took > repairWithin {
			w.t.Errorf("%s was put right after %v", name, took)
		}
		uid := obj.GetUID()
		w.delete(w.away, obj)
		began = time.Now()
		eventually(w, obj, at(away, name), "made again", func(o client.Object) bool { return o.GetUID() != uid })
		if took := time.Since(began); took > repairWithin {
			w.t.Errorf("%s was made again after %v", name, took)
		}
	}
	if problems := w.mirror.Problems(home); len(problems) > 0 {
		w.t.Errorf("what happened once is no problem: %v", problems)
	}
}

// Cloud controllers keep notes on objects.
func (w *world) notes() {
	home, away := w.offload("notes")
	src := configMap(home, "settings", one("a", "1"))
	w.create(w.home, src)
	copied := configMap(away, "settings", nil)
	eventually(w, copied, at(away, "settings"), "created", is("a", "1"))
	change(w, w.away, copied, func(c *corev1.ConfigMap) {
		c.Annotations["cloud.example/note"], c.Labels["cloud.example/seen"] = "mine", "yes"
	})
	change(w, w.home, src, func(c *corev1.ConfigMap) { c.Data = one("a", "2") })
	eventually(w, copied, at(away, "settings"), "changed", is("a", "2"))
	if copied.Annotations["cloud.example/note"] != "mine" || copied.Labels["cloud.example/seen"] != "yes" {
		w.t.Errorf("what others noted is gone: %v, %v", copied.Labels, copied.Annotations)
	}
}

// reported waits until there is a problem of an object, and returns it.
func (w *world) reported(home, name string) v1beta1.ReflectionProblem {
	w.t.Helper()
	var found v1beta1.ReflectionProblem
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, patience, true,
		func(context.Context) (bool, error) {
			for _, problem := range w.mirror.Problems(home) {
				if problem.Name == name {
					found = problem
					return true, nil
				}
			}
			return false, nil
		})
	if err != nil {
		w.t.Fatalf("no problem of %s: %v", name, w.mirror.Problems(home))
	}
	return found
}

func (w *world) fought() {
	home, away := w.offload("fought")
	audit, err := w.away.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	edited, deleted := configMap(away, "edited", nil), configMap(away, "deleted", nil)
	w.create(w.home, configMap(home, "edited", one("a", "1")), configMap(home, "deleted", one("a", "1")))
	eventually(w, edited, at(away, "edited"), "created", is("a", "1"))
	fight, stop := context.WithCancel(w.t.Context())
	defer stop()
	edits := make(chan error, 1)
	go func() { edits <- w.keepEditing(fight, at(away, "edited")) }()
	for range 6 {
		eventually(w, deleted, at(away, "deleted"), "there", is("a", "1"))
		w.delete(w.away, deleted)
	}
	for name, who := range map[string]string{"edited": "stubborn-operator", "deleted": "somebody keeps deleting it"} {
		problem := w.reported(home, name)
		if problem.Resource != "configmaps" || problem.Reason != v1beta1.ProblemConflict ||
			!strings.Contains(problem.Message, who) {
			w.t.Errorf("problem %+v", problem)
		}
	}
	events, err := audit.Events()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range []string{"edited", "deleted"} {
		repairs := written(events, away, name)
		repairs = repairs[min(1, len(repairs)):] // the first makes it
		if len(repairs) < mostRepairs {
			w.t.Errorf("%s was repaired %d times, and given up", name, len(repairs))
		}
		for i := mostRepairs; i < len(repairs); i++ {
			if within := repairs[i].Sub(repairs[i-mostRepairs]); within < time.Minute-time.Second {
				w.t.Errorf("%s was repaired %d times within %v", name, mostRepairs+1, within)
			}
		}
	}
	stop()
	if err := <-edits; err != nil {
		w.t.Fatal(err)
	}
	eventually(w, edited, at(away, "edited"), "put right in the end", is("a", "1"))
	eventually(w, deleted, at(away, "deleted"), "made again in the end", is("a", "1"))
}

// written returns when the agent wrote to a ConfigMap and was not refused, in order.
func written(events []auditv1.Event, namespace, name string) []time.Time {
	times := []time.Time{}
	for _, e := range events {
		ref := e.ObjectRef
		if e.User.Username != peer || !env.IsWrite(e) || ref == nil || e.ResponseStatus == nil {
			continue
		}
		if ref.Resource == "configmaps" && ref.Namespace == namespace && ref.Name == name &&
			e.ResponseStatus.Code < http.StatusMultipleChoices {
			times = append(times, e.RequestReceivedTimestamp.Time)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// keepEditing edits a copy whenever it is as home wants it, under a name of its own.
func (w *world) keepEditing(ctx context.Context, key client.ObjectKey) error {
	stubborn := client.FieldOwner("stubborn-operator")
	return client.IgnoreNotFound(ignoreEnd(wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true,
		func(ctx context.Context) (bool, error) {
			var live corev1.ConfigMap
			if err := w.away.Client().Get(ctx, key, &live); err != nil || live.Data["a"] == "theirs" {
				return false, ignoreEnd(err)
			}
			live.Data = one("a", "theirs")
			if err := w.away.Client().Update(ctx, &live, stubborn); !apierrors.IsConflict(err) {
				return false, ignoreEnd(err)
			}
			return false, nil
		})))
}

// ignoreEnd takes the end of a test's own doing for no error.
func ignoreEnd(err error) error {
	if err != nil && (wait.Interrupted(err) || strings.Contains(err.Error(), context.Canceled.Error())) {
		return nil
	}
	return err
}

func (w *world) fiftyForeign() {
	home, away := w.offload("fifty")
	versions := map[string]string{}
	for i := range 50 {
		theirs := configMap(away, fmt.Sprintf("taken-%02d", i), one("owner", "provider"))
		w.create(w.away, theirs)
		versions[theirs.Name] = theirs.ResourceVersion
		w.create(w.home, configMap(home, theirs.Name, one("owner", "home")))
	}
	for name := range versions {
		if problem := w.reported(home, name); problem.Reason != v1beta1.ProblemNameTaken {
			w.t.Errorf("problem %+v", problem)
		}
	}
	w.mirror.Refresh()
	w.create(w.home, configMap(home, "free", nil))
	eventually(w, &corev1.ConfigMap{}, at(away, "free"), "created", func(*corev1.ConfigMap) bool { return true })
	for name, version := range versions {
		eventually(w, &corev1.ConfigMap{}, at(away, name), "untouched", func(c *corev1.ConfigMap) bool {
			return c.ResourceVersion == version
		})
	}
	w.delete(w.away, configMap(away, "taken-07", nil))
	eventually(w, &corev1.ConfigMap{}, at(away, "taken-07"), "ours by itself", is("owner", "home"))
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, patience, true,
		func(context.Context) (bool, error) { return len(w.mirror.Problems(home)) == 49, nil })
	if err != nil {
		w.t.Errorf("%d problems", len(w.mirror.Problems(home)))
	}
}

func (w *world) disowned() {
	home, away := w.offload("disowned")
	src := configMap(home, "settings", one("a", "1"))
	w.create(w.home, src)
	copied := configMap(away, "settings", nil)
	eventually(w, copied, at(away, "settings"), "created", is("a", "1"))
	change(w, w.away, copied, func(c *corev1.ConfigMap) {
		delete(c.Labels, v1beta1.LabelOrigin)
		c.Data = one("a", "theirs")
	})
	version := copied.ResourceVersion
	if problem := w.reported(home, "settings"); problem.Reason != v1beta1.ProblemNameTaken {
		w.t.Errorf("problem %+v", problem)
	}
	w.delete(w.home, src)
	w.create(w.home, configMap(home, "last", nil))
	eventually(w, &corev1.ConfigMap{}, at(away, "last"), "created", func(*corev1.ConfigMap) bool { return true })
	eventually(w, copied, at(away, "settings"), "untouched", func(c *corev1.ConfigMap) bool {
		return c.ResourceVersion == version
	})
}

func (w *world) foreignSurvives() {
	home, away := w.offload("survivor")
	theirs := configMap(away, "settings", one("owner", "provider"))
	w.create(w.away, theirs)
	src := configMap(home, "settings", one("owner", "home"))
	w.create(w.home, src)
	w.reported(home, "settings")
	w.delete(w.home, src)
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, patience, true,
		func(context.Context) (bool, error) { return len(w.mirror.Problems(home)) == 0, nil })
	if err != nil {
		w.t.Errorf("problems of what is gone: %v", w.mirror.Problems(home))
	}
	eventually(w, &corev1.ConfigMap{}, at(away, "settings"), "untouched", func(c *corev1.ConfigMap) bool {
		return c.ResourceVersion == theirs.ResourceVersion
	})
}
