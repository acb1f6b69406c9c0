package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// explained is what a script reads of liqoctl explain -o json.
type explained struct {
	APIVersion, Kind, Summary string
	Pod                       *struct{ State, Node, SchedulerSays string }
	Verdicts                  []struct {
		Nodes   []string
		Outcome string
		Reasons []struct{ Reason, Message string }
	}
}

func (w *world) explain(args ...string) explained {
	w.t.Helper()
	out, code := w.liqoctl(append([]string{"explain"}, append(args, "-o", "json")...)...)
	w.Expect(code).To(Equal(0), out)
	var e explained
	w.Expect(json.Unmarshal([]byte(out), &e)).To(Succeed(), out)
	w.Expect(e.APIVersion + " " + e.Kind).To(Equal("liqoctl.liqo.io/v1 PlacementExplanation"))
	return e
}

// says returns on how many nodes a sentence, or one that begins with it, is among the reasons.
func (e *explained) says(sentence string) (n int) {
	for _, v := range e.Verdicts {
		for _, r := range v.Reasons {
			if strings.HasPrefix(r.Message, sentence) {
				n += len(v.Nodes)
			}
		}
	}
	return n
}

// failedScheduling returns the messages of a pod's FailedScheduling events.
func (w *world) failedScheduling(pod string) ([]string, error) {
	var events corev1.EventList
	if err := w.home.List(w.ctx, &events, client.InNamespace(w.ns)); err != nil {
		return nil, err
	}
	var said []string
	for _, e := range events.Items {
		if e.Reason == "FailedScheduling" && e.InvolvedObject.Name == pod {
			said = append(said, e.Message)
		}
	}
	return said, nil
}

// C3, P1: explain and the event of the scheduler say the same words, about the same number of nodes.
func TestExplainSaysWhatTheSchedulerSays(t *testing.T) {
	const (
		home = 3
		away = 2
	)
	nowhere := build.Selector("region", "nowhere")
	toHome := func(s *corev1.PodSpec) {
		term := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: v1beta1.LabelNodeType, Operator: corev1.NodeSelectorOpNotIn, Values: []string{v1beta1.NodeTypeVirtual},
		}}}
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{term},
			},
		}}
	}
	tests := map[string]struct {
		off  func(*build.OffloadingBuilder) *build.OffloadingBuilder
		mark bool
		pod  *build.PodBuilder
		// event is what the event says.
		event []string
		// nodes is of how many nodes explain says it.
		nodes map[string]int
	}{
		"remote": {
			off: func(b *build.OffloadingBuilder) *build.OffloadingBuilder {
				return b.Strategy(v1beta1.Remote).Selector(nowhere)
			},
			pod: build.Pod("web"),
			event: []string{
				"2 cluster is not selected for this namespace",
				"3 strategy Remote sends the pods of this namespace to virtual nodes",
			},
			nodes: map[string]int{
				"cluster is not selected for this namespace":                        away,
				"strategy Remote sends the pods of this namespace to virtual nodes": home,
			},
		},
		"contradiction": {
			off: func(b *build.OffloadingBuilder) *build.OffloadingBuilder { return b.Strategy(v1beta1.Remote) },
			pod: build.Pod("web").Spec(toHome),
			event: []string{
				"2 node(s) didn't match Pod's node affinity/selector",
				"3 strategy Remote sends the pods of this namespace to virtual nodes",
			},
			nodes: map[string]int{
				"node(s) didn't match Pod's node affinity/selector: affinity liqo.io/type not in (virtual-node)": away,
				"strategy Remote sends the pods of this namespace to virtual nodes":                              home,
			},
		},
		"class": {
			pod:   build.Pod("web").RuntimeClass(v1beta1.RuntimeClass),
			event: []string{"namespace is not offloaded"},
			nodes: map[string]int{
				"namespace is not offloaded":                  away,
				`RuntimeClass "liqo" asks for a virtual node`: home,
			},
		},
		"announced": {
			mark: true, pod: build.Pod("web"),
			event: []string{"waiting for the offloading of this namespace to be processed, which its label "},
			nodes: map[string]int{
				"waiting for the offloading of this namespace to be processed, which its label ": home + away,
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "explain-"+name)
			if test.mark {
				patch := []byte(`{"metadata":{"labels":{"` + v1beta1.LabelSchedulingEnabled + `":"true"}}}`)
				w.Expect(w.home.Patch(w.ctx, build.Namespace(w.ns).Obj(),
					client.RawPatch(types.MergePatchType, patch))).To(Succeed())
			}
			if test.off != nil {
				w.create(test.off(build.Offloading(w.ns)).Obj())
				// A reason that passes by itself would stay in the event: nothing wakes a pod that still cannot run.
				w.Eventually(w.phase).ShouldNot(Or(BeEmpty(), Equal(v1beta1.PhaseInProgress)))
			}
			w.create(test.pod.Namespace(w.ns).Obj())
			w.Eventually(func(g Gomega) {
				events, err := w.failedScheduling("web")
				g.Expect(err).NotTo(HaveOccurred())
				for _, want := range test.event {
					g.Expect(events).To(ContainElement(ContainSubstring(want)))
				}
				e := w.explain("pod", "web", "-n", w.ns)
				for sentence, nodes := range test.nodes {
					g.Expect(e.says(sentence)).To(Equal(nodes), "%s: %+v", sentence, e)
				}
				g.Expect(e.Pod.State).To(Equal("Pending"))
				g.Expect(e.Pod.SchedulerSays).To(ContainSubstring(test.event[0]))
			}).Should(Succeed())
		})
	}
}

func TestExplainAPodThatRunsAndOneThatDoesNotExistYet(t *testing.T) {
	w := newWorld(t, "explain-runs")
	w.offload("--pod-offloading-strategy", "Remote", "-l", "liqo.io/remote-cluster-id=provider-1")
	w.create(build.Pod("web").Namespace(w.ns).Obj())
	w.running(1)
	e := w.explain("pod", "web", "-n", w.ns)
	w.Expect(e.Summary).To(Equal(fmt.Sprintf("pod %s/web runs on provider-1, permitted", w.ns)))

	e = w.explain("namespace", w.ns, "--runtime-class", "liqo")
	w.Expect(e.says("cluster is not selected for this namespace")).To(Equal(1))
	w.Expect(e.Verdicts[0].Nodes).To(Equal([]string{"provider-1"}))
	w.Expect(e.Verdicts[0].Outcome).To(Equal("permitted"))

	file := filepath.Join(t.TempDir(), "pod.yaml")
	w.Expect(os.WriteFile(file, []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: later}\n"+
		"spec: {runtimeClassName: liqo, containers: [{name: a, image: b}]}\n"), 0o600)).To(Succeed())
	e = w.explain("pod", "-f", file, "-n", w.ns)
	w.Expect(e.Summary).To(HaveSuffix("later, if created, may go to 1 of 5 nodes"))
	w.Expect(e.says("node(s) didn't match Pod's node affinity/selector: nodeSelector liqo.io/type=virtual-node")).
		To(Equal(3), "what admission adds is accounted for: %+v", e)
}
