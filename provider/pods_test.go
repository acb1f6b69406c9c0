package provider

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/provider/translate"
)

// One pair of API servers serves all cases; each has a namespace of its own.
func TestPodsOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]func(*shop){
		"a pod starts with one write on each side":         testStart,
		"a deleted pod leaves after its remote pod":        testDelete,
		"a pod that is deleted before it is created":       testDeleteEarly,
		"a force-deleted pod's remote pod goes at once":    testForceDelete,
		"after a restart orphans go and others stay":       testRestart,
		"a pod created before a crash is adopted":          testAdopt,
		"a foreign pod of the same name is left alone":     testForeign,
		"a successor waits for its predecessor":            testSuccessor,
		"a pod that the provider deletes has failed":       testDeletedByProvider,
		"a pod fails with its twin":                        testTwinGone,
		"a recreated twin is told from a deleted pod":      testTwinRecreated,
		"a refusal is told in the provider's words":        testRefused,
		"a pod that may not run here says why":             testNotAdmitted,
		"a pod that the provider has no room for says why": testDoesNotFit,
		"a pod waits for its twin":                         testTwinLate,
		"a pod waits for what its environment refers to":   testLacks,
		"a finished pod stays finished":                    testFinished,
		"an unreachable provider makes pods not ready":     testUnreachable,
		"a provider that throttles or breaks fails no pod": testTroubles,
		"a pod goes although the watch of its twin is cut": testCutWatch,
		"a lost watch of a deletion is made good":          testMissedDeletion,
		"what is said of a remote pod is about its own":    testSubjects,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(w.shop(t, fmt.Sprintf("shop-%02d", shops.Add(1))))
		})
	}
}

var shops atomic.Int32

func testStart(s *shop) {
	var audits []*env.Audit
	for _, plane := range s.planes {
		audit, err := plane.Audit()
		if err != nil {
			s.Fatal(err)
		}
		audits = append(audits, audit)
	}
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home, away := s.runningWithin(settle)
	if away.Spec.NodeName != "" || ptr.Deref(away.Spec.AutomountServiceAccountToken, true) {
		s.Errorf("the remote pod is not translated: %+v", away.Spec)
	}
	if home.Status.HostIP != "192.0.2.1" || home.Status.PodIP != "10.9.0.1" || !home.Status.ContainerStatuses[0].Ready {
		s.Errorf("the status did not come back whole: %+v", home.Status)
	}
	s.never("a steady pod is written to", func() error {
		got, err := s.homePod(home.Name)
		if err == nil && got.ResourceVersion != home.ResourceVersion {
			return fmt.Errorf("resource version %s, was %s", got.ResourceVersion, home.ResourceVersion)
		}
		return err
	})
	want := []string{"patch pods/status", "create pods/"}
	for i, audit := range audits {
		recorded, err := audit.Events()
		if err != nil {
			s.Fatal(err)
		}
		var got []string
		for _, e := range recorded {
			ours := e.ObjectRef != nil && strings.HasPrefix(e.ObjectRef.Namespace, s.ns) &&
				e.ObjectRef.Name == home.Name
			if ours && env.IsWrite(e) && e.UserAgent == agentName {
				got = append(got, e.Verb+" "+e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource)
			}
		}
		if diff := cmp.Diff([]string{want[i]}, got); diff != "" {
			s.Errorf("writes on plane %d, -want,+got:\n%s", i, diff)
		}
	}
}

// runningWithin is running for a pod whose kubelet was as quick as that: home may hear in between of a slower one.
func (s *shop) runningWithin(limit time.Duration) (home, away *corev1.Pod) {
	s.Helper()
	for attempt := range 10 {
		began := time.Now()
		home, away = s.running(fmt.Sprintf("web-%d", attempt))
		if time.Since(began) < limit {
			return home, away
		}
	}
	s.Fatalf("no pod ran within %s", limit)
	return nil, nil
}

func testDelete(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home, away := s.running("web")
	s.deleteHome("web", ptr.To[int64](17))
	s.eventually("the remote pod is deleted with home's grace period", func() error {
		got, err := s.awayPod("web")
		if err != nil {
			return err
		}
		if g := ptr.Deref(got.DeletionGracePeriodSeconds, -1); g != 17 {
			return fmt.Errorf("grace period %d", g)
		}
		return nil
	})
	s.deleteHome("web", ptr.To[int64](5))
	s.eventually("a shorter grace period follows", func() error {
		got, err := s.awayPod("web")
		if err != nil {
			return err
		}
		if g := ptr.Deref(got.DeletionGracePeriodSeconds, -1); g != 5 {
			return fmt.Errorf("grace period %d", g)
		}
		return nil
	})
	s.never("home leaves first", func() error {
		_, err := s.homePod("web")
		return err
	})
	phases := s.record(home)
	s.end(away)
	s.gone(s.homePod, home)
	if last := <-phases; !translate.Finished(last) {
		s.Errorf("the last phase of the pod was %s", last)
	}
}

