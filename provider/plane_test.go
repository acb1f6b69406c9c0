package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/provider/translate"
)

const (
	// converges is long enough for anything that happens by itself, on a busy machine.
	converges = 30 * time.Second
	// still is how long is watched what must not happen.
	still     = 3 * time.Second
	poll      = 20 * time.Millisecond
	agentName = "twinspace-agent"
	provider  = "provider-1"
)

// world is two API servers on which the test plays users, controllers, the schedulers and the provider's kubelets.
type world struct {
	*testing.T
	home, away *kubernetes.Clientset
	planes     []*env.Cluster
}

func newWorld(t *testing.T) *world {
	t.Helper()
	planes := env.Planes(t, 2)
	return &world{T: t, planes: planes, home: clientset(t, planes[0], "test"), away: clientset(t, planes[1], "test")}
}

func clientset(t *testing.T, c *env.Cluster, agent string) *kubernetes.Clientset {
	t.Helper()
	config := c.Config()
	config.UserAgent = agent
	return clientsetFor(t, config)
}

func clientsetFor(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// shop is one home namespace and its twin, so that cases do not meet.
type shop struct {
	*world
	ns, twin string
}

func (w *world) shop(t *testing.T, name string) *shop {
	t.Helper()
	s := &shop{world: &world{T: t, home: w.home, away: w.away, planes: w.planes}, ns: name, twin: name + "-home"}
	s.namespace(w.home, s.ns, nil)
	s.namespace(w.away, s.twin, nil)
	return s
}

func (s *shop) namespace(on *kubernetes.Clientset, name string, labels map[string]string) {
	s.Helper()
	ns := build.Namespace(name).Obj()
	ns.Labels = labels
	must(s.T, on.CoreV1().Namespaces().Create, ns)
	must(s.T, on.CoreV1().ServiceAccounts(name).Create,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
}

func must[T any](t *testing.T, create func(context.Context, T, metav1.CreateOptions) (T, error), obj T) T {
	t.Helper()
	out, err := create(t.Context(), obj, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fakeHealth is a provider whose health the test decides.
type fakeHealth struct {
	mu   sync.Mutex
	err  error
	tell []func()
}

func (h *fakeHealth) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *fakeHealth) Notify(f func()) { h.tell = append(h.tell, f) }

func (h *fakeHealth) set(err error) {
	h.mu.Lock()
	h.err = err
	h.mu.Unlock()
	for _, f := range h.tell {
		f()
	}
}

// node is the virtual Node of the case.
func (s *shop) node() string { return "vn-" + s.ns }

// agent runs the pod loop, and what else is hung on to it, until stop is called.
func (s *shop) agent(change func(*PodsOptions), hangOn ...func(*Pods)) (p *Pods, stop func()) {
	s.Helper()
	o := PodsOptions{
		Home: clientset(s.T, s.planes[0], agentName), Away: clientset(s.T, s.planes[1], agentName),
		Origin: "home", Destination: provider, NodeIPs: []string{"192.0.2.1"}, Recorder: events.NewFakeRecorder(1000),
	}
	if change != nil {
		change(&o)
	}
	p = NewPods(o)
	for _, f := range hangOn {
		f(p)
	}
	p.Serve(s.node(), nil)
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- p.Start(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				s.Error(err)
			}
		})
	}
	s.Cleanup(stop)
	return p, stop
}

// create makes a home pod that is bound to our Node.
func (s *shop) create(name string) *corev1.Pod {
	s.Helper()
	return must(s.T, s.home.CoreV1().Pods(s.ns).Create, build.Pod(name).Namespace(s.ns).Node(s.node()).Obj())
}

// eventually waits until check says nothing is wrong.
func (s *shop) eventually(what string, check func() error) {
	s.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.Context(), poll, converges, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		s.Fatalf("%s: %v", what, last)
	}
}

// never watches for a while that check keeps saying that nothing is wrong.
func (s *shop) never(what string, check func() error) {
	s.Helper()
	var last error
	_ = wait.PollUntilContextTimeout(s.Context(), poll, still, true, func(context.Context) (bool, error) {
		last = check()
		return last != nil, nil
	})
	if last != nil {
		s.Fatalf("%s: %v", what, last)
	}
}

func (s *shop) homePod(name string) (*corev1.Pod, error) {
	return s.home.CoreV1().Pods(s.ns).Get(s.Context(), name, metav1.GetOptions{})
}

func (s *shop) awayPod(name string) (*corev1.Pod, error) {
	return s.away.CoreV1().Pods(s.twin).Get(s.Context(), name, metav1.GetOptions{})
}

