package schedplugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/component-base/metrics"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// fixture is a scheduler's view of a cluster, filled by hand, with the plugins on it.
type fixture struct {
	*testing.T
	ctx        context.Context
	policies   *policies
	offloading *Offloading
	taints     *Taints
	client     *fake.Clientset
	factory    informers.SharedInformerFactory
	woken      *activator
	events     *events.FakeRecorder
	// live is what the API server would say about the policy of a namespace.
	live map[string]identity
}

// newFixture returns a view of the given namespaces, nodes and pods, in which nothing is offloaded.
func newFixture(t *testing.T, objs ...client.Object) *fixture {
	t.Helper()
	_, ctx := ktesting.NewTestContext(t)
	f := &fixture{T: t, ctx: ctx, client: fake.NewClientset(), woken: &activator{}, live: map[string]identity{}}
	f.factory = informers.NewSharedInformerFactory(f.client, 0)
	core := f.factory.Core().V1()
	known, err := newPolicies(ctx, f.factory, f.woken)
	if err != nil {
		t.Fatal(err)
	}
	f.policies = known
	f.policies.replaceOffloadings(nil)
	f.see(objs...)
	r := newRefusals(metrics.NewKubeRegistry().Register)
	counted, err := newCounts(f.factory)
	if err != nil {
		t.Fatal(err)
	}
	args, err := argsOf(nil)
	if err != nil {
		t.Fatal(err)
	}
	f.events = events.NewFakeRecorder(100)
	f.offloading = &Offloading{
		args: args, counts: counted, warnings: newWarnings(f.events),
		policies: f.policies, refusals: r, nodes: core.Nodes().Lister(), pods: f.client.CoreV1(),
		proofs: newProofs(func(_ context.Context, ns string) (identity, error) { return f.live[ns], nil },
			func() string { return "" }, clock.RealClock{}),
	}
	inTree, err := tainttoleration.New(ctx, nil, nil, feature.Features{EnableSchedulingQueueHint: true})
	if err != nil {
		t.Fatal(err)
	}
	if f.taints, err = newTaints(inTree, f.policies, r); err != nil {
		t.Fatal(err)
	}
	return f
}

// see puts objects into the scheduler's caches.
func (f *fixture) see(objs ...client.Object) {
	f.Helper()
	core := f.factory.Core().V1()
	for _, obj := range objs {
		var err error
		switch obj := obj.(type) {
		case *corev1.Namespace:
			err = core.Namespaces().Informer().GetIndexer().Add(obj)
		case *corev1.Pod:
			err = core.Pods().Informer().GetIndexer().Add(obj)
		case *corev1.Node:
			err = core.Nodes().Informer().GetIndexer().Add(obj)
			f.policies.putNode(obj)
		case *v1beta1.NamespaceOffloading:
			f.policies.putOffloading(obj)
			f.live[obj.Namespace] = identify(obj)
		case *v1beta1.NamespaceMap:
			f.policies.putMap(obj)
		default:
			err = fmt.Errorf("no cache for %T", obj)
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	f.woken.take()
}

// attempt is one attempt to schedule a pod.
type attempt struct {
	*fixture
	pod   *corev1.Pod
	state fwk.CycleState
	skip  bool
	// prefilter is the status of PreFilter, nil when it passed or skipped.
	prefilter *fwk.Status
}

// try starts an attempt, up to PreFilter.
func (f *fixture) try(pod *corev1.Pod) *attempt {
	a := &attempt{fixture: f, pod: pod, state: framework.NewCycleState()}
	_, status := f.offloading.PreFilter(f.ctx, a.state, pod, nil)
	if a.skip = status.IsSkip(); !a.skip && !status.IsSuccess() {
		a.prefilter = status
	}
	return a
}

// on filters a node as a profile with both plugins does, and returns the sentence of a refusal.
func (a *attempt) on(node *corev1.Node) string {
	a.Helper()
	if a.prefilter != nil {
		return a.refused(a.prefilter)
	}
	info := framework.NewNodeInfo()
	info.SetNode(node)
	if status := a.taints.Filter(a.ctx, a.state, a.pod, info); !status.IsSuccess() {
		return a.refused(status)
	}
	if a.skip {
		return ""
	}
	return a.refused(a.offloading.Filter(a.ctx, a.state, a.pod, info))
}

func (a *attempt) refused(status *fwk.Status) string {
	a.Helper()
	if status.IsSuccess() {
		return ""
	}
	if status.Code() != fwk.UnschedulableAndUnresolvable {
		a.Errorf("refused with %s, which would try preemption: %s", status.Code(), status.Message())
	}
	return status.Message()
}

// activator remembers the pods that were woken.
type activator struct {
	mu   sync.Mutex
	pods []string
}

func (a *activator) Activate(_ klog.Logger, pods map[string]*corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key := range pods {
		a.pods = append(a.pods, key)
	}
}

// take returns the pods that were woken since it was called last, in order.
func (a *activator) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.Sort(a.pods)
	woken := strings.Join(a.pods, " ")
	a.pods = nil
	return woken
}

func namespace(name string) *corev1.Namespace { return build.Namespace(name).Obj() }

func announced(name string) *corev1.Namespace {
	return build.Namespace(name).Label(v1beta1.LabelSchedulingEnabled, "true").Obj()
}

// virtual returns the Node of a provider in a region.
func virtual(cluster, region string) *corev1.Node {
	return build.VirtualNodesNode(build.VirtualNode(cluster, cluster, corev1.LabelTopologyRegion, region))
}

// offload returns a processed NamespaceOffloading that selects region eu.
func offload(namespace string, s v1beta1.PodOffloadingStrategy) *v1beta1.NamespaceOffloading {
	off := build.Offloading(namespace).Strategy(s).Phase(v1beta1.PhaseReady).
		Selector(build.Selector(corev1.LabelTopologyRegion, "eu")).Obj()
	off.UID, off.Generation = "1", 1
	return off
}

// ready returns the NamespaceMap of a cluster on which the namespace's twin is ready.
func ready(cluster, namespace string) *v1beta1.NamespaceMap {
	return build.Map(cluster).Has(namespace, namespace+"-home", v1beta1.MappingAccepted).Obj()
}

func everywhere() corev1.Toleration { return corev1.Toleration{Operator: corev1.TolerationOpExists} }

// unique removes repetitions from a list in order.
func unique(pods string) string { return strings.Join(slices.Compact(strings.Fields(pods)), " ") }

// queueFunc is called whenever pods are woken.
type queueFunc func()

func (f queueFunc) Activate(klog.Logger, map[string]*corev1.Pod) { f() }
