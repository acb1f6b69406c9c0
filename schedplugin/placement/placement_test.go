package placement_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// The nodes of the truth table. The selector of every case picks region eu; provider-1's twin is ready.
var nodes = map[string]*corev1.Node{
	"ordinary node":                           build.Node("worker-1"),
	"virtual node, selected, twin ready":      virtual("provider-1", "eu"),
	"virtual node, selected, twin on its way": virtual("provider-2", "eu"),
	"virtual node, not selected":              virtual("provider-3", "us"),
}

func virtual(cluster, region string) *corev1.Node {
	return build.VirtualNodesNode(build.VirtualNode(cluster, cluster, corev1.LabelTopologyRegion, region))
}

func twins(cluster string) v1beta1.TwinStatus {
	return map[string]v1beta1.TwinStatus{
		"provider-1": {RemoteNamespace: "shop-home", Phase: v1beta1.MappingAccepted},
		"provider-3": {RemoteNamespace: "shop-home", Phase: v1beta1.MappingAccepted},
	}[cluster]
}

// What is said, in the user's words.
const (
	yes          = ""
	notOffloaded = "namespace is not offloaded"
	class        = `RuntimeClass "liqo" asks for a virtual node`
	local        = "strategy Local keeps the pods of this namespace at home"
	remote       = "strategy Remote sends the pods of this namespace to virtual nodes"
	notSelected  = "cluster is not selected for this namespace"
	twinWaits    = `the twin namespace on cluster "provider-2" is not ready yet`
	unprocessed  = "waiting for the offloading of this namespace to be processed, which its label " +
		"liqo.io/scheduling-enabled=true announces"
	beingRemoved  = "the offloading of this namespace is being removed"
	twinsLeaving  = "waiting until the twin namespaces of this namespace are gone"
	badExpression = "the cluster selector of this namespace is invalid: " +
		`nodeSelectorTerms[0].matchExpressions[0].operator: Unsupported value: "Equals": ` +
		`supported values: "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"`
)

func offloading(s v1beta1.PodOffloadingStrategy) *build.OffloadingBuilder {
	return build.Offloading("shop").Strategy(s).Phase(v1beta1.PhaseInProgress).
		Selector(build.Selector(corev1.LabelTopologyRegion, "eu"))
}

func terminating(s v1beta1.PodOffloadingStrategy) *v1beta1.NamespaceOffloading {
	off := offloading(s).Phase(v1beta1.PhaseTerminating).Obj()
	off.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	return off
}

func invalid(s v1beta1.PodOffloadingStrategy) *v1beta1.NamespaceOffloading {
	off := offloading(s).Obj()
	off.Spec.ClusterSelector.NodeSelectorTerms[0].MatchExpressions[0].Operator = "Equals"
	return off
}

var announced = map[string]string{v1beta1.LabelSchedulingEnabled: "true"}

// verdicts are those on the four nodes of the table, in its order.
type verdicts struct {
	Ordinary, Ready, OnItsWay, NotSelected string
	// Nowhere is the sentence for a pod that no node can take, "" when that depends on the node.
	Nowhere string
	// HomeOnly is said of pods that every ordinary node may take and no virtual one.
	HomeOnly bool
}

