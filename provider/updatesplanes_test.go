package provider

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
)

// What API servers allow, refuse, default and keep account of is theirs to say, so nothing here is faked but kubelets.
func TestUpdatesOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]func(*shop){
		"labels and annotations travel, and others' stay": testUpdateMetadata,
		"image, toleration and deadline travel":           testUpdateSpec,
		"a container to debug travels":                    testUpdateDebug,
		"a resize travels":                                testUpdateResize,
		"a refusal is told until it is over":              testUpdateRefused,
		"drift is repaired":                               testDrift,
		"changes during a restart travel":                 testUpdateAfterRestart,
		"a change costs one write on each side":           testUpdateWrites,
		"the patch of a VirtualNode reaches labels":       testPatchChanges,
		"pods of an unreachable provider are labelled":    testUnavailable,
		"a slow provider does not delay status":           testSlowProvider,
		"a provider that wants rest gets it":              testRetryAfter,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(w.shop(t, fmt.Sprintf("shop-%02d", shops.Add(1))))
		})
	}
}

// edit changes a pod as a user does.
func (s *shop) edit(on *kubernetes.Clientset, ns, name string, change func(*corev1.Pod)) *corev1.Pod {
	s.Helper()
	var out *corev1.Pod
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		pod, err := on.CoreV1().Pods(ns).Get(s.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(pod)
		out, err = on.CoreV1().Pods(ns).Update(s.Context(), pod, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// sees waits until both pods of a name are as they should be.
func (s *shop) sees(what, name string, check func(home, away *corev1.Pod) error) {
	s.Helper()
	s.eventually(what, func() error {
		home, err := s.homePod(name)
		if err != nil {
			return err
		}
		away, err := s.awayPod(name)
		if err != nil {
			return err
		}
		return check(home, away)
	})
}

func testUpdateMetadata(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	must(s.T, s.home.CoreV1().Pods(s.ns).Create, build.Pod("web").Namespace(s.ns).Node(s.node()).
		Label("app", "web").Label("old", "x").Annotation("note", "n").Obj())
	home, err := s.homePod("web")
	if err != nil {
		s.Fatal(err)
	}
	s.run(s.remote(home))
	s.phase(home, corev1.PodRunning)
	s.edit(s.away, s.twin, "web", func(pod *corev1.Pod) { pod.Annotations["theirs"] = "y" })
	begin := time.Now()
	home = s.edit(s.home, s.ns, "web", func(pod *corev1.Pod) {
		pod.Labels["app"] = "till"
		delete(pod.Labels, "old")
		pod.Annotations["note"], pod.Annotations["more"] = "m", strings.Repeat("x", 4096)
	})
	s.sees("the remote pod follows", "web", func(_, away *corev1.Pod) error {
		_, old := away.Labels["old"]
		if away.Labels["app"] != "till" || old || away.Annotations["note"] != "m" ||
			len(away.Annotations["more"]) != 4096 {
			return fmt.Errorf("labels %v, annotations %v", away.Labels, away.Annotations)
		}
		return nil
	})
	s.Logf("it took %s", time.Since(begin))
	away := s.remote(home)
	if away.Annotations["theirs"] != "y" {
		s.Error("an annotation of the provider's was removed")
	}
	if got, err := s.homePod("web"); err != nil || got.Annotations["theirs"] != "" {
		s.Errorf("an annotation of the provider's came home: %v", err)
	}
}

// observes waits until home says whether the last generation of its pod is observed.
func (s *shop) observes(name string, want bool) {
	s.Helper()
	s.sees(fmt.Sprintf("home says that its generation is observed: %v", want), name, func(home, _ *corev1.Pod) error {
		if is := home.Status.ObservedGeneration == home.Generation; is != want {
			return fmt.Errorf("generation %d, observed %d", home.Generation, home.Status.ObservedGeneration)
		}
		return nil
	})
}

func testUpdateSpec(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	_, remote := s.running("web")
	s.observes("web", true)
	seen := func(generation int64) {
		s.Helper()
		away, err := s.awayPod("web")
		if err != nil {
			s.Fatal(err)
		}
		away.Status.ObservedGeneration = generation
		if _, err := s.away.CoreV1().Pods(s.twin).UpdateStatus(s.Context(), away, metav1.UpdateOptions{}); err != nil {
			s.Fatal(err)
		}
	}
	seen(remote.Generation)
	s.edit(s.home, s.ns, "web", func(pod *corev1.Pod) {
		pod.Spec.Containers[0].Image = "registry.example/next:2"
		pod.Spec.ActiveDeadlineSeconds = ptr.To[int64](3600)
		pod.Spec.Tolerations = append(pod.Spec.Tolerations,
			corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists})
	})
	s.sees("the remote pod follows", "web", func(_, away *corev1.Pod) error {
		var gpu bool
		for _, t := range away.Spec.Tolerations {
			gpu = gpu || t.Key == "gpu"
		}
		if away.Spec.Containers[0].Image != "registry.example/next:2" || !gpu ||
			ptr.Deref(away.Spec.ActiveDeadlineSeconds, 0) != 3600 {
			return fmt.Errorf("it has not: %+v", away.Spec)
		}
		return nil
	})
	s.never("home says that it is observed before the provider's kubelet does", func() error {
		home, err := s.homePod("web")
		if err == nil && home.Status.ObservedGeneration == home.Generation {
			return errors.New("it does")
		}
		return err
	})
	away, err := s.awayPod("web")
	if err != nil {
		s.Fatal(err)
	}
	seen(away.Generation)
	s.observes("web", true)
}

func testUpdateDebug(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	_, away := s.running("web")
	s.debug("web", false)
	s.sees("the container arrives", "web", func(_, away *corev1.Pod) error {
		if n := len(away.Spec.EphemeralContainers); n != 1 {
			return fmt.Errorf("%d ephemeral containers", n)
		}
		return nil
	})
	s.report(away, corev1.PodStatus{Phase: corev1.PodRunning, EphemeralContainerStatuses: []corev1.ContainerStatus{{
		Name: "debug", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}})
	s.sees("its status comes back", "web", func(home, _ *corev1.Pod) error {
		if len(home.Status.EphemeralContainerStatuses) != 1 {
			return errors.New("there is none")
		}
		return nil
	})
	s.observes("web", true)
}

// debug is kubectl debug.
func (s *shop) debug(name string, privileged bool) {
	s.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		pod, err := s.homePod(name)
		if err != nil {
			return err
		}
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: "debug", Image: build.Image, ImagePullPolicy: corev1.PullIfNotPresent,
				TerminationMessagePolicy: corev1.TerminationMessageReadFile,
				SecurityContext:          &corev1.SecurityContext{Privileged: ptr.To(privileged)},
			},
			TargetContainerName: "app",
		}}
		_, err = s.home.CoreV1().Pods(s.ns).UpdateEphemeralContainers(s.Context(), name, pod, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
}

func testUpdateResize(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home := must(s.T, s.home.CoreV1().Pods(s.ns).Create,
		build.Pod("web").Namespace(s.ns).Node(s.node()).Request(corev1.ResourceCPU, "1").Obj())
	away := s.remote(home)
	s.run(away)
	s.phase(home, corev1.PodRunning)
	// Without a word from the kubelet about the resources that it gave, API servers refuse to resize.
	has := corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}
	s.report(away, corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "app", Resources: &has, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}})
	s.sees("home knows of the resources", "web", func(home, _ *corev1.Pod) error {
		if len(home.Status.ContainerStatuses) != 1 || home.Status.ContainerStatuses[0].Resources == nil {
			return errors.New("it does not")
		}
		return nil
	})
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		pod, err := s.homePod("web")
		if err != nil {
			return err
		}
		pod.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("1500m")
		_, err = s.home.CoreV1().Pods(s.ns).UpdateResize(s.Context(), "web", pod, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	s.sees("the remote pod is resized", "web", func(_, away *corev1.Pod) error {
		if q := away.Spec.Containers[0].Resources.Requests.Cpu(); q.MilliValue() != 1500 {
			return fmt.Errorf("it asks for %s", q)
		}
		return nil
	})
	s.observes("web", true)
}