// record returns the last phase that a watch shows of a home pod, once it is gone.
func (s *shop) record(home *corev1.Pod) <-chan corev1.PodPhase {
	s.Helper()
	w, err := s.home.CoreV1().Pods(s.ns).Watch(s.Context(), metav1.SingleObject(metav1.ObjectMeta{Name: home.Name}))
	if err != nil {
		s.Fatal(err)
	}
	out := make(chan corev1.PodPhase, 1)
	go func() {
		defer w.Stop()
		var last corev1.PodPhase
		for e := range w.ResultChan() {
			if pod, ok := e.Object.(*corev1.Pod); ok {
				last = pod.Status.Phase
			}
			if e.Type == "DELETED" {
				break
			}
		}
		out <- last
	}()
	return out
}

func testDeleteEarly(s *shop) {
	p, _ := s.agent(nil)
	home := s.create("web")
	s.deleteHome("web", nil)
	p.TwinReady(s.ns, s.twin)
	s.gone(s.homePod, home)
	if _, err := s.awayPod("web"); !apierrors.IsNotFound(err) {
		s.Errorf("a remote pod was made for a pod that was deleted: %v", err)
	}
}

func testForceDelete(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	_, away := s.running("web")
	s.deleteHome("web", ptr.To[int64](0))
	s.gone(s.awayPod, away)
}

func testRestart(s *shop) {
	p, stop := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	_, orphan := s.running("orphan")
	steady, away := s.running("steady")
	lostHome, lost := s.running("lost")
	leaving, leavingAway := s.running("leaving")
	stop()

	s.deleteHome("orphan", ptr.To[int64](0))
	s.deleteHome("leaving", ptr.To[int64](30))
	s.end(lost)
	elsewhere := build.Pod("foreign").Namespace(s.twin).Obj()
	elsewhere.Labels = map[string]string{"offloading.liqo.io/origin": "another-home"}
	elsewhere.Annotations = homeUID(steady.UID)
	foreign := must(s.T, s.away.CoreV1().Pods(s.twin).Create, elsewhere)

	p, _ = s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	s.gone(s.awayPod, orphan)
	if got := s.phase(lostHome, corev1.PodFailed); got.Status.Reason != ReasonRemotePodDeleted {
		s.Errorf("the pod that went meanwhile failed for reason %s", got.Status.Reason)
	}
	s.eventually("the deletion that was missed is carried on", func() error {
		got, err := s.awayPod("leaving")
		if err != nil {
			return err
		}
		if got.DeletionTimestamp == nil {
			return errors.New("it is not being deleted")
		}
		return nil
	})
	s.end(leavingAway)
	s.gone(s.homePod, leaving)
	for _, tc := range []struct {
		get func(string) (*corev1.Pod, error)
		was *corev1.Pod
	}{{s.homePod, steady}, {s.awayPod, foreign}} {
		if got, err := tc.get(tc.was.Name); err != nil || got.ResourceVersion != tc.was.ResourceVersion {
			s.Errorf("%s/%s was touched by the restart: %v", tc.was.Namespace, tc.was.Name, err)
		}
	}
	if got, err := s.awayPod("steady"); err != nil || got.UID != away.UID || got.DeletionTimestamp != nil {
		s.Errorf("the steady remote pod was touched by the restart: %v", err)
	}
	if _, err := s.awayPod("lost"); !apierrors.IsNotFound(err) {
		s.Errorf("a pod UID ran twice: %v", err)
	}
}

// testAdopt is a crash between the creation and the first status.
func testAdopt(s *shop) {
	home := s.create("web")
	away := must(s.T, s.away.CoreV1().Pods(s.twin).Create, s.marked(home))
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	s.run(away)
	s.phase(home, corev1.PodRunning)
	if got := s.remote(home); got.UID != away.UID {
		s.Error("it was created again")
	}
}

