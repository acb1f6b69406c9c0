package containers

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gstruct"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// farewell deletes the pod at home and waits until it is gone there; it returns what home said last of its container,
// and how long it took.
func (s *scene) farewell(pod *corev1.Pod) (*corev1.ContainerStateTerminated, time.Duration) {
	s.t.Helper()
	pods := s.clientset().CoreV1().Pods(s.ns)
	seen, err := pods.Watch(s.ctx, metav1.ListOptions{
		FieldSelector:  fields.OneTermEqualSelector(metav1.ObjectNameField, pod.Name).String(),
		TimeoutSeconds: ptr.To(int64(later.Seconds())),
	})
	s.Expect(err).NotTo(HaveOccurred())
	defer seen.Stop()
	asked := time.Now()
	s.Expect(pods.Delete(s.ctx, pod.Name, metav1.DeleteOptions{})).To(Succeed())
	for event := range seen.ResultChan() {
		now, ok := event.Object.(*corev1.Pod)
		if !ok {
			s.t.Fatalf("watch: %v", event.Object)
		}
		if event.Type == watch.Deleted {
			return now.Status.ContainerStatuses[0].State.Terminated, time.Since(asked)
		}
	}
	s.t.Fatalf("%s is still there", pod.Name)
	return nil, 0
}

// leaves gives the pod a hook that runs before it is told to end, and a time for both.
func leaves(hook string, grace time.Duration) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		spec.TerminationGracePeriodSeconds = ptr.To(int64(grace.Seconds()))
		spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
			Exec: &corev1.ExecAction{Command: []string{"sh", "-c", hook}},
		}}
	}
}

// O4: a preStop hook runs to its end before the container is told to end, and all of that before the pod leaves home.
func TestAPreStopHookRunsWithinItsGracePeriod(t *testing.T) {
	s := newScene(t, "farewells")
	const grace = 60 * time.Second
	pod := s.starts(s.shell("polite", `trap 'echo "told to end"; exit 0' TERM; echo ready; while :; do sleep 1; done`).
		Spec(leaves(`echo "hook begins" >/proc/1/fd/1; sleep 3; echo "hook ends" >/proc/1/fd/1`, grace)).Obj())
	lines := s.stream("logs", "-f", pod.Name)
	s.Eventually(lines).Should(Receive(Equal("ready")))

	last, took := s.farewell(pod)
	for _, want := range []string{"hook begins", "hook ends", "told to end"} {
		s.Eventually(lines).Should(Receive(Equal(want)))
	}
	s.Eventually(lines).Should(BeClosed(), "logs -f ends with the container")
	s.Expect(last).NotTo(BeNil(), "home says how the container ended")
	s.Expect(last.ExitCode).To(BeZero())
	s.Expect(took).To(And(BeNumerically(">", 3*time.Second), BeNumerically("<", grace)))
}

// The other half of O4: a hook that does not end is cut off when home's grace period is over.
func TestAPreStopHookThatNeverEndsIsCutOff(t *testing.T) {
	s := newScene(t, "lingers")
	const grace = 5 * time.Second
	pod := s.starts(s.shell("stubborn", `trap '' TERM; while :; do sleep 1; done`).
		Spec(leaves(`sleep 3600`, grace)).Obj())
	last, took := s.farewell(pod)
	s.Expect(last).NotTo(BeNil(), "home says how the container ended")
	s.Expect(last.ExitCode).To(BeEquivalentTo(137), "killed")
	s.Expect(took).To(And(BeNumerically(">=", grace), BeNumerically("<", later)))
}

// greedy takes more memory than it may.
const greedy = `echo "about to take too much"; exec dd if=/dev/zero of=/dev/null bs=200M`

func limited(spec *corev1.PodSpec) {
	spec.Containers[0].Resources = corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("20Mi")},
	}
}

// O2: why a container died is what home says, and it counts as a restart there.
func TestAContainerThatIsKilledForItsMemorySaysSoAtHome(t *testing.T) {
	s := newScene(t, "hungry")
	once := s.shell("once", greedy).Spec(limited).Spec(func(spec *corev1.PodSpec) {
		spec.RestartPolicy = corev1.RestartPolicyNever
	}).Obj()
	again := s.shell("again", greedy).Spec(limited).Obj()
	s.create(once, again)

	s.Eventually(s.status(once)).Should(HaveField("State.Terminated", gstruct.PointTo(And(
		HaveField("Reason", "OOMKilled"), HaveField("ExitCode", BeEquivalentTo(137))))))
	s.Eventually(func() corev1.PodPhase {
		var pod corev1.Pod
		s.Expect(s.home.Get(s.ctx, client.ObjectKeyFromObject(once), &pod)).To(Succeed())
		return pod.Status.Phase
	}).Should(Equal(corev1.PodFailed))

	s.Eventually(s.status(again)).Should(And(
		HaveField("RestartCount", BeNumerically(">", 0)),
		HaveField("LastTerminationState.Terminated", gstruct.PointTo(HaveField("Reason", "OOMKilled"))),
	))
	s.Eventually(func() string {
		out, _ := s.says("", "logs", "--previous", again.Name)
		return out
	}).Should(Equal("about to take too much\n"))
}