// remote waits for the remote pod of exactly this home pod.
func (s *shop) remote(home *corev1.Pod) *corev1.Pod {
	s.Helper()
	var out *corev1.Pod
	s.eventually("remote pod of "+home.Name, func() (err error) {
		if out, err = s.awayPod(home.Name); err != nil {
			return err
		}
		if uid := translate.HomeUID(out, "home"); uid != string(home.UID) {
			return fmt.Errorf("it belongs to %s, want %s", uid, home.UID)
		}
		return nil
	})
	return out
}

// run binds a remote pod and starts it, as the provider's scheduler and kubelet do.
func (s *shop) run(away *corev1.Pod) {
	s.Helper()
	s.runOn("worker", away)
}

// runOn is run on a Node of that name.
func (s *shop) runOn(node string, away *corev1.Pod) {
	s.Helper()
	if err := s.away.CoreV1().Pods(s.twin).Bind(s.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: away.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.report(away, corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.9.0.1", PodIPs: []corev1.PodIP{{IP: "10.9.0.1"}},
		StartTime:  ptr.To(metav1.Now()),
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "app", Image: build.Image, Ready: true, Started: ptr.To(true),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		}},
	})
}

// report writes a remote pod's status, whoever else writes to the pod in the same moment.
func (s *shop) report(away *corev1.Pod, status corev1.PodStatus) {
	s.Helper()
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pod, err := s.awayPod(away.Name)
		if err != nil {
			return err
		}
		conditions := slices.Concat(status.Conditions, pod.Status.Conditions)
		pod.Status = status
		pod.Status.Conditions = conditions
		_, err = s.away.CoreV1().Pods(s.twin).UpdateStatus(s.Context(), pod, metav1.UpdateOptions{})
		return err
	}); err != nil {
		s.Fatal(err)
	}
}

// end lets a remote pod that is being deleted go, as its kubelet does when the containers have ended.
func (s *shop) end(away *corev1.Pod) {
	s.Helper()
	if err := s.remove(away); err != nil {
		s.Fatal(err)
	}
}

// remove takes a remote pod of this UID away at once.
func (s *shop) remove(away *corev1.Pod) error {
	return s.away.CoreV1().Pods(s.twin).Delete(s.Context(), away.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: metav1.NewUIDPreconditions(string(away.UID)),
	})
}

func (s *shop) deleteHome(name string, grace *int64) {
	s.Helper()
	if err := s.home.CoreV1().Pods(s.ns).Delete(s.Context(), name,
		metav1.DeleteOptions{GracePeriodSeconds: grace}); err != nil {
		s.Fatal(err)
	}
}

// phase waits until the home pod of this UID is in a phase, and returns it.
func (s *shop) phase(home *corev1.Pod, want corev1.PodPhase) *corev1.Pod {
	s.Helper()
	var out *corev1.Pod
	s.eventually(fmt.Sprintf("%s is %s", home.Name, want), func() (err error) {
		if out, err = s.homePod(home.Name); err != nil {
			return err
		}
		if out.UID != home.UID || out.Status.Phase != want {
			return fmt.Errorf("uid %s is %s: %s: %s", out.UID, out.Status.Phase, out.Status.Reason, out.Status.Message)
		}
		return nil
	})
	return out
}

// running makes a pod that runs on both sides.
func (s *shop) running(name string) (home, away *corev1.Pod) {
	s.Helper()
	home = s.create(name)
	away = s.remote(home)
	s.run(away)
	return s.phase(home, corev1.PodRunning), away
}

// gone waits until a pod of this UID is gone.
func (s *shop) gone(get func(string) (*corev1.Pod, error), pod *corev1.Pod) {
	s.Helper()
	s.eventually(pod.Namespace+"/"+pod.Name+" goes", func() error {
		got, err := get(pod.Name)
		if err == nil && got.UID == pod.UID {
			return errors.New("it is there")
		}
		return nil
	})
}

func condition(pod *corev1.Pod, t corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == t {
			return c
		}
	}
	return corev1.PodCondition{}
}

// marked is a pod as the agent would have created it.
func (s *shop) marked(home *corev1.Pod) *corev1.Pod {
	return translate.Target{Origin: "home", Destination: provider, Node: s.node(), Namespace: s.twin}.Wanted(home)
}

func homeUID(uid types.UID) map[string]string {
	return map[string]string{v1beta1.AnnotationHomeUID: string(uid)}
}
