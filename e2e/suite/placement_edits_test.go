package suite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// manifest returns objects as somebody would write them down in one file.
func (w *world) manifest(objs ...client.Object) []byte {
	w.t.Helper()
	var file bytes.Buffer
	for _, obj := range objs {
		kind, err := apiutil.GVKForObject(obj, w.home.Scheme())
		w.Expect(err).NotTo(HaveOccurred())
		obj.GetObjectKind().SetGroupVersionKind(kind)
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		w.Expect(err).NotTo(HaveOccurred())
		delete(fields, "status")
		text, err := yaml.Marshal(fields)
		w.Expect(err).NotTo(HaveOccurred())
		file.WriteString("---\n")
		file.Write(text)
	}
	return file.Bytes()
}

// kubectl runs kubectl at home with something to read.
func kubectl(ctx context.Context, input io.Reader, args ...string) error {
	args = append([]string{"kubectl", "--dir", playground.Dir(), env.Consumer}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(playground.Bin(), "playground"), args...)
	cmd.Stdin = input
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// P2: files with namespaces, their offloadings and their pods, twenty of each. Where the offloading comes last, the
// label on the namespace announces it.
func TestPodsThatAreAppliedTogetherWithTheOffloadingObeyIt(t *testing.T) {
	const namespaces, perFile = 20, 5
	w := newWorld(t, "batch")
	cells := map[string]cell{}
	var files [namespaces / perFile]bytes.Buffer
	for n := range namespaces {
		ns := build.Namespace(fmt.Sprintf("batch-%d", n))
		name := ns.Obj().Name
		objs := []client.Object{build.Offloading(name).Strategy(v1beta1.Remote).Obj()}
		for _, pod := range []string{"one", "two"} {
			c := cell{pod: build.Pod(pod).Namespace(name).Obj(), on: aVirtualNode}
			cells[name+"/"+pod] = c
			objs = append(objs, c.pod)
		}
		if n%2 == 1 {
			ns.Label(v1beta1.LabelSchedulingEnabled, "true")
			slices.Reverse(objs)
		}
		files[n/perFile].Write(w.manifest(append([]client.Object{ns.Obj()}, objs...)...))
		t.Cleanup(func() { _ = w.home.Delete(context.Background(), ns.Obj()) })
	}
	var applying errgroup.Group
	for i := range files {
		applying.Go(func() error { return kubectl(w.ctx, &files[i], "apply", "-f", "-") })
	}
	w.Expect(applying.Wait()).To(Succeed())
	w.settle(t, cells)
}

// P3: an edit reaches pods that are pending, at once and without anybody's restart.
func TestAnEditReachesPendingPods(t *testing.T) {
	newWorld(t, "edits").virtualNode("provider-1-other", "provider-1", "liqo.io/provider", "other")
	hosts := func(names ...string) *v1beta1.ClusterSelector { return build.Selector(corev1.LabelHostname, names...) }
	for name, test := range map[string]struct {
		before, after v1beta1.NamespaceOffloadingSpec
		node, says    string
	}{
		"Local is given up": {
			before: v1beta1.NamespaceOffloadingSpec{PodOffloadingStrategy: v1beta1.Local},
			after:  v1beta1.NamespaceOffloadingSpec{PodOffloadingStrategy: v1beta1.LocalAndRemote},
			node:   "provider-1", says: localStays,
		},
		"Local becomes Remote": {
			before: v1beta1.NamespaceOffloadingSpec{PodOffloadingStrategy: v1beta1.Local},
			after:  v1beta1.NamespaceOffloadingSpec{PodOffloadingStrategy: v1beta1.Remote},
			node:   "provider-2", says: localStays,
		},
		"Remote is given up": {
			before: v1beta1.NamespaceOffloadingSpec{PodOffloadingStrategy: v1beta1.Remote},
			after:  v1beta1.NamespaceOffloadingSpec{PodOffloadingStrategy: v1beta1.LocalAndRemote},
			node:   "consumer-node-2", says: remoteGoes,
		},
		"the selector picks another node of a provider": {
			before: v1beta1.NamespaceOffloadingSpec{ClusterSelector: hosts("provider-1")},
			after:  v1beta1.NamespaceOffloadingSpec{ClusterSelector: hosts("provider-1", "provider-1-other")},
			node:   "provider-1-other", says: notSelected,
		},
		"the selector picks every node": {
			before: v1beta1.NamespaceOffloadingSpec{ClusterSelector: hosts("provider-2")},
			after:  v1beta1.NamespaceOffloadingSpec{ClusterSelector: &v1beta1.ClusterSelector{}},
			node:   "provider-1", says: notSelected,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "edit-"+strings.ReplaceAll(strings.ToLower(name), " ", "-"))
			off := build.Offloading(w.ns).Obj()
			apply := func(spec *v1beta1.NamespaceOffloadingSpec, from v1beta1.NamespaceOffloadingSpec) {
				if from.PodOffloadingStrategy != "" {
					spec.PodOffloadingStrategy = from.PodOffloadingStrategy
				}
				if from.ClusterSelector != nil {
					spec.ClusterSelector = from.ClusterSelector
				}
			}
			apply(&off.Spec, test.before)
			w.create(off)
			w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
			pod := build.Pod("web").Namespace(w.ns).Spec(pinned(test.node)).Obj()
			w.create(pod)
			w.settle(t, map[string]cell{"before": {pod: pod, says: []string{test.says}}})

			pace := w.pace()
			w.edit(func(spec *v1beta1.NamespaceOffloadingSpec) { apply(spec, test.after) })
			w.Eventually(w.nodeOf(pod), soon+3*pace, "20ms").Should(Equal(test.node))
		})
	}
}

// pace is how long this machine takes, now, to find a node for an ordinary pod that waits for nothing. Nobody else may
// be slower because the machine is.
func (w *world) pace() time.Duration {
	w.t.Helper()
	pod := build.Pod("pace-of-" + w.ns).Namespace(metav1.NamespaceDefault).Obj()
	start := time.Now()
	w.create(pod)
	w.Eventually(w.nodeOf(pod), later, "20ms").ShouldNot(BeEmpty())
	took := time.Since(start)
	w.deleted(pod)
	return took
}

// nodeOf returns a function that asks which node a pod has.
func (w *world) nodeOf(pod *corev1.Pod) func() (string, error) {
	return func() (string, error) {
		var now corev1.Pod
		err := w.home.Get(w.ctx, client.ObjectKeyFromObject(pod), &now)
		return now.Spec.NodeName, err
	}
}
