package suite

import (
	"context"
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// end is the annotation that says how the fake kubelet ends a pod; any other word means that it does not.
const end = "playground.twinspace/end"

// job returns a Job that allows no failure but disruptions, with one pod that does not end by itself.
func job(namespace, name string) *batchv1.Job {
	pod := build.Pod(name).Annotation(end, "later").Request(corev1.ResourceCPU, "20").Spec(func(s *corev1.PodSpec) {
		s.RestartPolicy = corev1.RestartPolicyNever
	}).Obj()
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](0),
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
				Action: batchv1.PodFailurePolicyActionIgnore,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{
					Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
				}},
			}}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Annotations: pod.Annotations}, Spec: pod.Spec,
			},
		},
	}
}

// O5: whichever way the provider takes a pod away, it has failed at home as a disruption, and a Job starts another
// without counting a failure.
func TestAPodThatTheProviderTakesAwayIsADisruption(t *testing.T) {
	for name, test := range map[string]struct {
		take   func(*world, *corev1.Pod)
		reason string
	}{
		"deleted": {func(w *world, remote *corev1.Pod) {
			w.Expect(away("provider-1").Delete(w.ctx, remote)).To(Succeed())
		}, "RemotePodDeleted"},
		"evicted": {func(w *world, remote *corev1.Pod) {
			eviction := away("provider-1").SubResource("eviction")
			w.Expect(eviction.Create(w.ctx, remote, &policyv1.Eviction{})).To(Succeed())
		}, "EvictionByEvictionAPI"},
		"preempted": {preempt, "PreemptionByScheduler"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "taken-"+name)
			w.remoteOn("provider-1")
			c := w.chronicleOf("provider-1")
			w.create(job(w.ns, "work"))
			first := w.running(1)[0]
			remote, err := w.awayPod(&first)
			w.Expect(err).NotTo(HaveOccurred())
			test.take(w, remote)

			taken := And(HaveField("Status.Phase", corev1.PodFailed), HaveField("Status.Conditions", ContainElement(And(
				HaveField("Type", corev1.DisruptionTarget), HaveField("Status", corev1.ConditionTrue),
				HaveField("Reason", test.reason),
			))))
			w.Eventually(func() (corev1.Pod, error) {
				var now corev1.Pod
				err := w.get(w.home, w.ns, first.Name, &now)
				return now, err
			}).Should(taken)
			second := w.running(1)[0]
			w.Expect(second.UID).NotTo(Equal(first.UID))
			w.succeed(&second)
			w.Eventually(func(g Gomega) {
				var done batchv1.Job
				g.Expect(w.get(w.home, w.ns, "work", &done)).To(Succeed())
				g.Expect(done.Status.Succeeded).To(Equal(int32(1)))
				g.Expect(done.Status.Failed).To(BeZero(), "disruptions are no failures")
			}).Should(Succeed())
			w.kept(c)
		})
	}
}

// succeed ends the remote pod of a home pod well, as its kubelet would tell.
func (w *world) succeed(home *corev1.Pod) {
	w.t.Helper()
	remote, err := w.awayPod(home)
	w.Expect(err).NotTo(HaveOccurred())
	patch := client.MergeFrom(remote.DeepCopy())
	remote.Status.Phase = corev1.PodSucceeded
	for i := range remote.Status.ContainerStatuses {
		status := &remote.Status.ContainerStatuses[i]
		status.Ready, status.State = false, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			Reason: "Completed", FinishedAt: metav1.Now(),
		}}
	}
	w.Expect(away(home.Spec.NodeName).Status().Patch(w.ctx, remote, patch)).To(Succeed())
}

// preempt fills the provider with pods that are more important, one a node.
func preempt(w *world, remote *corev1.Pod) {
	w.t.Helper()
	c := away("provider-1")
	urgent := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "urgent"}, Value: 1000}
	w.Expect(c.Create(w.ctx, urgent)).To(Succeed())
	made := []client.Object{urgent}
	var nodes corev1.NodeList
	w.Expect(c.List(w.ctx, &nodes)).To(Succeed())
	for i := range nodes.Items {
		pod := build.Pod(fmt.Sprintf("urgent-%d", i)).Request(corev1.ResourceCPU, "20").Spec(func(s *corev1.PodSpec) {
			s.PriorityClassName = urgent.Name
			s.TerminationGracePeriodSeconds = ptr.To[int64](0)
		}).Obj()
		w.Expect(c.Create(w.ctx, pod)).To(Succeed())
		made = append(made, pod)
	}
	w.t.Cleanup(func() {
		for _, obj := range made { // the test's own context is done by now
			_ = c.Delete(context.Background(), obj)
		}
	})
	w.Eventually(func() error { return w.get(c, remote.Namespace, remote.Name, &corev1.Pod{}) }).
		Should(MatchError(notFound, "not found"))
	for _, obj := range made {
		w.Expect(c.Delete(w.ctx, obj)).To(Succeed())
	}
}

