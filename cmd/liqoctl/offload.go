package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
	"github.com/twinspace/twinspace/peering"
)

// offloadFlags are the flags of offload namespace.
type offloadFlags struct {
	mapping, strategy, remoteName string
	selectors                     []string
	output                        string
	timeout                       time.Duration
}

func (a *app) offload() *cobra.Command {
	var f offloadFlags
	cmd := &cobra.Command{
		Use:   "namespace NAME",
		Short: "Extend a namespace onto other clusters",
		Long: `Extend a namespace onto the clusters that --selector picks: each gets a twin of it, and pods may
run there.

Flags that are not given mean their default, also for a namespace that is offloaded already: its pod strategy
and selector can be changed at any time, how its twins are called cannot.

  liqoctl offload namespace shop
  liqoctl offload namespace shop --pod-offloading-strategy Remote -l region=eu,tier=gold -l cloud=private

The second picks the clusters with (region=eu and tier=gold) or cloud=private.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.offloadNamespace(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.mapping, "namespace-mapping-strategy", string(v1beta1.DefaultName),
		"how the twins are called: "+oneOf(mappings())+
			" (DefaultName is NAME-CLUSTERID, SelectedName is --remote-namespace-name)")
	flags.StringVar(&f.strategy, "pod-offloading-strategy", string(v1beta1.LocalAndRemote),
		"where pods may run: "+oneOf(strategies()))
	flags.StringVar(&f.remoteName, "remote-namespace-name", "", "name of the twins, with SelectedName")
	flags.StringArrayVarP(&f.selectors, "selector", "l", nil,
		"label selector of the virtual nodes to use; commas mean and, repeating the flag means or (default: all)")
	flags.StringVarP(&f.output, "output", "o", "", "print what would be applied, as yaml or json, and apply nothing")
	flags.DurationVar(&f.timeout, "timeout", 20*time.Second, "how long to wait for the twins")
	return group("offload", "Extend namespaces onto other clusters", cmd)
}

func mappings() []string {
	return []string{string(v1beta1.DefaultName), string(v1beta1.EnforceSameName), string(v1beta1.SelectedName)}
}

func strategies() []string {
	return []string{string(v1beta1.LocalAndRemote), string(v1beta1.Local), string(v1beta1.Remote)}
}

func oneOf(values []string) string {
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// spec checks the flags and returns what they ask for.
func (f *offloadFlags) spec() (v1beta1.NamespaceOffloadingSpec, error) {
	spec := v1beta1.NamespaceOffloadingSpec{
		NamespaceMappingStrategy: v1beta1.NamespaceMappingStrategy(f.mapping),
		PodOffloadingStrategy:    v1beta1.PodOffloadingStrategy(f.strategy),
	}
	selected := spec.NamespaceMappingStrategy == v1beta1.SelectedName
	switch {
	case !slices.Contains(mappings(), f.mapping):
		return spec, usage("unknown --namespace-mapping-strategy %q: use %s", f.mapping, oneOf(mappings()))
	case !slices.Contains(strategies(), f.strategy):
		return spec, usage("unknown --pod-offloading-strategy %q: use %s", f.strategy, oneOf(strategies()))
	case selected && f.remoteName == "":
		return spec, usage("--namespace-mapping-strategy SelectedName needs --remote-namespace-name")
	case !selected && f.remoteName != "":
		return spec, usage("--remote-namespace-name needs --namespace-mapping-strategy SelectedName")
	case f.timeout <= 0:
		return spec, usage("--timeout must be more than 0")
	}
	if selected {
		spec.RemoteNamespaceName = ptr.To(f.remoteName)
	}
	var err error
	if spec.ClusterSelector, err = clusterSelector(f.selectors); err != nil {
		return spec, err
	}
	return spec, checkFormat(f.output)
}

// manifest is what is printed, and applied: fields that are not ours to say are not in it.
type manifest struct {
	APIVersion string                          `json:"apiVersion"`
	Kind       string                          `json:"kind"`
	Metadata   manifestMeta                    `json:"metadata"`
	Spec       v1beta1.NamespaceOffloadingSpec `json:"spec"`
}

type manifestMeta struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

func (a *app) offloadNamespace(ctx context.Context, name string, f offloadFlags) error {
	spec, err := f.spec()
	if err != nil {
		return err
	}
	if why := validation.IsDNS1123Label(name); len(why) > 0 {
		return usage("%q cannot be a namespace: %s", name, why[0])
	}
	body, err := render(manifest{
		APIVersion: v1beta1.GroupVersion.String(), Kind: "NamespaceOffloading",
		Metadata: manifestMeta{Name: v1beta1.OffloadingName, Namespace: name}, Spec: spec,
	}, f.output)
	if err != nil {
		return err
	}
	if f.output != "" {
		_, err := a.Out.Write(body)
		return err
	}
	home, err := a.home()
	if err != nil {
		return err
	}
	twin, err := a.checkOffload(ctx, home, name, spec)
	if err != nil {
		return err
	}
	object := &v1beta1.NamespaceOffloading{ObjectMeta: metav1.ObjectMeta{
		Name: v1beta1.OffloadingName, Namespace: name,
	}}
	patch := client.RawPatch(types.ApplyYAMLPatchType, body)
	err = home.Patch(ctx, object, patch, client.FieldOwner(peering.FieldManager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("offload namespace %s: %w", name, err)
	}
	a.progress(fmt.Sprintf("namespace %s is offloaded with strategy %s; its twins are called %s",
		name, spec.PodOffloadingStrategy, twin))
	return a.awaitOffloaded(ctx, home, object, f.timeout)
}

// checkOffload refuses what would fail later, says what changes, and returns the twins' name.
func (a *app) checkOffload(
	ctx context.Context, home *cluster, name string, spec v1beta1.NamespaceOffloadingSpec,
) (string, error) {
	var ns corev1.Namespace
	if err := home.Get(ctx, client.ObjectKey{Name: name}, &ns); apierrors.IsNotFound(err) {
		return "", fmt.Errorf("there is no namespace %q: create it first with kubectl create namespace %s", name, name)
	} else if err != nil {
		return "", fmt.Errorf("read namespace %s: %w", name, err)
	}
	if !ns.DeletionTimestamp.IsZero() {
		return "", fmt.Errorf("namespace %q is being deleted", name)
	}
	identity, err := peering.Identify(ctx, home)
	if err != nil {
		return "", err
	}
	id := identity.ID
	if id == "" {
		id = string(identity.UID) // what the controller-manager will call this cluster
	}
	twin, err := naming.Twin(name, spec, id)
	if err != nil {
		return "", err
	}
	var existing v1beta1.NamespaceOffloading
	err = home.Get(ctx, client.ObjectKey{Namespace: name, Name: v1beta1.OffloadingName}, &existing)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("read the offloading of namespace %s: %w", name, err)
	}
	if err == nil {
		a.sayChanges(existing.Spec, spec)
	}
	return twin, nil
}

// sayChanges tells what becomes different for a namespace that is offloaded already.
func (a *app) sayChanges(before, after v1beta1.NamespaceOffloadingSpec) {
	if before.PodOffloadingStrategy != after.PodOffloadingStrategy {
		a.progress(fmt.Sprintf("the pod strategy changes from %s to %s",
			before.PodOffloadingStrategy, after.PodOffloadingStrategy))
	}
	if !equality.Semantic.DeepEqual(before.ClusterSelector, after.ClusterSelector) {
		a.progress("the cluster selector changes")
	}
}
