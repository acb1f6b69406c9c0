// Package schedplugin makes kube-scheduler obey NamespaceOffloadings, from live state and at the moment of scheduling:
// a pod is bound only where the policy that stood when the pod was created permits, edits reach pods that are still
// pending, and whoever is refused is told why in a sentence.
//
// It is two plugins that belong together. [Name] applies the policy, which package placement decides. [TaintName] takes
// the place of the in-tree TaintToleration and leaves the taint of virtual nodes to the policy. manifests/scheduler has
// the profiles that join them; DESIGN.md has the reasons.
package schedplugin

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/metrics/legacyregistry"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"
	"k8s.io/utils/clock"
)

// The names by which scheduler configurations refer to the plugins.
const (
	// Name is the plugin that applies the policy of namespaces.
	Name = "NamespaceOffloading"
	// TaintName is the plugin that stands in for TaintToleration.
	TaintName = "OffloadingTaintToleration"
)

// Factory makes a plugin for one profile of a scheduler.
type Factory = func(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error)

// Plugins returns the factories of the plugins by name, to be registered with one scheduler. All profiles of that
// scheduler share what the plugins know of the cluster.
func Plugins() map[string]Factory {
	s := &shared{}
	return map[string]Factory{Name: s.offloading, TaintName: s.taints}
}

// shared is what the plugins of all profiles have in common. It is made when the first of them is.
type shared struct {
	mu       sync.Mutex
	policies *policies
	proofs   *proofs
	refusals *refusals
	counts   *counts
	warnings *warnings
}

func (s *shared) start(ctx context.Context, handle fwk.Handle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policies != nil {
		return nil
	}
	if handle.KubeConfig() == nil {
		return fmt.Errorf("start plugin %s: the scheduler has no client configuration", Name)
	}
	reader, err := newReader(handle.KubeConfig())
	if err != nil {
		return fmt.Errorf("start plugin %s: %w", Name, err)
	}
	factory := handle.SharedInformerFactory()
	known, err := newPolicies(ctx, factory, handle)
	if err != nil {
		return fmt.Errorf("start plugin %s: %w", Name, err)
	}
	counts, err := newCounts(factory)
	if err != nil {
		return fmt.Errorf("start plugin %s: %w", Name, err)
	}
	seen := factory.Core().V1().Pods().Informer().LastSyncResourceVersion
	proven := newProofs(reader.identity, seen, clock.RealClock{})
	if err := follow(factory, known, proven); err != nil {
		return fmt.Errorf("start plugin %s: %w", Name, err)
	}
	s.policies, s.proofs, s.refusals = known, proven, newRefusals(legacyregistry.Register)
	s.counts, s.warnings = counts, newWarnings(handle.EventRecorder())
	go reader.watchOffloadings(ctx, s.policies)
	go reader.watchMaps(ctx, s.policies)
	return nil
}

func (s *shared) offloading(ctx context.Context, obj runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
	args, err := argsOf(obj)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx, handle); err != nil {
		return nil, err
	}
	return &Offloading{
		args:     args,
		policies: s.policies,
		proofs:   s.proofs,
		refusals: s.refusals,
		counts:   s.counts,
		warnings: s.warnings,
		nodes:    handle.SharedInformerFactory().Core().V1().Nodes().Lister(),
		pods:     handle.ClientSet().CoreV1(),
	}, nil
}

func (s *shared) taints(ctx context.Context, args runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
	if err := s.start(ctx, handle); err != nil {
		return nil, err
	}
	gates := feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate)
	inTree, err := tainttoleration.New(ctx, args, handle, gates)
	if err != nil {
		return nil, fmt.Errorf("start plugin %s: %w", TaintName, err)
	}
	return newTaints(inTree, s.policies, s.refusals)
}

// restConfig returns the scheduler's own configuration, for objects that only speak JSON. Its requests follow those of
// the scheduler one to one at most, so the scheduler's own limit is limit enough.
func restConfig(scheduler *rest.Config) *rest.Config {
	config := rest.CopyConfig(scheduler)
	config.ContentType = runtime.ContentTypeJSON
	config.AcceptContentTypes = runtime.ContentTypeJSON
	config.QPS = -1
	config.RateLimiter = nil
	return config
}
