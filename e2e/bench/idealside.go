package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// ideal is the side of the ideal loop.
const ideal = "ideal"

// idealProcess is its name among processes.
const idealProcess = env.Consumer + " " + ideal

// idealize starts the ideal loop, in a process of its own, until it is told to end.
func (b *bench) idealize(ctx context.Context) (end func() error, err error) {
	if err := b.env.Consumer().Client().Create(ctx, idealNodeObject()); err != nil {
		return nil, fmt.Errorf("make the ideal loop's node: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	there := b.env.Providers()[0]
	loop, err := helper(ctx, idealRunner, idealTask{
		Home: b.env.Consumer().Kubeconfig, Away: there.Kubeconfig,
		AwayServer: there.ProxiedServer(), // as for the agent
	})
	if err == nil {
		err = loop.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start the ideal loop: %w", err)
	}
	b.ideal = loop.Process.Pid
	return func() error {
		cancel()
		var exited *exec.ExitError
		if err := loop.Wait(); !errors.As(err, &exited) {
			return err
		}
		return nil
	}, nil
}

// nodeFor returns the node that the pods of a side ask for, "" for none.
func nodeFor(side string) string {
	if side == ideal {
		return idealNode
	}
	return ""
}

// tie has a pod ask for a node, if it has a name.
func tie(pod *corev1.Pod, node string) {
	if node != "" {
		pod.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
			Key: node, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule,
		})
	}
}

// idealNodeObject has room for all pods of any part, and takes no others.
func idealNodeObject() *corev1.Node {
	node := build.Node(idealNode)
	node.Spec.Taints = []corev1.Taint{{Key: idealNode, Effect: corev1.TaintEffectNoSchedule}}
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("10k"), corev1.ResourceMemory: resource.MustParse("10Ti"),
		corev1.ResourcePods: resource.MustParse("100k"),
	}
	node.Status.Capacity, node.Status.Allocatable = room, room
	node.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.NewTime(time.Now()),
	}}
	return node
}
