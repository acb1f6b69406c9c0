package provider

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// pair is a pod loop between two fakes, in which one home pod runs, and whose watches show what the test wants.
type pair struct {
	*testing.T
	*Pods
	home, away *fake.Clientset
	pod        *corev1.Pod
	remote     *corev1.Pod // as it was created
	key        key
}

func newPair(t *testing.T, change func(home *corev1.Pod)) *pair {
	t.Helper()
	pod := build.Pod("web").Namespace("shop").UID("1").Node("vn-1").Phase(corev1.PodRunning).Obj()
	if change != nil {
		change(pod)
	}
	r := &pair{
		T: t, pod: pod, home: fake.NewClientset(pod), away: fake.NewClientset(build.Namespace("shop-a").Obj()),
		key: key{Namespace: "shop", Name: "web"},
		remote: translate.Target{
			Origin: "home", Destination: provider, Node: "vn-1", Namespace: "shop-a",
		}.Pod(pod),
	}
	r.remote.UID, r.remote.ResourceVersion = "2", "10"
	r.Pods = NewPods(PodsOptions{
		Home: r.home, Away: r.away, Origin: "home", Destination: provider, Recorder: events.NewFakeRecorder(10),
	})
	t.Cleanup(r.queue.ShutDown)
	r.nodes["vn-1"] = &node{name: "vn-1", watch: watchOf(t, pod)}
	r.twin(twinReady)
	return r
}

// twin is the twin in a phase, whose watch shows these pods.
func (r *pair) twin(phase twinPhase, shown ...*corev1.Pod) {
	r.Helper()
	r.twins["shop"] = &twin{home: "shop", away: "shop-a", phase: phase, watch: watchOf(r.T, shown...)}
}

// there makes a remote pod that the API server over there has.
func (r *pair) there(pod *corev1.Pod) {
	r.Helper()
	must(r.T, r.away.CoreV1().Pods("shop-a").Create, pod)
}

// refuses makes the first so many requests of that kind fail; fewer than none means all.
func refuses(on *fake.Clientset, verb string, many int, err error) {
	on.PrependReactor(verb, "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		if many == 0 {
			return false, nil, nil
		}
		many--
		return true, nil, err
	})
}

// look looks at the pod, shows the loop what it wrote, and returns what came of it.
func (r *pair) look() (*corev1.Pod, error) {
	r.Helper()
	err := r.reconcile(r.Context(), r.key)
	got, gone := r.home.CoreV1().Pods("shop").Get(r.Context(), "web", metav1.GetOptions{})
	if gone != nil {
		return nil, err
	}
	r.nodes["vn-1"].watch = watchOf(r.T, got)
	return got, err
}

// said returns the reasons of the events so far.
func (r *pair) said() []string {
	var out []string
	for recorded := r.opts.Recorder.(*events.FakeRecorder).Events; len(recorded) > 0; {
		out = append(out, strings.Fields(<-recorded)[1])
	}
	return out
}

// Somebody at the provider takes our label from a remote pod: the watch does not show it any more, and it runs on.
func TestARemotePodThatLosesOurLabel(t *testing.T) {
	for name, tc := range map[string]struct {
		known    bool // by this process
		stranger bool // without our annotation too
		deleted  bool // at home
		want     corev1.PodPhase
		said     string
	}{
		"home is told, and keeps its pod": {known: true, want: corev1.PodRunning, said: ReasonLabelsLost},
		"after a restart as well":         {want: corev1.PodRunning, said: ReasonLabelsLost},
		"without any mark, by its UID": {
			known: true, stranger: true, want: corev1.PodRunning, said: ReasonLabelsLost,
		},
		"a deleted home pod does not go":     {deleted: true, want: corev1.PodRunning, said: ReasonLabelsLost},
		"somebody else's pod is no such pod": {stranger: true, want: corev1.PodFailed, said: ReasonRemotePodDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPair(t, func(pod *corev1.Pod) {
				if tc.deleted {
					*pod = *deletingIn(pod, 30)
				}
			})
			if tc.known {
				r.memory.saw(r.key, "1", "2")
			}
			bare := r.remote.DeepCopy()
			delete(bare.Labels, v1beta1.LabelOrigin)
			if tc.stranger {
				bare.Annotations = nil
			}
			r.there(bare)
			for range 3 {
				if got, err := r.look(); got == nil || got.Status.Phase != tc.want {
					t.Fatalf("want %s, got %+v, %v", tc.want, got, err)
				}
			}
			if diff := cmp.Diff([]string{tc.said}, r.said()); diff != "" {
				t.Errorf("said (-want,+got):\n%s", diff)
			}
		})
	}
}

