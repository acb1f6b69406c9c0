package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// The offloaded namespaces, by what they are offloaded with.
const (
	nsBoth     = "both"
	nsAnywhere = "anywhere"
	nsRemote   = "remote"
)

const (
	manyNamespaces = 100
	virtualNodes   = 3
	zones          = 3
	// writers is how many requests are under way at once while objects are made.
	writers = 16
)

// schedulingCluster is an API server with nodes that are objects only.
type schedulingCluster struct {
	env   *env.Env
	home  *env.Cluster
	core  kubernetes.Interface
	nodes int // ordinary ones
}

// newSchedulingCluster makes the namespaces and virtual nodes.
func newSchedulingCluster(ctx context.Context, up *env.Env) (*schedulingCluster, error) {
	core, err := kubernetes.NewForConfig(up.Consumer().Config())
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	c := &schedulingCluster{env: up, home: up.Consumer(), core: core}
	named := map[string]bool{}
	for _, side := range sides() {
		for _, ns := range side.namespaces {
			if named[ns] {
				continue
			}
			named[ns] = true
			if err := c.create(ctx, build.Namespace(ns).Obj(), serviceAccount(ns)); err != nil {
				return nil, err
			}
		}
	}
	for i := range virtualNodes {
		if err := c.provider(ctx, env.ProviderName(i+1)); err != nil {
			return nil, err
		}
	}
	both, anywhere, remote := build.Offloading(nsBoth), build.Offloading(nsAnywhere).Obj(), build.Offloading(nsRemote)
	anywhere.Spec.Spread = &v1beta1.Spread{Policy: v1beta1.SpreadNone}
	for _, off := range []*v1beta1.NamespaceOffloading{both.Obj(), anywhere, remote.Strategy(v1beta1.Remote).Obj()} {
		if err := c.create(ctx, off); err != nil {
			return nil, err
		}
		off.Status.OffloadingPhase, off.Status.ObservedGeneration = v1beta1.PhaseReady, off.Generation
		if err := c.home.Client().Status().Update(ctx, off); err != nil {
			return nil, fmt.Errorf("write status of the offloading of %s: %w", off.Namespace, err)
		}
	}
	return c, nil
}

// serviceAccount is what nobody makes without a controller manager, and no pod is admitted without.
func serviceAccount(namespace string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: namespace}}
}

// provider makes a virtual node with room for all pods, and says that the twins behind it are ready.
func (c *schedulingCluster) provider(ctx context.Context, name string) error {
	node := build.VirtualNodesNode(build.VirtualNode(name, name, corev1.LabelTopologyZone, name))
	node.Status.Capacity = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1000"), corev1.ResourceMemory: resource.MustParse("4Ti"),
		corev1.ResourcePods: resource.MustParse("10000"),
	}
	node.Status.Allocatable = node.Status.Capacity
	twins := build.Map(name)
	for _, ns := range []string{nsBoth, nsAnywhere, nsRemote} {
		twins.Want(ns, ns+"-"+env.Consumer).Has(ns, ns+"-"+env.Consumer, v1beta1.MappingAccepted)
	}
	m := twins.Obj()
	status := m.Status
	if err := errors.Join(c.node(ctx, node), c.create(ctx, build.Namespace(m.Namespace).Obj(), m)); err != nil {
		return err
	}
	m.Status = status
	if err := c.home.Client().Status().Update(ctx, m); err != nil {
		return fmt.Errorf("write status of the map of %s: %w", name, err)
	}
	return nil
}

func (c *schedulingCluster) create(ctx context.Context, objs ...client.Object) error {
	for _, obj := range objs {
		if err := c.home.Client().Create(ctx, obj); err != nil {
			return fmt.Errorf("create %T %s: %w", obj, obj.GetName(), err)
		}
	}
	return nil
}

// node makes a node that is ready from the start, and takes back the taint by which the API server waits for that.
func (c *schedulingCluster) node(ctx context.Context, node *corev1.Node) error {
	taints := node.Spec.Taints
	made, err := c.core.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create node %s: %w", node.Name, err)
	}
	made.Spec.Taints = taints
	if _, err := c.core.CoreV1().Nodes().Update(ctx, made, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("open node %s: %w", node.Name, err)
	}
	return nil
}

// grow adds ordinary nodes until there are that many.
func (c *schedulingCluster) grow(ctx context.Context, nodes int) error {
	missing := nodes - c.nodes
	err := each(missing, func(i int) error {
		n := c.nodes + i
		node := build.Node(fmt.Sprintf("node-%d", n))
		node.Labels[corev1.LabelTopologyZone] = fmt.Sprintf("zone-%d", n%zones)
		return c.node(ctx, node)
	})
	c.nodes = nodes
	return err
}

// pods creates pods of a side, taking turns among its namespaces.
func (c *schedulingCluster) pods(ctx context.Context, s side, prefix string, n int) error {
	return each(n, func(i int) error {
		pod := s.pod(prefix, i)
		if _, err := c.core.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create pod %s: %w", pod.Name, err)
		}
		return nil
	})
}

// pod returns the i-th pod.
func (s *side) pod(prefix string, i int) *corev1.Pod {
	b := build.Pod(fmt.Sprintf("%s-%d", prefix, i)).Namespace(s.namespaces[i%len(s.namespaces)]).
		Label("app", prefix).Request(corev1.ResourceCPU, "10m").Request(corev1.ResourceMemory, "16Mi")
	if s.away {
		b.NodeSelector(v1beta1.LabelNodeType, v1beta1.NodeTypeVirtual).Tolerate(v1beta1.Toleration())
	}
	return b.Obj()
}

// clean deletes the pods of a side and waits until they are gone.
func (c *schedulingCluster) clean(ctx context.Context, s side) error {
	return each(len(s.namespaces), func(i int) error {
		pods := c.core.CoreV1().Pods(s.namespaces[i])
		now := metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}
		if err := pods.DeleteCollection(ctx, now, metav1.ListOptions{}); err != nil {
			return fmt.Errorf("delete pods of %s: %w", s.namespaces[i], err)
		}
		return wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
			left, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
			return err == nil && len(left.Items) == 0, err
		})
	})
}

// each calls do with 0 to n-1, several at a time.
func each(n int, do func(int) error) error {
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	next := make(chan int)
	for range writers {
		all.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return errors.Join(errs...)
}

// isVirtual tells the names of virtual nodes from those of ordinary ones.
func isVirtual(node string) bool { return strings.HasPrefix(node, "provider-") }
