package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

const (
	// impatience is for how long a pod of these tests may find no node.
	impatience = 2 * time.Second
	// grudge is how long its controller is unfit then. It must not be too short for a busy machine: what is said for
	// less than half of it is said anew.
	grudge = 10 * time.Second
	words  = "0/3 nodes are available: 3 Insufficient cpu."
)

// TestFitOnRealServers plays a provider whose scheduler finds no node for some pods.
func TestFitOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &site{shop: w.shop(t, "shop"), vns: w.planes[0].Client(), health: &fakeHealth{}}
	s.namespace(s.home, v1beta1.TenantNamespace(provider), nil)
	s.worker("worker-1", "4", true)
	recorded := &recorder{site: s}
	s.start(func(o *PodsOptions) {
		o.ReleaseAfter, o.UnfitFor, o.Recorder = impatience, grudge, recorded
	})
	for _, tc := range []struct {
		name string
		test func(*site, *recorder)
	}{
		{"a pod that finds no node is released, and its controller noted", testRelease},
		{"only who finds no node, and would come again, is released", testNotReleased},
		{"a note is taken back by whoever wants to", testUnfitByHand},
	} {
		t.Run(tc.name, func(t *testing.T) {
			shop := &shop{world: &world{T: t, home: s.home, away: s.away, planes: s.planes}, ns: s.ns, twin: s.twin}
			tc.test(&site{shop: shop, vns: s.vns, health: s.health}, recorded)
		})
	}
}

// recorder takes releases down.
type recorder struct {
	*site
	mu   sync.Mutex
	told []releaseTold
}

// releaseTold is an event, and how it was at home just then.
type releaseTold struct {
	pod, note string
	// there: the pod was not deleted yet. named: its Node named its controller.
	there, named bool
}

// Eventf implements [events.EventRecorder].
//
//nolint:revive // argument-limit: the interface is as it is
func (r *recorder) Eventf(on, _ runtime.Object, _, reason, _, note string, args ...any) {
	pod, ok := on.(*corev1.Pod)
	if !ok || reason != ReasonReleased {
		return
	}
	is := releaseTold{pod: pod.Name, note: fmt.Sprintf(note, args...)}
	if live, err := r.homePod(pod.Name); err == nil {
		is.there = live.DeletionTimestamp == nil
	}
	if n, err := r.home.CoreV1().Nodes().Get(r.Context(), pod.Spec.NodeName, metav1.GetOptions{}); err == nil {
		unfit := placement.ParseUnfit(n.Annotations[v1beta1.AnnotationUnfit])
		_, is.named = unfit[metav1.GetControllerOf(pod).UID]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, is)
}

// about returns the releases of a pod.
func (r *recorder) about(pod string) []releaseTold {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.told), func(is releaseTold) bool { return is.pod != pod })
}

// scheduled makes a home pod and binds it to a Node, as a scheduler does.
func (s *site) scheduled(node string, b *build.PodBuilder) *corev1.Pod {
	s.Helper()
	pod := must(s.T, s.home.CoreV1().Pods(s.ns).Create, b.Namespace(s.ns).Obj())
	if err := s.home.CoreV1().Pods(s.ns).Bind(s.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	return pod
}

// nowhere says of a remote pod what a scheduler says that finds no node for it.
func (s *site) nowhere(away *corev1.Pod) {
	s.Helper()
	s.report(away, corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: words,
		LastTransitionTime: metav1.Now(),
	}}})
}

// ready makes a VirtualNode and waits for its Node.
func (s *site) ready(name string) {
	s.Helper()
	s.virtualNode(name, nil)
	s.node(name, func(*corev1.Node) error { return nil })
}

