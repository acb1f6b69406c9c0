package provider

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/provider/translate"
)

// enforce sets the twin's Pod Security level, and waits until a privileged pod is treated so.
func (s *shop) enforce(level string, refuses bool) {
	s.Helper()
	_, err := s.away.CoreV1().Namespaces().Patch(s.Context(), s.twin, "application/merge-patch+json",
		fmt.Appendf(nil, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":%q}}}`, level),
		metav1.PatchOptions{})
	if err != nil {
		s.Fatal(err)
	}
	probe := build.Pod("probe").Namespace(s.twin).Spec(func(spec *corev1.PodSpec) {
		spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true)}
	}).Obj()
	s.eventually("the provider enforces "+level, func() error {
		_, err := s.away.CoreV1().Pods(s.twin).Create(s.Context(), probe,
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if (err != nil) != refuses {
			return fmt.Errorf("it does not: %w", err)
		}
		return nil
	})
}

func testUpdateRefused(s *shop) {
	s.enforce("baseline", true)
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	s.running("web")
	s.debug("web", true)
	s.sees("home has the provider's words", "web", func(home, _ *corev1.Pod) error {
		c := condition(home, translate.UpdateRefused)
		if c.Status != corev1.ConditionTrue || !strings.Contains(c.Message, "ephemeral container debug") ||
			!strings.Contains(c.Message, `violates PodSecurity "baseline:latest"`) {
			return fmt.Errorf("the condition is %+v", c)
		}
		return nil
	})
	said, err := s.homePod("web")
	if err != nil {
		s.Fatal(err)
	}
	if said.Status.Phase != corev1.PodRunning || said.Status.ObservedGeneration == said.Generation {
		s.Errorf("it is %s, and generation %d of %d is observed", said.Status.Phase, said.Status.ObservedGeneration,
			said.Generation)
	}
	s.never("the same refusal is written again", func() error {
		got, err := s.homePod("web")
		if err == nil && got.ResourceVersion != said.ResourceVersion {
			return errors.New("the resource version changed")
		}
		return err
	})
	if n := len(p.opts.Recorder.(*events.FakeRecorder).Events); n != 1 {
		s.Errorf("%d events about one refusal", n)
	}
	s.edit(s.home, s.ns, "web", func(pod *corev1.Pod) { metav1.SetMetaDataLabel(&pod.ObjectMeta, "app", "web") })
	s.sees("a label arrives all the same", "web", func(_, away *corev1.Pod) error {
		if away.Labels["app"] != "web" {
			return fmt.Errorf("labels %v", away.Labels)
		}
		return nil
	})
	s.enforce("privileged", false)
	s.sees("the container arrives, and the refusal goes", "web", func(home, away *corev1.Pod) error {
		c := condition(home, translate.UpdateRefused)
		if len(away.Spec.EphemeralContainers) != 1 || c.Type != "" {
			return fmt.Errorf("%d ephemeral containers, condition %+v", len(away.Spec.EphemeralContainers), c)
		}
		return nil
	})
	s.observes("web", true)
}

func testDrift(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home := must(s.T, s.home.CoreV1().Pods(s.ns).Create, build.Pod("web").Namespace(s.ns).Node(s.node()).
		Label("app", "web").Annotation("note", "n").Obj())
	s.run(s.remote(home))
	home = s.phase(home, corev1.PodRunning)
	s.edit(s.away, s.twin, "web", func(pod *corev1.Pod) {
		pod.Labels["app"], pod.Labels["theirs"] = "hijacked", "y"
		delete(pod.Annotations, "note")
		delete(pod.Labels, v1beta1.LabelNodeName)
	})
	s.sees("the remote pod is repaired", "web", func(_, away *corev1.Pod) error {
		if away.Labels["app"] != "web" || away.Annotations["note"] != "n" ||
			away.Labels[v1beta1.LabelNodeName] != s.node() {
			return fmt.Errorf("labels %v, annotations %v", away.Labels, away.Annotations)
		}
		if away.Labels["theirs"] != "y" {
			return errors.New("what the provider added is gone")
		}
		return nil
	})
	if got, err := s.homePod("web"); err != nil || got.ResourceVersion != home.ResourceVersion {
		s.Errorf("home was written to: %v", err)
	}
}

