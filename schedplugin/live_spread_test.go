package schedplugin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/schedplugin"
)

// TestLiveSpread runs the scheduler as it is shipped, and looks at where it puts the pods of a namespace that may run
// at home and away.
func TestLiveSpread(t *testing.T) {
	home := env.Planes(t, 1)[0]
	if err := home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	requests := &traffic{}
	startScheduler(t, requests.wrap(home.Config()), "replace-default.yaml")
	// The second one spreads evenly unless told otherwise, and without the default constraints of PodTopologySpread,
	// which would keep all pods of controllers from being scheduled in batches.
	startScheduler(t, home.Config(), "side-by-side.yaml", func(p *config.KubeSchedulerProfile) {
		for i, plugin := range p.PluginConfig {
			if args, ok := plugin.Args.(*config.PodTopologySpreadArgs); ok {
				args.DefaultingType = config.ListDefaulting
			}
			if plugin.Name == schedplugin.Name {
				p.PluginConfig[i].Args = &schedplugin.Args{Spread: v1beta1.Spread{Policy: v1beta1.SpreadEven}}
			}
		}
	})
	at := func(t *testing.T) *cluster { return &cluster{t, home.Client()} }

	t.Run("a burst is spread evenly though the scheduler hears of its own work late", func(t *testing.T) {
		requests.delay("/pods", 30*time.Millisecond)
		defer requests.delay("", 0)
		s := at(t).stage("burst", roomy(), policy(v1beta1.SpreadEven, ""))
		s.create(s.pods(99)...)
		s.landed(99, whereabouts{33, 33, 33})
	})
	t.Run("edits reach pending pods", func(t *testing.T) { testSpreadEdits(at(t), requests) })
	t.Run("policies", func(t *testing.T) { testSpreadPolicies(at(t)) })
	t.Run("more home nodes than the scheduler looks at", func(t *testing.T) { testSpreadOfASample(at(t)) })
	t.Run("batches", func(t *testing.T) { testSpreadInBatches(at(t)) })
	t.Run("a label that is no weight", func(t *testing.T) { testMisreadWeight(at(t)) })
}

// cost is the label that policy Weighted reads in these tests.
const cost = "example.com/cost"

// room is a node: how many pods there is room for, and the value of its cost label.
type room struct {
	pods int
	cost string
}

// rooms are the nodes of a stage: any number at home, and one for each of two providers.
type rooms struct {
	home []room
	away [2]room
}

// small is a home with room for ten pods, and providers that look endless beside it.
func small() rooms { return rooms{[]room{{4, ""}, {3, ""}, {3, ""}}, [2]room{{100, ""}, {100, ""}}} }

// priced is the same with costs, and little room where it is cheapest.
func priced(home, first, second string) rooms {
	return rooms{[]room{{4, home}, {3, home}, {3, home}}, [2]room{{4, first}, {100, second}}}
}

// roomy has room for everybody everywhere.
func roomy() rooms { return rooms{[]room{{50, ""}, {50, ""}}, [2]room{{100, ""}, {100, ""}}} }

// stage is a namespace with nodes of its own.
type stage struct {
	*cluster
	ns    string
	nodes []string
}

func policy(policy v1beta1.SpreadPolicy, label string) func(*build.OffloadingBuilder) {
	return func(b *build.OffloadingBuilder) { b.Spread(policy, label) }
}

func unsaid(*build.OffloadingBuilder) {}

// stage returns a namespace that may run at home and on two providers, once the scheduler knows.
func (c *cluster) stage(name string, r rooms, spread func(*build.OffloadingBuilder)) *stage {
	c.t.Helper()
	s := &stage{cluster: c, ns: c.namespace(build.Namespace(name))}
	for i, room := range r.home {
		s.node(build.Node(fmt.Sprintf("%s-home-%d", name, i+1)), room)
	}
	for i, room := range r.away {
		away := fmt.Sprintf("%s-away-%d", name, i+1)
		s.node(build.VirtualNodesNode(build.VirtualNode(away, away)), room)
	}
	// What is said of the second namespace is said last, so who knows it knows the rest.
	witness := c.namespace(build.Namespace(name + "-witness"))
	for _, ns := range []string{s.ns, witness} {
		off := build.Offloading(ns).Strategy(v1beta1.LocalAndRemote).Selector(build.Selector("stage", name))
		spread(off)
		c.offload(off.Obj())
		for i := range r.away {
			c.twin(fmt.Sprintf("%s-away-%d", name, i+1), ns, v1beta1.MappingAccepted)
		}
	}
	for i := range r.away {
		away := fmt.Sprintf("%s-away-%d", name, i+1)
		pod := on(away, build.Pod(away).Namespace(witness))
		c.create(pod)
		c.runsOn(pod, away)
	}
	return s
}