// unfit waits until a Node names exactly these controllers, and returns until when.
func (s *site) unfit(node string, want ...types.UID) map[types.UID]time.Time {
	s.Helper()
	var got map[types.UID]time.Time
	s.node(node, func(n *corev1.Node) error {
		got = placement.ParseUnfit(n.Annotations[v1beta1.AnnotationUnfit])
		for _, uid := range want {
			if _, named := got[uid]; !named {
				return fmt.Errorf("it names %v, not %s", got, uid)
			}
		}
		if text, said := n.Annotations[v1beta1.AnnotationUnfit]; len(got) != len(want) || len(want) == 0 && said {
			return fmt.Errorf("it says %s", text)
		}
		return nil
	})
	return got
}

func testRelease(s *site, recorded *recorder) {
	s.ready("vn-fit")
	home := s.scheduled("vn-fit", build.Pod("web-1").Controller("ReplicaSet", "web", "rs-1"))
	s.hold("web-1") // to look at what is left of it
	away := s.remote(home)
	s.nowhere(away)
	s.eventually("home has the scheduler's words", func() error {
		got, err := s.homePod("web-1")
		if err == nil && (got.Status.Reason != corev1.PodReasonUnschedulable ||
			!strings.Contains(got.Status.Message, words)) {
			return fmt.Errorf("%s: %s", got.Status.Reason, got.Status.Message)
		}
		return err
	})

	s.gone(s.awayPod, away)
	got := s.phase(home, corev1.PodFailed)
	c := condition(got, corev1.DisruptionTarget)
	if got.DeletionTimestamp == nil || c.Reason != "EvictionByEvictionAPI" {
		s.Errorf("a Job would count this pod as failed: deleted at %v, %+v", got.DeletionTimestamp, c)
	}
	until := s.unfit("vn-fit", "rs-1")["rs-1"]
	if rest := time.Until(until); rest <= 0 || rest > grudge {
		s.Errorf("unfit for %s", rest)
	}
	told := recorded.about("web-1")
	if len(told) != 1 || !strings.Contains(told[0].note, words) ||
		!strings.Contains(told[0].note, "ReplicaSet web is sent there") {
		s.Fatalf("told: %+v", told)
	}
	if !told[0].there || !told[0].named {
		s.Errorf("first the Node names the controller, then the event is written, then the pod goes: %+v", told[0])
	}
	s.unfit("vn-fit") // after a while
}

// hold puts a finalizer on a home pod until the test ends.
func (s *site) hold(name string) {
	s.Helper()
	finalizers := func(ctx context.Context, list string) error {
		_, err := s.home.CoreV1().Pods(s.ns).Patch(ctx, name, types.MergePatchType,
			[]byte(`{"metadata":{"finalizers":`+list+`}}`), metav1.PatchOptions{})
		return err
	}
	if err := finalizers(s.Context(), `["example.com/hold"]`); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := finalizers(context.Background(), "null"); err != nil && !apierrors.IsNotFound(err) {
			s.Error(err)
		}
	})
}

func testNotReleased(s *site, recorded *recorder) {
	s.ready("vn-stay")
	direct := build.Pod("direct").Namespace(s.ns).Node("vn-stay").Controller("ReplicaSet", "web", "rs-2").Obj()
	stay := []*corev1.Pod{
		s.scheduled("vn-stay", build.Pod("single")),
		s.scheduled("vn-stay", build.Pod("daemon").Controller("DaemonSet", "web", "ds-1")),
		must(s.T, s.home.CoreV1().Pods(s.ns).Create, direct),
	}
	for _, home := range stay {
		s.nowhere(s.remote(home))
	}
	runs := s.scheduled("vn-stay", build.Pod("runs").Controller("ReplicaSet", "web", "rs-3"))
	s.run(s.remote(runs))
	s.phase(runs, corev1.PodRunning)
	released := s.scheduled("vn-stay", build.Pod("released").Controller("ReplicaSet", "web", "rs-4"))
	s.nowhere(s.remote(released))
	s.gone(s.homePod, released) // longer than any of the others had

	for _, home := range append(stay, runs) {
		got, err := s.homePod(home.Name)
		if err != nil || got.UID != home.UID || got.DeletionTimestamp != nil {
			s.Errorf("%s: %v, deleted at %v", home.Name, err, got.DeletionTimestamp)
		}
		if told := recorded.about(home.Name); len(told) > 0 {
			s.Errorf("%s: %+v", home.Name, told)
		}
	}
	s.unfit("vn-stay", "rs-4")
}