func TestTruthTable(t *testing.T) {
	for name, test := range map[string]struct {
		labels map[string]string
		off    *v1beta1.NamespaceOffloading
		class  string
		want   verdicts
	}{
		"not offloaded, no class": {
			want: verdicts{yes, notOffloaded, notOffloaded, notOffloaded, "", true},
		},
		"not offloaded, another class": {
			class: "gvisor",
			want:  verdicts{yes, notOffloaded, notOffloaded, notOffloaded, "", true},
		},
		"not offloaded, class liqo": {
			class: "liqo",
			want:  verdicts{class, notOffloaded, notOffloaded, notOffloaded, notOffloaded, false},
		},
		"not offloaded, label set to something but true": {
			labels: map[string]string{v1beta1.LabelSchedulingEnabled: "yes"},
			want:   verdicts{yes, notOffloaded, notOffloaded, notOffloaded, "", true},
		},
		"Local, no class": {
			off:  offloading(v1beta1.Local).Obj(),
			want: verdicts{yes, local, local, local, "", true},
		},
		"Local, another class": {
			off: offloading(v1beta1.Local).Obj(), class: "gvisor",
			want: verdicts{yes, local, local, local, "", true},
		},
		"Local, class liqo": {
			off: offloading(v1beta1.Local).Obj(), class: "liqo",
			want: verdicts{class, yes, twinWaits, notSelected, "", false},
		},
		"Remote, no class": {
			off: offloading(v1beta1.Remote).Obj(), labels: announced,
			want: verdicts{remote, yes, twinWaits, notSelected, "", false},
		},
		"Remote, another class": {
			off: offloading(v1beta1.Remote).Obj(), labels: announced, class: "gvisor",
			want: verdicts{remote, yes, twinWaits, notSelected, "", false},
		},
		"Remote, class liqo": {
			off: offloading(v1beta1.Remote).Obj(), labels: announced, class: "liqo",
			want: verdicts{class, yes, twinWaits, notSelected, "", false},
		},
		"LocalAndRemote, no class": {
			off: offloading(v1beta1.LocalAndRemote).Obj(), labels: announced,
			want: verdicts{yes, yes, twinWaits, notSelected, "", false},
		},
		"LocalAndRemote, another class": {
			off: offloading(v1beta1.LocalAndRemote).Obj(), labels: announced, class: "gvisor",
			want: verdicts{yes, yes, twinWaits, notSelected, "", false},
		},
		"LocalAndRemote, class liqo": {
			off: offloading(v1beta1.LocalAndRemote).Obj(), labels: announced, class: "liqo",
			want: verdicts{class, yes, twinWaits, notSelected, "", false},
		},
		"strategy absent means LocalAndRemote": {
			off:  offloading("").Obj(),
			want: verdicts{yes, yes, twinWaits, notSelected, "", false},
		},
		"Local, selector invalid": {
			off:  invalid(v1beta1.Local),
			want: verdicts{yes, local, local, local, "", true},
		},
		"Local, selector invalid, class liqo": {
			off: invalid(v1beta1.Local), class: "liqo",
			want: verdicts{class, badExpression, badExpression, badExpression, badExpression, false},
		},
		"Remote, selector invalid": {
			off:  invalid(v1beta1.Remote),
			want: verdicts{remote, badExpression, badExpression, badExpression, badExpression, false},
		},
		"LocalAndRemote, selector invalid": {
			off:  invalid(v1beta1.LocalAndRemote),
			want: verdicts{yes, badExpression, badExpression, badExpression, "", true},
		},
		"announced by label, no NamespaceOffloading": {
			labels: announced,
			want:   verdicts{unprocessed, unprocessed, unprocessed, unprocessed, unprocessed, false},
		},
		"announced by label, no NamespaceOffloading, class liqo": {
			labels: announced, class: "liqo",
			want: verdicts{unprocessed, unprocessed, unprocessed, unprocessed, unprocessed, false},
		},
		"announced by label, not processed": {
			labels: announced, off: offloading(v1beta1.LocalAndRemote).Phase("").Obj(),
			want: verdicts{unprocessed, unprocessed, unprocessed, unprocessed, unprocessed, false},
		},
		"announced by label, not processed, class liqo": {
			labels: announced, off: offloading(v1beta1.Local).Phase("").Obj(), class: "liqo",
			want: verdicts{unprocessed, unprocessed, unprocessed, unprocessed, unprocessed, false},
		},
		"not announced, not processed: the strategy holds from the start": {
			off:  offloading(v1beta1.Remote).Phase("").Obj(),
			want: verdicts{remote, yes, twinWaits, notSelected, "", false},
		},
		"Local, terminating": {
			off:  terminating(v1beta1.Local),
			want: verdicts{yes, beingRemoved, beingRemoved, beingRemoved, "", true},
		},
		"LocalAndRemote, terminating": {
			off:  terminating(v1beta1.LocalAndRemote),
			want: verdicts{yes, beingRemoved, beingRemoved, beingRemoved, "", true},
		},
		"Remote, terminating": {
			off:  terminating(v1beta1.Remote),
			want: verdicts{twinsLeaving, beingRemoved, beingRemoved, beingRemoved, twinsLeaving, false},
		},
		"Remote, terminating, class liqo": {
			off: terminating(v1beta1.Remote), class: "liqo",
			want: verdicts{class, beingRemoved, beingRemoved, beingRemoved, beingRemoved, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rule := placement.Decide(placement.Facts{
				Labels: test.labels, Policy: placement.Compile(test.off), Twin: twins, RuntimeClass: test.class,
			})
			got := verdicts{
				Ordinary:    rule.On(nodes["ordinary node"]).Message,
				Ready:       rule.On(nodes["virtual node, selected, twin ready"]).Message,
				OnItsWay:    rule.On(nodes["virtual node, selected, twin on its way"]).Message,
				NotSelected: rule.On(nodes["virtual node, not selected"]).Message,
				HomeOnly:    rule.HomeOnly(),
			}
			nowhere, never := rule.Nowhere()
			got.Nowhere = nowhere.Message
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			if never != (nowhere.Message != "") {
				t.Errorf("Nowhere() = %v, %v: a refusal has a sentence", nowhere, never)
			}
			for node, obj := range nodes {
				v := rule.On(obj)
				if (v.Outcome == placement.Permitted) != (v.Message == "") ||
					(v.Outcome == placement.Permitted) != (v.Reason == placement.ReasonPermitted) {
					t.Errorf("%s: %+v mixes permission and refusal", node, v)
				}
			}
		})
	}
}

