package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// creator is the word that makes this program create pods, at a pace, for another one of it: what a process does
// besides scheduling would be taken for the scheduler's.
const creator = "create-pods"

// streamed are the sides that also take part with a stream of pods. There the proof that a policy is in force, which
// waiting pods share, is the dearest.
func streamed(s side) bool {
	return slices.Contains([]string{bare, bareScattered, "ordinary", "scattered", "both"}, s.name)
}

// stream is what the other process has to do.
type stream struct {
	Kubeconfig string
	Namespaces []string
	Away       bool
	Prefix     string
	Pods, Pace int
}

// stream lets pods of a side be created by another process, so many a second, and returns when all are.
func (c *schedulingCluster) stream(ctx context.Context, s side, prefix string, o schedulingOptions) error {
	task, err := json.Marshal(stream{c.home.Kubeconfig, s.namespaces, s.away, prefix, o.pods, o.pace})
	if err != nil {
		return fmt.Errorf("describe the stream of pods: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	command := exec.CommandContext(ctx, program, creator, string(task))
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("create pods: %w", err)
	}
	return nil
}

// createPods does what the process that started this one asks for.
func createPods(ctx context.Context, task string) error {
	var st stream
	if err := json.Unmarshal([]byte(task), &st); err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", st.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	cfg.QPS = -1
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	s := side{namespaces: st.Namespaces, away: st.Away}
	ticker := time.NewTicker(time.Second / time.Duration(st.Pace))
	defer ticker.Stop()
	return each(st.Pods, func(i int) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		pod := s.pod(st.Prefix, i)
		_, err := core.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
}