func testForeign(s *shop) {
	// Our label alone, which anybody may copy, does not make it ours.
	foreign := must(s.T, s.away.CoreV1().Pods(s.twin).Create,
		build.Pod("web").Namespace(s.twin).Label(v1beta1.LabelOrigin, "home").Obj())
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home := s.create("web")
	s.eventually("home says why", func() error {
		got, err := s.homePod("web")
		if err != nil {
			return err
		}
		if got.Status.Reason != ReasonFailedCreate || !strings.Contains(got.Status.Message, "is not ours") {
			return fmt.Errorf("%s: %s", got.Status.Reason, got.Status.Message)
		}
		return nil
	})
	s.deleteHome("web", ptr.To[int64](0))
	s.gone(s.homePod, home)
	s.never("the foreign pod is touched", func() error {
		got, err := s.awayPod("web")
		if err == nil && got.ResourceVersion != foreign.ResourceVersion {
			return errors.New("its resource version changed")
		}
		return err
	})
	home = s.create("web")
	if err := s.away.CoreV1().Pods(s.twin).Delete(s.Context(), "web", metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.remote(home)
}

func testSuccessor(s *shop) {
	p, stop := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	_, old := s.running("db-0")
	s.deleteHome("db-0", ptr.To[int64](0))
	next := s.create("db-0")
	s.letGo(old)
	old = s.remote(next)
	s.run(old)
	s.phase(next, corev1.PodRunning)

	// While the agent is down: it finds a pod with another UID, which ends in its own time before the new one starts.
	stop()
	s.deleteHome("db-0", ptr.To[int64](0))
	next = s.create("db-0")
	p, _ = s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	s.eventually("the predecessor is deleted", func() error {
		got, err := s.awayPod("db-0")
		if err != nil {
			return err
		}
		if g := ptr.Deref(got.DeletionGracePeriodSeconds, -1); g != 30 || got.UID != old.UID {
			return fmt.Errorf("grace period %d, uid %s", g, got.UID)
		}
		return nil
	})
	s.never("the successor has the predecessor's status", func() error {
		got, err := s.homePod("db-0")
		if err == nil && got.Status.Phase != corev1.PodPending {
			return fmt.Errorf("it is %s", got.Status.Phase)
		}
		return err
	})
	s.end(old)
	s.run(s.remote(next))
	s.phase(next, corev1.PodRunning)
}

// letGo ends a remote pod once it is being deleted, if it is still there then: one that the agent deletes as home did,
// without grace, is gone at once, and one that stands in the way of a successor has its own.
func (s *shop) letGo(away *corev1.Pod) {
	s.Helper()
	s.eventually(away.Name+" is deleted", func() error {
		got, err := s.awayPod(away.Name)
		if err == nil && got.UID == away.UID && got.DeletionTimestamp == nil {
			return errors.New("it is not")
		}
		return nil
	})
	if err := s.remove(away); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		s.Fatal(err)
	}
}

func testDeletedByProvider(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home, away := s.running("web")
	s.end(away)
	got := s.phase(home, corev1.PodFailed)
	if c := condition(got, corev1.DisruptionTarget); c.Status != corev1.ConditionTrue ||
		c.Reason != ReasonRemotePodDeleted {
		s.Errorf("the disruption is not told: %+v", c)
	}
	s.never("it runs again", func() error {
		if _, err := s.awayPod("web"); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is back: %w", err)
		}
		return nil
	})
}

func testTwinGone(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home, _ := s.running("web")
	waiting := s.create("early")
	s.remote(waiting)
	p.TwinLeaving(s.ns)
	late := s.create("late")
	p.TwinGone(s.ns)
	if got := s.phase(home, corev1.PodFailed); got.Status.Reason != ReasonRemoteNamespaceDeleted {
		s.Errorf("it failed for reason %s", got.Status.Reason)
	}
	s.never("a pod that never ran has failed", func() error {
		got, err := s.homePod(late.Name)
		if err == nil && got.Status.Phase != corev1.PodPending {
			return fmt.Errorf("it is %s", got.Status.Phase)
		}
		return err
	})
}

func testTwinRecreated(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home, away := s.running("web")
	// A bare API server has nobody who empties namespaces, so the new one has another name; ours goes first.
	ns, err := s.away.CoreV1().Namespaces().Get(s.Context(), s.twin, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	if err := s.away.CoreV1().Namespaces().Delete(s.Context(), ns.Name, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.end(away)
	if got := s.phase(home, corev1.PodFailed); got.Status.Reason != ReasonRemoteNamespaceDeleted {
		s.Errorf("it failed for reason %s", got.Status.Reason)
	}
}