// Who puts the label back and takes it away again is told again; a late watch is no such news.
func TestALabelThatComesAndGoes(t *testing.T) {
	r := newPair(t, nil)
	bare := r.remote.DeepCopy()
	delete(bare.Labels, v1beta1.LabelOrigin)
	bare.ResourceVersion = "11"
	again := r.remote.DeepCopy()
	again.ResourceVersion = "12"
	r.there(bare)
	for _, step := range []struct {
		name  string
		shown []*corev1.Pod
		said  []string
	}{
		{"it is lost", nil, []string{ReasonLabelsLost}},
		{"still", nil, nil},
		{"a late watch shows it", []*corev1.Pod{r.remote}, nil},
		{"still lost", nil, nil},
		{"it is back", []*corev1.Pod{again}, nil},
		{"it is lost again", nil, []string{ReasonLabelsLost}},
	} {
		if len(step.shown) > 0 {
			r.away = fake.NewClientset(step.shown[0])
		} else {
			r.away = fake.NewClientset(bare)
		}
		r.opts.Away = r.away
		r.twin(twinReady, step.shown...)
		_, err := r.look()
		if lost := step.shown == nil; lost != errors.Is(err, errBackoff) {
			t.Errorf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.said, r.said()); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", step.name, diff)
		}
	}
}

// A creation whose answer was lost, and the label after it.
func TestAnUnmarkedPodThatHasTheNameIsOurs(t *testing.T) {
	r := newPair(t, func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodPending })
	bare := r.remote.DeepCopy()
	delete(bare.Labels, v1beta1.LabelOrigin)
	r.there(bare)
	for range 2 {
		if got, _ := r.look(); got.Status.Phase != corev1.PodPending || got.Status.Reason != "" {
			t.Errorf("it says %+v", got.Status)
		}
	}
	if diff := cmp.Diff([]string{ReasonLabelsLost}, r.said()); diff != "" {
		t.Errorf("said (-want,+got):\n%s", diff)
	}
}

// A twin may be on its way out for days, for somebody's finalizer. Our rights in it are gone by then.
func TestAPodThatWentBeforeItsTwin(t *testing.T) {
	forbidden := apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("no rights"))
	for name, tc := range map[string]struct {
		seen      bool // that it was being deleted
		forbidden bool
		there     bool
		deleted   bool // at home
		want      corev1.PodPhase
	}{
		"it was seen to go":                        {seen: true, want: corev1.PodFailed},
		"it was seen to go, and we may not ask":    {seen: true, forbidden: true, want: corev1.PodFailed},
		"it went from our watch, and we may ask":   {want: corev1.PodFailed},
		"it only went from our watch":              {forbidden: true, want: corev1.PodRunning},
		"it is there all the same":                 {seen: true, there: true, want: corev1.PodRunning},
		"home deletes it, and it was seen to go":   {seen: true, forbidden: true, deleted: true, want: "gone"},
		"home deletes it, and it is there":         {seen: true, there: true, deleted: true, want: corev1.PodRunning},
		"home deletes it, and it only went for us": {forbidden: true, deleted: true, want: corev1.PodRunning},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPair(t, func(pod *corev1.Pod) {
				if tc.deleted {
					*pod = *deletingIn(pod, 30)
				}
			})
			r.twin(twinLeaving)
			last := r.remote.DeepCopy()
			if tc.seen {
				last = deletingIn(last, 30)
			}
			r.memory.went(r.key, "1", last)
			if tc.there {
				r.there(r.remote)
			}
			if tc.forbidden {
				refuses(r.away, "get", -1, forbidden)
			}
			got, err := r.look()
			phase := corev1.PodPhase("gone")
			if got != nil {
				phase = got.Status.Phase
			}
			if phase != tc.want {
				t.Fatalf("want %s, got %s, %v", tc.want, phase, err)
			}
			if phase == corev1.PodFailed && got.Status.Reason != ReasonRemoteNamespaceDeleted {
				t.Errorf("reason %s", got.Status.Reason)
			}
			for _, a := range r.away.Actions() {
				if a.GetVerb() == "delete" {
					t.Error("a twin that leaves is written into")
				}
			}
		})
	}
}