// A Job keeps its pods until it knows how they ended, and with them the namespace.
func TestANamespaceGoesWhileAJobRunsInIt(t *testing.T) {
	for _, strategy := range []v1beta1.PodOffloadingStrategy{v1beta1.Local, v1beta1.Remote} {
		t.Run(string(strategy), func(t *testing.T) {
			w := newWorld(t, "working-"+strings.ToLower(string(strategy)))
			w.create(build.Offloading(w.ns).Strategy(strategy).Obj())
			w.create(job(w.ns, "work"))
			w.running(1)
			w.deleted(build.Namespace(w.ns).Obj())
		})
	}
}

// O6: finished pods stay as they are, whatever is deleted or restarted.
func TestFinishedPodsStayFinished(t *testing.T) {
	w := newWorld(t, "finished")
	w.remote()
	ways := map[string]corev1.PodPhase{"done": corev1.PodSucceeded, "broken": corev1.PodFailed}
	for name, phase := range ways {
		w.create(build.Pod(name).Namespace(w.ns).Annotation(end, string(phase)).Spec(func(s *corev1.PodSpec) {
			s.RestartPolicy = corev1.RestartPolicyNever
		}).Obj())
	}
	before := map[string]*corev1.Pod{}
	for name, phase := range ways {
		before[name] = &corev1.Pod{}
		w.Eventually(func() (corev1.PodPhase, error) {
			err := w.get(w.home, w.ns, name, before[name])
			return before[name].Status.Phase, err
		}).Should(Equal(phase))
	}
	for _, provider := range providers() {
		w.Expect(playground.Kill(w.ctx, env.Consumer, env.AgentOf(provider))).To(Succeed())
	}
	remote, err := w.awayPod(before["done"])
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(away(before["done"].Spec.NodeName).Delete(w.ctx, remote)).To(Succeed())
	for _, provider := range providers() {
		w.Expect(revive(w.ctx, provider)).To(Succeed())
	}
	// Another pod runs: so the agents have begun, and looked at those that were there before.
	w.create(build.Pod("later-a").Namespace(w.ns).Obj(), build.Pod("later-b").Namespace(w.ns).Obj())
	w.running(2)
	remote, err = w.awayPod(before["broken"])
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(away(before["broken"].Spec.NodeName).Delete(w.ctx, remote)).To(Succeed())
	w.Consistently(func(g Gomega) {
		for name, was := range before {
			var now corev1.Pod
			g.Expect(w.get(w.home, w.ns, name, &now)).To(Succeed())
			g.Expect(now.Status).To(Equal(was.Status), name)
		}
	}).Should(Succeed())
}

// O7 and I2: the pods of a StatefulSet never overlap with their successors, wherever these run, and each shows its own
// status.
func TestThePodsOfAStatefulSetNeverOverlap(t *testing.T) {
	w := newWorld(t, "ordinals")
	w.remote()
	c := w.chronicle()
	w.create(statefulSet(w.ns, "db", 4))
	for range 2 {
		pods := w.running(4)
		for i := range pods {
			w.Expect(w.home.Delete(w.ctx, &pods[i])).To(Succeed())
		}
		w.replaced(pods)
	}
	// A user who deletes by force gives up the promise that the old one has ended, and no more: there is still one
	// remote pod for each home pod, and the old one goes.
	pods := w.running(4)
	for i := range pods {
		c.forced[pods[i].UID] = true
		w.Expect(w.home.Delete(w.ctx, &pods[i], client.GracePeriodSeconds(0))).To(Succeed())
	}
	w.replaced(pods)
	w.twinPods(4)
	w.kept(c)
}

// replaced waits until other pods of the same names run.
func (w *world) replaced(pods []corev1.Pod) {
	w.t.Helper()
	w.Eventually(func(g Gomega) {
		for _, was := range pods {
			var now corev1.Pod
			g.Expect(w.get(w.home, w.ns, was.Name, &now)).To(Succeed())
			g.Expect(now.UID).NotTo(Equal(was.UID))
			g.Expect(now.Status.Phase).To(Equal(corev1.PodRunning))
		}
	}).Should(Succeed())
}