func (s *stage) node(node *corev1.Node, r room) {
	s.t.Helper()
	node.Labels["stage"] = s.ns
	if r.cost != "" {
		node.Labels[cost] = r.cost
	}
	quantity := *resource.NewQuantity(int64(r.pods), resource.DecimalSI)
	node.Status.Capacity[corev1.ResourceCPU], node.Status.Allocatable[corev1.ResourceCPU] = quantity, quantity
	s.cluster.node(node)
	s.nodes = append(s.nodes, node.Name)
}

// pods returns pods of the stage that need one unit of room each.
func (s *stage) pods(n int, changes ...func(*build.PodBuilder)) []client.Object {
	var pods []client.Object
	for i := range n {
		b := build.Pod(fmt.Sprintf("web-%d", i)).Namespace(s.ns).
			Request(corev1.ResourceCPU, "1").NodeSelector("stage", s.ns)
		for _, change := range changes {
			change(b)
		}
		pods = append(pods, b.Obj())
	}
	return pods
}

// whereabouts are numbers of pods.
type whereabouts struct{ Home, First, Second int }

// landed waits until all pods of the namespace have a node, and compares. It draws what it sees, too.
func (s *stage) landed(pods int, want whereabouts) {
	s.t.Helper()
	byNode := s.bound(pods)
	if diff := cmp.Diff(want, s.whereabouts(byNode)); diff != "" {
		s.t.Errorf("pods by place (-want +got):\n%s%s", diff, s.picture(byNode))
	} else {
		s.t.Log("\n" + s.picture(byNode))
	}
}

// shared is like landed, for policies that leave it to others which provider a pod goes to.
func (s *stage) shared(pods, home, away int) {
	s.t.Helper()
	byNode := s.bound(pods)
	got := s.whereabouts(byNode)
	if got.Home != home || got.First+got.Second != away {
		s.t.Errorf("%d pods at home and %d away, want %d and %d:\n%s",
			got.Home, got.First+got.Second, home, away, s.picture(byNode))
	} else {
		s.t.Log("\n" + s.picture(byNode))
	}
}

func (s *stage) bound(pods int) map[string]int {
	s.t.Helper()
	deadline := time.After(3 * settles)
	for tick := time.NewTicker(poll); ; {
		var list corev1.PodList
		if err := s.List(context.Background(), &list, client.InNamespace(s.ns)); err != nil {
			s.t.Fatal(err)
		}
		byNode, bound := map[string]int{}, 0
		for _, pod := range list.Items {
			if pod.Spec.NodeName != "" {
				byNode[pod.Spec.NodeName]++
				bound++
			}
		}
		if bound == pods {
			return byNode
		}
		select {
		case <-deadline:
			s.t.Fatalf("%d pods of %d have a node", bound, pods)
		case <-tick.C:
		}
	}
}

func (s *stage) whereabouts(byNode map[string]int) whereabouts {
	var w whereabouts
	for node, n := range byNode {
		switch node {
		case s.ns + "-away-1":
			w.First += n
		case s.ns + "-away-2":
			w.Second += n
		default:
			w.Home += n
		}
	}
	return w
}

// picture draws the pods of each node; docs/spreading.md shows some.
func (s *stage) picture(byNode map[string]int) string {
	var b strings.Builder
	for _, node := range s.nodes {
		n := byNode[node]
		fmt.Fprintf(&b, "%-8s %-20s %d\n", strings.TrimPrefix(node, s.ns+"-"), strings.Repeat("#", n), n)
	}
	return b.String()
}

