package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func (a *app) unoffload() *cobra.Command {
	var f unoffloadFlags
	cmd := &cobra.Command{
		Use:   "namespace NAME",
		Short: "Bring a namespace home",
		Long: `Bring a namespace home: its twins are deleted with everything in them, pods that run there and the
data of volumes included. The namespace itself, and what is in it at home, stays.

As long as twins are left the namespace stays offloaded in phase Terminating. --force does not wait for twins that do
not go, because their provider cannot be reached or something there holds them, and says which are left behind: they
are deleted when they can be.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.timeout <= 0 {
				return usage("--timeout must be more than 0")
			}
			return a.unoffloadNamespace(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for the twins to be gone")
	cmd.Flags().BoolVar(&f.force, "force", false, "leave behind twins that do not go")
	return group("unoffload", "Bring namespaces home", cmd)
}

// unoffloadFlags are the flags of unoffload namespace.
type unoffloadFlags struct {
	timeout time.Duration
	force   bool
}

func (a *app) unoffloadNamespace(ctx context.Context, name string, f unoffloadFlags) error {
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
	if err := a.confirmUnoffload(ctx, home, name, f.force); err != nil {
		return err
	}
	if err := withdraw(ctx, home, &off, f.force); err != nil {
		return fmt.Errorf("un-offload namespace %s: %w", name, err)
	}
	if err := a.awaitHome(ctx, home, &off, f.timeout); err != nil {
		return err
	}
	if f.force {
		a.sayLeftBehind(ctx, home, &off)
	}
	a.success("namespace %s is at home only", name)
	return nil
}

func (a *app) confirmUnoffload(ctx context.Context, home *cluster, name string, force bool) error {
	question := fmt.Sprintf("This deletes the twins of namespace %s and everything in them.", name)
	data, err := lossOfData(ctx, home, name)
	if err != nil {
		return err
	}
	question += data
	if force {
		question += " Twins on clusters that cannot be reached, or that something there holds, are left behind; " +
			"pods in them may run on."
	}
	return a.confirm(question)
}

// withdraw deletes an offloading. With force it then asks the controller-manager not to wait for twins that do not go:
// asked before, a deletion that is refused would leave a mark that forces the next one, which nobody asked to force.
func withdraw(ctx context.Context, home *cluster, off *v1beta1.NamespaceOffloading, force bool) error {
	err := home.Delete(ctx, off, client.Preconditions{UID: &off.UID})
	if err != nil || !force {
		return client.IgnoreNotFound(err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%q:"true"}}}`, off.UID,
		v1beta1.AnnotationForceRemoval)
	// Into a copy: what was read last is still needed when it is gone.
	err = home.Patch(ctx, off.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("it is being deleted, but not by force: %w", err)
	}
	return nil
}

// sayLeftBehind names the twins that were not waited for.
func (a *app) sayLeftBehind(ctx context.Context, home *cluster, off *v1beta1.NamespaceOffloading) {
	var maps v1beta1.NamespaceMapList
	if err := home.List(ctx, &maps); err != nil {
		a.warn(fmt.Sprintf("cannot read which twins are left behind: %v; the events of namespace %s name them", err,
			off.Namespace))
		return
	}
	for i := range maps.Items {
		m := &maps.Items[i]
		if left, ok := m.Status.CurrentMapping[off.Namespace]; ok && left.RemoteNamespace != "" {
			a.warn(strings.TrimSuffix(fmt.Sprintf("namespace %s is left behind on cluster %s, and deleted when it "+
				"can be: %s", left.RemoteNamespace, m.Name, left.Message), ": "))
		}
	}
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
