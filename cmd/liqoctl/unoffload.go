package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func (a *app) unoffload() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "namespace NAME",
		Short: "Bring a namespace home",
		Long: `Bring a namespace home: its twins are deleted with everything in them, pods that run there included. The
namespace itself, and what is in it at home, stays.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return usage("--timeout must be more than 0")
			}
			return a.unoffloadNamespace(cmd.Context(), args[0], timeout)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait for the twins to be gone")
	return group("unoffload", "Bring namespaces home", cmd)
}

func (a *app) unoffloadNamespace(ctx context.Context, name string, timeout time.Duration) error {
	home, err := a.home()
	if err != nil {
		return err
	}
	var off v1beta1.NamespaceOffloading
	err = home.Get(ctx, client.ObjectKey{Namespace: name, Name: v1beta1.OffloadingName}, &off)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("namespace %q is not offloaded; liqoctl info lists those that are", name)
	}
	if err != nil {
		return fmt.Errorf("read the offloading of namespace %s: %w", name, err)
	}
	if err := checkQuick(ctx, home, name); err != nil {
		return err
	}
	question := fmt.Sprintf("This deletes the twins of namespace %s and everything in them.", name)
	if err := a.confirm(question); err != nil {
		return err
	}
	if err := home.Delete(ctx, &off, client.Preconditions{UID: &off.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("un-offload namespace %s: %w", name, err)
	}
	if err := a.awaitHome(ctx, home, &off, timeout); err != nil {
		return err
	}
	a.success("namespace %s is at home only", name)
	return nil
}

// checkQuick refuses a namespace that would be offloaded again at once, by its label, with empty twins.
func checkQuick(ctx context.Context, home *cluster, name string) error {
	var ns corev1.Namespace
	if err := home.Get(ctx, client.ObjectKey{Name: name}, &ns); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read namespace %s: %w", name, err)
	}
	if ns.Labels[v1beta1.LabelEnabled] != "true" || !ns.DeletionTimestamp.IsZero() {
		return nil
	}
	return fmt.Errorf("namespace %s is offloaded by its label and would be again: remove the label first "+
		"(kubectl label namespace %s %s-)", name, name, v1beta1.LabelEnabled)
}