func testSpreadEdits(c *cluster, requests *traffic) {
	s := c.stage("edits", priced("5", "9", "1"), policy(v1beta1.SpreadPreferHome, ""))
	pods := s.pods(6, func(b *build.PodBuilder) {
		b.Spec(func(spec *corev1.PodSpec) { spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "test/later"}} })
	})
	s.create(pods...)
	requests.delay("/namespaceoffloadings", 150*time.Millisecond)
	defer requests.delay("", 0)
	var off v1beta1.NamespaceOffloading
	key := client.ObjectKey{Namespace: s.ns, Name: v1beta1.OffloadingName}
	if err := s.Get(context.Background(), key, &off); err != nil {
		c.t.Fatal(err)
	}
	off.Spec.Spread = &v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: cost}
	if err := s.Update(context.Background(), &off); err != nil {
		c.t.Fatal(err)
	}
	for _, obj := range pods {
		pod := s.get(obj.(*corev1.Pod))
		pod.Spec.SchedulingGates = nil
		if err := s.Update(context.Background(), pod); err != nil {
			c.t.Fatal(err)
		}
	}
	s.landed(6, whereabouts{0, 0, 6})
}

func testSpreadPolicies(c *cluster) {
	run := func(name string, do func(c *cluster)) {
		c.t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(&cluster{t, c.Client})
		})
	}
	run("home first by default", func(c *cluster) {
		s := c.stage("default", small(), unsaid)
		s.create(s.pods(16)...)
		s.shared(16, 10, 6)
	})
	run("PreferHome fills home", func(c *cluster) {
		s := c.stage("home", small(), policy(v1beta1.SpreadPreferHome, ""))
		s.create(s.pods(16)...)
		s.shared(16, 10, 6)
	})
	run("PreferHome uses what is left at home", func(c *cluster) {
		s := c.stage("half", small(), policy(v1beta1.SpreadPreferHome, ""))
		s.occupy(7)
		s.create(s.pods(16)...)
		s.shared(16, 3, 13)
	})
	run("PreferHome needs no home", func(c *cluster) {
		s := c.stage("full", small(), policy(v1beta1.SpreadPreferHome, ""))
		s.occupy(10)
		s.create(s.pods(6)...)
		s.shared(6, 0, 6)
	})
	run("Even", func(c *cluster) {
		s := c.stage("even", small(), policy(v1beta1.SpreadEven, ""))
		s.create(s.pods(15)...)
		s.landed(15, whereabouts{5, 5, 5})
	})
	run("Even goes on where there is room", func(c *cluster) {
		s := c.stage("even-half", small(), policy(v1beta1.SpreadEven, ""))
		s.occupy(7)
		s.create(s.pods(15)...)
		s.landed(15, whereabouts{3, 6, 6})
	})
	run("Weighted goes where it is cheapest, then where it is next cheapest", func(c *cluster) {
		s := c.stage("weighted", priced("3", "1", "5"), policy(v1beta1.SpreadWeighted, cost))
		s.create(s.pods(16)...)
		s.landed(16, whereabouts{10, 4, 2})
	})
	run("Weighted takes home for free and who says nothing for the dearest", func(c *cluster) {
		s := c.stage("unpriced", priced("", "5", ""), policy(v1beta1.SpreadWeighted, cost))
		s.create(s.pods(16)...)
		s.landed(16, whereabouts{10, 4, 2})
	})
	run("None goes where it looks emptiest", func(c *cluster) {
		s := c.stage("none", small(), policy(v1beta1.SpreadNone, ""))
		s.create(s.pods(16)...)
		s.shared(16, 0, 16)
	})
	run("a pod's own preference goes first", func(c *cluster) {
		s := c.stage("own", small(), policy(v1beta1.SpreadPreferHome, ""))
		s.create(s.pods(6, prefers(v1beta1.LabelRemoteClusterID, "own-away-2"))...)
		s.landed(6, whereabouts{0, 0, 6})
	})
}

func prefers(key, value string) func(*build.PodBuilder) {
	return func(b *build.PodBuilder) {
		b.Spec(func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
					Weight: 1, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
						{Key: key, Operator: corev1.NodeSelectorOpIn, Values: []string{value}},
					}},
				}},
			}}
		})
	}
}

// occupy takes room at home for pods of a namespace that is not offloaded.
func (s *stage) occupy(pods int) {
	s.t.Helper()
	other := &stage{cluster: s.cluster, ns: s.namespace(build.Namespace(s.ns + "-others")), nodes: s.nodes}
	s.create(other.pods(pods, func(b *build.PodBuilder) { b.NodeSelector("stage", s.ns) })...)
	other.bound(pods)
}