func testUnfitByHand(s *site, _ *recorder) {
	s.ready("vn-hand")
	annotate := func(value string) {
		s.Helper()
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, v1beta1.AnnotationUnfit, value)
		if _, err := s.home.CoreV1().Nodes().Patch(s.Context(), "vn-hand", types.MergePatchType, []byte(patch),
			metav1.PatchOptions{FieldManager: "somebody"}); err != nil {
			s.Fatal(err)
		}
	}
	annotate(`"nonsense"`)
	s.unfit("vn-hand")
	soon := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
	annotate(fmt.Sprintf(`"{\"rs-5\":%s}"`, strings.ReplaceAll(fmt.Sprintf("%q", soon), `"`, `\"`)))
	s.unfit("vn-hand") // it passes, whoever wrote it
	annotate(`"{\"rs-6\":\"2999-01-01T00:00:00Z\"}"`)
	s.unfit("vn-hand", "rs-6")
	s.owned("vn-hand")
	annotate("null")
	s.unfit("vn-hand")
	s.never("it is said again", func() error {
		n, err := s.home.CoreV1().Nodes().Get(s.Context(), "vn-hand", metav1.GetOptions{})
		if err == nil && n.Annotations[v1beta1.AnnotationUnfit] != "" {
			return errors.New(n.Annotations[v1beta1.AnnotationUnfit])
		}
		return err
	})
}

// owned waits until the agent has taken over the annotation that somebody wrote.
func (s *site) owned(node string) {
	s.Helper()
	s.node(node, func(n *corev1.Node) error {
		for _, m := range n.ManagedFields {
			if m.Manager == fieldManager && strings.Contains(m.FieldsV1.String(), v1beta1.AnnotationUnfit) {
				return nil
			}
		}
		return errors.New("the annotation is not the agent's")
	})
}

// Who bound its pod past the scheduler hears what the scheduler would have said, and only before the pod exists.
func testDoesNotFit(s *shop) {
	var asked atomic.Int32
	var room atomic.Bool
	p, _ := s.agent(func(o *PodsOptions) {
		o.Fits = func(_ context.Context, pod *corev1.Pod) (string, error) {
			switch n := asked.Add(1); {
			case pod.Name != "direct":
				return "", errors.New("asked about " + pod.Name)
			case n == 1:
				return "", errors.New("the cache is not filled yet") // nothing that a user should read
			case room.Load():
				return "", nil
			default:
				return "largest free node has 2 CPUs, the pod asks for 4", nil
			}
		}
	})
	p.TwinReady(s.ns, s.twin)
	pod := must(s.T, s.home.CoreV1().Pods(s.ns).Create, build.Pod("chosen").Namespace(s.ns).Obj())
	if err := s.home.CoreV1().Pods(s.ns).Bind(s.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: "chosen"}, Target: corev1.ObjectReference{Kind: "Node", Name: s.node()},
	}, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.remote(pod)

	direct := s.create("direct")
	s.eventually("home has the sentence", func() error {
		got, err := s.homePod("direct")
		if err == nil && (got.Status.Phase != corev1.PodPending || got.Status.Reason != ReasonBackOff ||
			got.Status.Message != "largest free node has 2 CPUs, the pod asks for 4") {
			return fmt.Errorf("%s: %s: %s", got.Status.Phase, got.Status.Reason, got.Status.Message)
		}
		return err
	})
	s.never("a remote pod is made", func() error {
		if _, err := s.awayPod("direct"); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	room.Store(true)
	p.Wake(s.ns)
	s.run(s.remote(direct))
	s.phase(direct, corev1.PodRunning)
	before := asked.Load()
	p.Wake(s.ns)
	s.never("a pod that runs is asked about", func() error {
		if n := asked.Load(); n != before {
			return fmt.Errorf("asked %d times more", n-before)
		}
		return nil
	})
}