// Not every conflict is about the UID: an admission webhook over there may use the word, too.
func TestADeletionThatMeetsAConflict(t *testing.T) {
	conflict := apierrors.NewConflict(corev1.Resource("pods"), "web", errors.New("not now"))
	for name, tc := range map[string]struct {
		live   types.UID
		buried bool
	}{
		"the pod is there":     {live: "2"},
		"another has its name": {live: "3", buried: true},
		"it is gone":           {buried: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPair(t, nil)
			if tc.live != "" {
				live := r.remote.DeepCopy()
				live.UID = tc.live
				r.there(live)
			}
			refuses(r.away, "delete", -1, conflict)
			err := r.remove(t.Context(), r.key, r.remote, nil)
			if buried := r.memory.isBuried(r.key, "2"); buried != tc.buried || errors.As(err, &again{}) != tc.buried {
				t.Errorf("buried %t, %v", buried, err)
			}
		})
	}
}

// What could not be written is written again, but told once.
func TestNewsAreToldOnce(t *testing.T) {
	down := apierrors.NewServiceUnavailable("down")
	for name, tc := range map[string]struct {
		prepare func(*pair)
		want    string
	}{
		"of an end": {func(r *pair) { r.memory.saw(r.key, "1", "2") }, ReasonRemotePodDeleted},
		"of a creation": {func(r *pair) {
			r.pod.Status.Phase = corev1.PodPending
			r.nodes["vn-1"].watch = watchOf(r.T, r.pod)
			refuses(r.away, "create", -1, apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("no")))
		}, ReasonFailedCreate},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPair(t, nil)
			tc.prepare(r)
			refuses(r.home, "patch", 2, down)
			for range 2 {
				if err := r.reconcile(t.Context(), r.key); !apierrors.IsServiceUnavailable(err) {
					t.Fatalf("want the failure to write, got %v", err)
				}
			}
			if _, err := r.look(); errors.Is(err, down) {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tc.want}, r.said()); diff != "" {
				t.Errorf("said (-want,+got):\n%s", diff)
			}
		})
	}
}

// The same of a change that the provider refuses: home is told of the pod first, and then of the refusal.
func TestARefusedUpdateIsToldOnce(t *testing.T) {
	r := newPair(t, nil)
	r.there(r.remote)
	r.pod.Spec.Containers[0].Image = "example.com/app:2"
	r.nodes["vn-1"].watch = watchOf(t, r.pod)
	r.twin(twinReady, r.remote)
	refuses(r.away, "patch", -1, apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("no")))
	failures := 2
	r.home.PrependReactor("patch", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		refusal := strings.Contains(string(a.(clienttesting.PatchAction).GetPatch()), ReasonUpdateRefused)
		if !refusal || failures == 0 {
			return false, nil, nil
		}
		failures--
		return true, nil, apierrors.NewServiceUnavailable("down")
	})
	for range 3 {
		if err := r.reconcile(t.Context(), r.key); err == nil {
			t.Fatal("it is not looked at again")
		}
	}
	if diff := cmp.Diff([]string{ReasonUpdateRefused}, r.said()); diff != "" || failures != 0 {
		t.Errorf("%d failures to come; said (-want,+got):\n%s", failures, diff)
	}
}