func TestOutcomeAndReasonOfEverySentence(t *testing.T) {
	decide := func(labels map[string]string, off *v1beta1.NamespaceOffloading, class, node string) placement.Verdict {
		rule := placement.Decide(placement.Facts{
			Labels: labels, Policy: placement.Compile(off), Twin: twins, RuntimeClass: class,
		})
		return rule.On(nodes[node])
	}
	const ordinary, selected = "ordinary node", "virtual node, selected, twin ready"
	const onItsWay, other = "virtual node, selected, twin on its way", "virtual node, not selected"
	for name, test := range map[string]struct {
		got  placement.Verdict
		want placement.Verdict
	}{
		"permitted": {
			decide(nil, offloading(v1beta1.Remote).Obj(), "", selected),
			placement.Verdict{Outcome: placement.Permitted, Reason: placement.ReasonPermitted},
		},
		"not offloaded": {
			decide(nil, nil, "", selected),
			placement.Verdict{Outcome: placement.Refused, Reason: placement.ReasonNotOffloaded, Message: notOffloaded},
		},
		"class": {
			decide(nil, nil, "liqo", ordinary),
			placement.Verdict{Outcome: placement.Refused, Reason: placement.ReasonRuntimeClass, Message: class},
		},
		"Local": {
			decide(nil, offloading(v1beta1.Local).Obj(), "", selected),
			placement.Verdict{Outcome: placement.Refused, Reason: placement.ReasonStrategyLocal, Message: local},
		},
		"Remote": {
			decide(nil, offloading(v1beta1.Remote).Obj(), "", ordinary),
			placement.Verdict{Outcome: placement.Refused, Reason: placement.ReasonStrategyRemote, Message: remote},
		},
		"not selected": {
			decide(nil, offloading(v1beta1.Remote).Obj(), "", other),
			placement.Verdict{Outcome: placement.Refused, Reason: placement.ReasonNotSelected, Message: notSelected},
		},
		"selector invalid": {
			decide(nil, invalid(v1beta1.Remote), "", selected),
			placement.Verdict{
				Outcome: placement.Refused, Reason: placement.ReasonSelectorInvalid, Message: badExpression,
			},
		},
		"twin not ready": {
			decide(nil, offloading(v1beta1.Remote).Obj(), "", onItsWay),
			placement.Verdict{Outcome: placement.Waits, Reason: placement.ReasonTwinNotReady, Message: twinWaits},
		},
		"not processed": {
			decide(announced, nil, "", ordinary),
			placement.Verdict{Outcome: placement.Waits, Reason: placement.ReasonNotProcessed, Message: unprocessed},
		},
		"terminating": {
			decide(nil, terminating(v1beta1.Local), "", selected),
			placement.Verdict{Outcome: placement.Refused, Reason: placement.ReasonTerminating, Message: beingRemoved},
		},
		"twins leaving": {
			decide(nil, terminating(v1beta1.Remote), "", ordinary),
			placement.Verdict{Outcome: placement.Waits, Reason: placement.ReasonTwinsLeaving, Message: twinsLeaving},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTolerationsNeverOverridePolicy(t *testing.T) {
	universal := corev1.Toleration{Operator: corev1.TolerationOpExists}
	for name, pod := range map[string]*corev1.Pod{
		"universal toleration":             build.Pod("web").Tolerate(universal).Obj(),
		"toleration of our taint, by hand": build.Pod("web").Tolerate(v1beta1.Toleration()).Obj(),
		"DaemonSet's pod, pinned to the virtual node by its controller": build.Pod("log-agent").Tolerate(universal).
			Spec(func(s *corev1.PodSpec) {
				s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
					RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
						NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
							Key:      metav1.ObjectNameField,
							Operator: corev1.NodeSelectorOpIn, Values: []string{"provider-1"},
						}}}},
					},
				}}
			}).Obj(),
	} {
		t.Run(name, func(t *testing.T) {
			for state, off := range map[string]*v1beta1.NamespaceOffloading{
				notOffloaded: nil, local: offloading(v1beta1.Local).Obj(), beingRemoved: terminating(v1beta1.Local),
			} {
				rule := placement.Decide(placement.Facts{
					Policy: placement.Compile(off), Twin: twins, RuntimeClass: placement.RuntimeClass(pod),
				})
				got := rule.On(nodes["virtual node, selected, twin ready"])
				if got.Outcome != placement.Refused || got.Message != state {
					t.Errorf("got %+v, want refused: %s", got, state)
				}
			}
		})
	}
}

