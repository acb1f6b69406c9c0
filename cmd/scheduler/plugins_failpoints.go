//go:build failpoints

package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/cmd/internal/failpoint"
	"github.com/twinspace/twinspace/schedplugin"
)

// plugins returns the factories of our plugins by name. What they make may die around the requests by which a pod gets
// its toleration and its node.
func plugins() map[string]schedplugin.Factory {
	all := schedplugin.Plugins()
	faults, sound := failpoint.Read(), all[schedplugin.Name]
	all[schedplugin.Name] = func(ctx context.Context, args runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
		if err := faults.Err(); err != nil {
			return nil, err
		}
		plugin, err := sound(ctx, args, handle)
		if err != nil {
			return nil, err
		}
		offloading, ok := plugin.(*schedplugin.Offloading)
		if !ok {
			return nil, fmt.Errorf("plugin %s is a %T", schedplugin.Name, plugin)
		}
		return &mortal{Offloading: offloading, faults: faults}, nil
	}
	return all
}

// mortal is the plugin with named steps.
type mortal struct {
	*schedplugin.Offloading
	faults failpoint.Faults
}

// Bind is before the pod gets its toleration, and after that, before it is bound by the plugin that follows.
func (m *mortal) Bind(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node string) *fwk.Status {
	if err := m.faults.Reach("before-home-pod-patched"); err != nil {
		return fwk.AsStatus(err)
	}
	status := m.Offloading.Bind(ctx, state, pod, node)
	for _, moment := range []string{"after-home-pod-patched", "before-home-pod-bound"} {
		if err := m.faults.Reach(moment); err != nil {
			return fwk.AsStatus(err)
		}
	}
	return status
}

// PostBind is after the pod was bound.
func (m *mortal) PostBind(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node string) {
	if err := m.faults.Reach("after-home-pod-bound"); err != nil {
		klog.FromContext(ctx).Info("The pod is bound, and nothing is left to fail", "err", err.Error())
	}
	m.Offloading.PostBind(ctx, state, pod, node)
}