func testUpdateAfterRestart(s *shop) {
	p, stop := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	must(s.T, s.home.CoreV1().Pods(s.ns).Create, build.Pod("web").Namespace(s.ns).Node(s.node()).
		Label("app", "web").Label("old", "x").Obj())
	home, err := s.homePod("web")
	if err != nil {
		s.Fatal(err)
	}
	away := s.remote(home)
	s.run(away)
	s.phase(home, corev1.PodRunning)
	steady, steadyAway := s.running("steady")
	stop()
	s.edit(s.home, s.ns, "web", func(pod *corev1.Pod) {
		delete(pod.Labels, "old")
		pod.Spec.Containers[0].Image = "registry.example/next:2"
	})
	p, _ = s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	s.sees("the remote pod follows", "web", func(_, got *corev1.Pod) error {
		_, old := got.Labels["old"]
		if old || got.Spec.Containers[0].Image != "registry.example/next:2" || got.UID != away.UID {
			return fmt.Errorf("labels %v, image %s", got.Labels, got.Spec.Containers[0].Image)
		}
		return nil
	})
	s.observes("web", true)
	if got, err := s.homePod("steady"); err != nil || got.ResourceVersion != steady.ResourceVersion {
		s.Errorf("a pod that nobody changed was written to: %v", err)
	}
	if got, err := s.awayPod("steady"); err != nil || got.Generation != steadyAway.Generation {
		s.Errorf("a remote pod that nobody changed was written to: %v", err)
	}
}

func testUpdateWrites(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	s.running("web")
	var audits []*env.Audit
	for _, plane := range s.planes {
		audit, err := plane.Audit()
		if err != nil {
			s.Fatal(err)
		}
		audits = append(audits, audit)
	}
	s.edit(s.home, s.ns, "web", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Image = "registry.example/next:2"
		metav1.SetMetaDataLabel(&pod.ObjectMeta, "app", "web")
	})
	s.observes("web", true)
	home, err := s.homePod("web")
	if err != nil {
		s.Fatal(err)
	}
	s.never("it is written again", func() error {
		got, err := s.homePod("web")
		if err == nil && got.ResourceVersion != home.ResourceVersion {
			return errors.New("at home")
		}
		return err
	})
	want := []string{"patch pods/status", "patch pods/"}
	for i, audit := range audits {
		recorded, err := audit.Events()
		if err != nil {
			s.Fatal(err)
		}
		var got []string
		for _, e := range recorded {
			ours := e.ObjectRef != nil && strings.HasPrefix(e.ObjectRef.Namespace, s.ns)
			if ours && env.IsWrite(e) && e.UserAgent == agentName {
				got = append(got, e.Verb+" "+e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource)
			}
		}
		if diff := cmp.Diff([]string{want[i]}, got); diff != "" {
			s.Errorf("writes on plane %d, -want,+got:\n%s", i, diff)
		}
	}
}

func testPatchChanges(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home := must(s.T, s.home.CoreV1().Pods(s.ns).Create, build.Pod("web").Namespace(s.ns).Node(s.node()).
		Label("app", "web").Label("cost", "x").Obj())
	s.remote(home)
	p.Serve(s.node(), &v1beta1.OffloadingPatch{LabelsNotReflected: []string{"cost"}})
	s.sees("the label goes", "web", func(_, away *corev1.Pod) error {
		if _, has := away.Labels["cost"]; has || away.Labels["app"] != "web" {
			return fmt.Errorf("labels %v", away.Labels)
		}
		return nil
	})
}
