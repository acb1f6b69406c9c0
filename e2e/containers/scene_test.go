package containers

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// scene is an offloaded namespace at home, whose pods all run on the real node.
type scene struct {
	*WithT
	t    *testing.T
	ctx  context.Context
	home client.Client
	ns   string
}

// newScene offloads a new namespace, or skips the test where there is no real node.
func newScene(t *testing.T, ns string) *scene {
	t.Helper()
	if metal == nil {
		t.Skip(absent)
	}
	s := &scene{WithT: NewWithT(t), t: t, ctx: t.Context(), home: playground.Consumer().Client(), ns: ns}
	s.SetDefaultEventuallyTimeout(later)
	s.SetDefaultEventuallyPollingInterval(poll)
	s.Eventually(func() error { return s.home.Create(s.ctx, build.Namespace(ns).Obj()) }).
		Should(Succeed(), "once the namespace of an earlier run is gone")
	s.create(build.Offloading(ns).Strategy(v1beta1.Remote).Obj())
	t.Cleanup(func() {
		// The test's own context is done by now.
		if err := s.home.Delete(context.Background(), build.Namespace(ns).Obj()); err != nil {
			t.Errorf("delete namespace %s: %v", ns, err)
		}
	})
	return s
}

func (s *scene) create(objs ...client.Object) {
	s.t.Helper()
	for _, obj := range objs {
		s.Expect(s.home.Create(s.ctx, obj)).To(Succeed())
	}
}

// shell builds a pod that runs a script of busybox' shell.
func (s *scene) shell(name, script string) *build.PodBuilder {
	return build.Pod(name).Namespace(s.ns).Spec(func(spec *corev1.PodSpec) {
		spec.Containers[0].Command = []string{"sh", "-c", script}
	})
}

// starts creates the pod and waits until home says that it runs; its container is a real one.
func (s *scene) starts(pod *corev1.Pod) *corev1.Pod {
	s.t.Helper()
	s.create(pod)
	running := &corev1.Pod{}
	s.Eventually(func(g Gomega) {
		g.Expect(s.home.Get(s.ctx, client.ObjectKeyFromObject(pod), running)).To(Succeed())
		g.Expect(running.Status.Phase).To(Equal(corev1.PodRunning), "%+v", running.Status)
	}).Should(Succeed())
	s.Expect(running.Spec.NodeName).To(Equal(provider))
	s.Expect(running.Status.ContainerStatuses[0].ContainerID).To(HavePrefix("containerd://"))
	return running
}

// status returns a function that reads the status of the pod's container at home.
func (s *scene) status(pod *corev1.Pod) func() corev1.ContainerStatus {
	return func() corev1.ContainerStatus {
		var now corev1.Pod
		err := s.home.Get(s.ctx, client.ObjectKeyFromObject(pod), &now)
		if err != nil || len(now.Status.ContainerStatuses) != 1 {
			return corev1.ContainerStatus{}
		}
		return now.Status.ContainerStatuses[0]
	}
}

// away returns the twin's pod.
func (s *scene) away(pod *corev1.Pod) *corev1.Pod {
	s.t.Helper()
	var twin corev1.Pod
	key := client.ObjectKey{Namespace: s.ns + "-" + env.Consumer, Name: pod.Name}
	s.Expect(playground.Cluster(provider).Client().Get(s.ctx, key, &twin)).To(Succeed())
	return &twin
}

// clientset returns the client of a user at home.
func (s *scene) clientset() *kubernetes.Clientset {
	s.t.Helper()
	clientset, err := kubernetes.NewForConfig(playground.Consumer().Config())
	s.Expect(err).NotTo(HaveOccurred())
	return clientset
}

// kubectl returns kubectl with arguments, for the scene's namespace at home. It ends with the test.
func (s *scene) kubectl(args ...string) *exec.Cmd {
	all := append([]string{"kubectl", "--dir", playground.Dir(), env.Consumer, "--namespace", s.ns}, args...)
	return exec.CommandContext(s.ctx, filepath.Join(playground.Bin(), "playground"), all...)
}

// says runs kubectl with an input and returns what it printed and its exit code.
func (s *scene) says(input string, args ...string) (string, int) {
	s.t.Helper()
	cmd := s.kubectl(args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("run kubectl: %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// stream starts kubectl and returns the lines that it prints, as they come; the channel is closed when it ends.
func (s *scene) stream(args ...string) <-chan string {
	s.t.Helper()
	reader, writer := io.Pipe()
	cmd := s.kubectl(args...)
	cmd.Stdout, cmd.Stderr = writer, writer
	s.Expect(cmd.Start()).To(Succeed())
	go func() { _ = writer.CloseWithError(cmd.Wait()) }()
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(reader); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines
}
