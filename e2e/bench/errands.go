package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// errandRunner is the word that makes this program create or delete pods for another one of it: what a process does
// besides measuring, or scheduling, would be taken for that.
const errandRunner = "create-pods"

// errand is what the other process has to do.
type errand struct {
	Kubeconfig string
	Namespaces []string
	// Away pods ask for virtual nodes by themselves.
	Away bool
	// Node, if it has a name, is the one that pods ask for.
	Node   string
	Prefix string
	Pods   int
	// Pace is pods per second; 0 is as fast as they are taken.
	Pace int
	// Delete says that the pods are there already and shall go.
	Delete bool
}

// run has another process do it and returns when it is done.
func (e errand) run(ctx context.Context) error {
	command, err := helper(ctx, errandRunner, e)
	if err != nil {
		return err
	}
	if err := command.Run(); err != nil {
		return fmt.Errorf("have pods created or deleted: %w", err)
	}
	return nil
}

// helper returns another process of this program that does what the word asks for until ctx ends; see helpers.
func helper(ctx context.Context, word string, task any) (*exec.Cmd, error) {
	text, err := json.Marshal(task)
	if err != nil {
		return nil, fmt.Errorf("describe what is to be done: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	command := exec.CommandContext(ctx, program, word, string(text))
	command.Stderr = os.Stderr
	return command, nil
}

// runErrand does what the process that started this one asks for.
func runErrand(ctx context.Context, task string) error {
	var e errand
	if err := json.Unmarshal([]byte(task), &e); err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	core, err := hurried("", e.Kubeconfig)
	if err != nil {
		return err
	}
	next := make(<-chan time.Time)
	if e.Pace > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(e.Pace))
		defer ticker.Stop()
		next = ticker.C
	}
	return each(e.Pods, func(i int) error {
		if e.Pace > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-next:
			}
		}
		return e.one(ctx, core, i)
	})
}

// hurried returns a client that is as cheap and as fast as there is one, of a server that may be another than the
// kubeconfig's.
func hurried(server, kubeconfig string) (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags(server, kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	cfg.QPS = -1
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return core, nil
}

// one creates or deletes the i-th pod.
func (e errand) one(ctx context.Context, core kubernetes.Interface, i int) error {
	pod := (&side{namespaces: e.Namespaces, away: e.Away}).pod(e.Prefix, i)
	tie(pod, e.Node)
	pods := core.CoreV1().Pods(pod.Namespace)
	if e.Delete {
		return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{})
	}
	_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	return err
}
