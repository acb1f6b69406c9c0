package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/history"
)

// story writes a history down, one change a second.
type story struct {
	history.History
	second int
}

func (s *story) next() time.Time {
	s.second++
	return time.Unix(int64(s.second), 0)
}

// home is a change of home pod db-0 with this UID.
func (s *story) home(uid string, phase corev1.PodPhase) *story {
	return s.homePod(build.Pod("db-0").UID(uid).Node("vn").Phase(phase).Obj())
}

func (s *story) homePod(pod *corev1.Pod) *story {
	s.Home = append(s.Home, history.Change{Cluster: "home", Pod: pod, At: s.next()})
	return s
}

// homeDeleted is that somebody asks for the deletion of the home pod.
func (s *story) homeDeleted(phase corev1.PodPhase) *story {
	s.home("1", phase)
	pod := s.Home[len(s.Home)-1].Pod
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = ptr.To(metav1.Now()), ptr.To[int64](30)
	return s
}

func (s *story) homeGone() *story {
	last := s.Home[len(s.Home)-1]
	last.Gone, last.At = true, s.next()
	s.Home = append(s.Home, last)
	return s
}

// away is a change of the remote pod of a home pod; its own UID is that with the cluster before it.
func (s *story) away(cluster, homeUID string) *story {
	pod := build.Pod("db-0").UID(cluster+homeUID).Annotation(v1beta1.AnnotationHomeUID, homeUID).Obj()
	s.Away = append(s.Away, history.Change{Cluster: cluster, Pod: pod, At: s.next()})
	return s
}

func (s *story) awayGone(cluster, homeUID string) *story {
	s.away(cluster, homeUID)
	s.Away[len(s.Away)-1].Gone = true
	return s
}

func begin() *story { return &story{History: history.History{Forced: map[types.UID]bool{}}} }

func restarted(times int32) *corev1.Pod {
	pod := build.Pod("db-0").UID("1").Phase(corev1.PodRunning).Obj()
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", RestartCount: times}}
	return pod
}

func TestBrokenPromises(t *testing.T) {
	const pending, running, failed, done = corev1.PodPending, corev1.PodRunning, corev1.PodFailed, corev1.PodSucceeded
	forced := begin().home("1", running).away("b", "1").homeGone().awayGone("b", "1")
	forced.Forced["1"] = true
	late := begin().home("1", running).away("b", "1").homeDeleted(failed).homeGone().awayGone("b", "1")
	late.Slack = 2 * time.Second
	foreign := begin().away("b", "").away("c", "")
	for what, test := range map[string]struct {
		story *story
		want  []string
	}{
		"a life without trouble": {
			begin().home("1", pending).away("b", "1").home("1", running).awayGone("b", "1").
				homeDeleted(failed).homeGone(),
			nil,
		},
		"a successor after its predecessor": {
			begin().home("1", failed).away("b", "1").awayGone("b", "1").homeGone().home("2", pending).away("c", "2"),
			nil,
		},
		"two remote pods at once": {
			begin().home("1", running).away("b", "1").away("c", "1"),
			[]string{
				"I1: home pod 1 had two remote pods: b default/db-0 and c default/db-0",
				"I2: remote pod default/db-0 of home pod 1 began on c before that of 1 had ended on b",
			},
		},
		"two remote pods, one after the other": {
			begin().home("1", running).away("b", "1").awayGone("b", "1").away("c", "1"),
			[]string{"I1: home pod 1 had two remote pods: b default/db-0 and c default/db-0"},
		},
		"a successor that does not wait": {
			begin().home("1", failed).away("b", "1").home("2", pending).away("c", "2").awayGone("b", "1"),
			[]string{"I2: remote pod default/db-0 of home pod 2 began on c before that of 1 had ended on b"},
		},
		"a phase that goes back": {
			begin().home("1", running).home("1", pending),
			[]string{"I5: home pod default/db-0 went from Running to Pending"},
		},
		"a finished pod that finishes otherwise": {
			begin().home("1", failed).home("1", done),
			[]string{"I5: home pod default/db-0 went from Failed to Succeeded"},
		},
		"restarts that are counted": {begin().homePod(restarted(1)).homePod(restarted(2)), nil},
		"restarts that are forgotten": {
			begin().homePod(restarted(2)).homePod(restarted(1)),
			[]string{"I5: container app of home pod default/db-0 was restarted 2 times, and then fewer"},
		},
		"a container that is forgotten": {
			begin().homePod(restarted(0)).home("1", running),
			[]string{"I5: container app of home pod default/db-0 was restarted 0 times, and then fewer"},
		},
		"home leaves first": {
			begin().away("b", "1").homeDeleted(failed).homeGone().awayGone("b", "1"),
			[]string{"I8: home pod default/db-0 left before its remote pod did on b"},
		},
		"home leaves, and the remote pod stays": {
			begin().away("b", "1").homeDeleted(failed).homeGone(),
			[]string{"I8: home pod default/db-0 left before its remote pod did on b"},
		},
		"a finished one leaves first, as always": {
			begin().home("1", done).away("b", "1").homeGone().awayGone("b", "1"), nil,
		},
		"home seems to leave first, by less than the slack": {late, nil},
		"a running pod vanishes": {
			begin().home("1", running).away("b", "1").awayGone("b", "1").homeGone(),
			[]string{"O13: home pod default/db-0 was Running when it went"},
		},
		"a user forces it":            {forced, nil},
		"others have pods there, too": {foreign, nil},
	} {
		t.Run(what, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.story.Broken()); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestAtRest(t *testing.T) {
	waiting := build.Pod("db-0").UID("1").Node("vn").Phase(corev1.PodPending).Obj()
	waiting.Status.Reason = "FailedCreate"
	for what, test := range map[string]struct {
		story *story
		want  []string
	}{
		"both run": {begin().home("1", corev1.PodRunning).away("b", "1"), nil},
		"both went": {
			begin().home("1", corev1.PodRunning).away("b", "1").awayGone("b", "1").homeGone(), nil,
		},
		"an orphan": {
			begin().home("1", corev1.PodRunning).away("b", "1").homeGone(),
			[]string{"I3: remote pod default/db-0 on b has no home pod"},
		},
		"an orphan that home never knew": {
			begin().away("b", "1"), []string{"I3: remote pod default/db-0 on b has no home pod"},
		},
		"a home pod alone": {
			begin().home("1", corev1.PodRunning),
			[]string{"I4: home pod default/db-0 has no remote pod, and says no reason"},
		},
		"a home pod alone, with a reason": {begin().homePod(waiting), nil},
		"a home pod on an ordinary node": {
			begin().homePod(build.Pod("db-0").UID("1").Node("n").Obj()), nil,
		},
		"a home pod that is finished":                {begin().home("1", corev1.PodFailed), nil},
		"somebody else's pod is nobody's to explain": {begin().away("b", ""), nil},
	} {
		t.Run(what, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.story.AtRest("vn")); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func ExampleHistory_Broken() {
	pod := build.Pod("web").UID("1").Phase(corev1.PodSucceeded).Obj()
	again := pod.DeepCopy()
	again.Status.Phase = corev1.PodRunning
	h := history.History{Home: []history.Change{{Cluster: "home", Pod: pod}, {Cluster: "home", Pod: again}}}
	fmt.Println(h.Broken())
	// Output: [I5: home pod default/web went from Succeeded to Running]
}