func TestStatesOfASelectedTwin(t *testing.T) {
	for name, test := range map[string]struct {
		twin    v1beta1.TwinStatus
		want    placement.Outcome
		wantSay string
	}{
		"ready": {
			v1beta1.TwinStatus{Phase: v1beta1.MappingAccepted}, placement.Permitted, "",
		},
		"nothing known": {
			v1beta1.TwinStatus{}, placement.Waits, `the twin namespace on cluster "provider-1" is not ready yet`,
		},
		"failing, with the agent's words": {
			v1beta1.TwinStatus{
				Phase: v1beta1.MappingCreationLoopBackOff, Message: `namespace "shop" exists and is not ours`,
			},
			placement.Waits,
			`the twin namespace on cluster "provider-1" cannot be created: namespace "shop" exists and is not ours`,
		},
		"failing, without words": {
			v1beta1.TwinStatus{Phase: v1beta1.MappingCreationLoopBackOff}, placement.Waits,
			`the twin namespace on cluster "provider-1" cannot be created`,
		},
		"going": {
			v1beta1.TwinStatus{Phase: v1beta1.MappingTerminating}, placement.Waits,
			`the twin namespace on cluster "provider-1" is being deleted`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rule := placement.Decide(placement.Facts{
				Policy: placement.Compile(offloading(v1beta1.Remote).Obj()),
				Twin:   func(string) v1beta1.TwinStatus { return test.twin },
			})
			got := rule.On(nodes["virtual node, selected, twin ready"])
			if got.Outcome != test.want || got.Message != test.wantSay {
				t.Errorf("got %s %q, want %s %q", got.Outcome, got.Message, test.want, test.wantSay)
			}
		})
	}
}

func TestAwayHoldsOnEveryVirtualNodeOrNotAtAll(t *testing.T) {
	for name, test := range map[string]struct {
		off  *v1beta1.NamespaceOffloading
		want string
		all  bool
	}{
		"not offloaded":         {nil, notOffloaded, true},
		"Local":                 {offloading(v1beta1.Local).Obj(), local, true},
		"it depends":            {offloading(v1beta1.Remote).Obj(), "", false},
		"the selector is wrong": {invalid(v1beta1.Remote), badExpression, true},
	} {
		t.Run(name, func(t *testing.T) {
			rule := placement.Decide(placement.Facts{Policy: placement.Compile(test.off)})
			if got, all := rule.Away(); got.Message != test.want || all != test.all {
				t.Errorf("got %q, %v; want %q, %v", got.Message, all, test.want, test.all)
			}
		})
	}
}

func TestWithoutTwinsNoneIsReady(t *testing.T) {
	rule := placement.Decide(placement.Facts{Policy: placement.Compile(offloading(v1beta1.Remote).Obj())})
	if got := rule.On(nodes["virtual node, selected, twin ready"]); got.Outcome != placement.Waits {
		t.Errorf("got %+v, want a wait", got)
	}
}

func TestANamespaceWithoutPolicyIsNotOffloaded(t *testing.T) {
	rule := placement.Decide(placement.Facts{})
	if !rule.HomeOnly() {
		t.Error("a pod of an ordinary namespace is not kept at home")
	}
}

func TestUnknownFactsMakeEveryNodeWait(t *testing.T) {
	rule := placement.Unknown("the scheduler has not read the cluster yet")
	want := placement.Verdict{
		Outcome: placement.Waits, Reason: placement.ReasonUnknown,
		Message: "the scheduler has not read the cluster yet",
	}
	for name, node := range nodes {
		if diff := cmp.Diff(want, rule.On(node)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got, nowhere := rule.Nowhere(); !nowhere || got != want {
		t.Errorf("Nowhere() = %+v, %v; want the same sentence for all nodes", got, nowhere)
	}
	if rule.HomeOnly() {
		t.Error("a pod that waits is taken for one that may run at home")
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	for want, outcome := range map[string]placement.Outcome{
		"permitted": placement.Permitted, "refused": placement.Refused, "waits": placement.Waits,
	} {
		if got := outcome.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
