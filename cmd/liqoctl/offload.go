package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
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
	// given says whether a flag is on the command line.
	given func(flag string) bool
}

// Flags that say what the offloading shall be like.
const (
	flagMapping    = "namespace-mapping-strategy"
	flagStrategy   = "pod-offloading-strategy"
	flagRemoteName = "remote-namespace-name"
	flagSelector   = "selector"
)

func (a *app) offload() *cobra.Command {
	var f offloadFlags
	cmd := &cobra.Command{
		Use:   "namespace NAME",
		Short: "Extend a namespace onto other clusters",
		Long: `Extend a namespace onto the clusters that --selector picks: each gets a twin of it, and pods may
run there.

Flags that are not given mean their default or, for a namespace that is offloaded already, what it has. Its pod
strategy and selector can be changed at any time, how its twins are called cannot. A change that would take twins
away, or forbid pods where they run, is asked about first.

  liqoctl offload namespace shop
  liqoctl offload namespace shop --pod-offloading-strategy Remote -l region=eu,tier=gold -l cloud=private

The second picks the clusters with (region=eu and tier=gold) or cloud=private.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.given = cmd.Flags().Changed
			return a.offloadNamespace(cmd.Context(), args[0], &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.mapping, flagMapping, string(v1beta1.DefaultName),
		"how the twins are called: "+oneOf(mappings())+
			" (DefaultName is NAME-CLUSTERID, SelectedName is --remote-namespace-name)")
	flags.StringVar(&f.strategy, flagStrategy, string(v1beta1.LocalAndRemote),
		"where pods may run: "+oneOf(strategies()))
	flags.StringVar(&f.remoteName, flagRemoteName, "", "name of the twins, with SelectedName")
	flags.StringArrayVarP(&f.selectors, flagSelector, "l", nil,
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

// spec checks the flags and returns what they ask for. What they do not say stays as it is in a namespace that is
// offloaded already; existing is nil for one that is not.
func (f *offloadFlags) spec(existing *v1beta1.NamespaceOffloading) (v1beta1.NamespaceOffloadingSpec, error) {
	selector, err := clusterSelector(f.selectors)
	spec := v1beta1.NamespaceOffloadingSpec{
		NamespaceMappingStrategy: v1beta1.NamespaceMappingStrategy(f.mapping),
		PodOffloadingStrategy:    v1beta1.PodOffloadingStrategy(f.strategy),
		ClusterSelector:          selector,
	}
	if f.given(flagRemoteName) {
		spec.RemoteNamespaceName = ptr.To(f.remoteName)
	}
	if existing != nil {
		f.keep(&spec, &existing.Spec)
	}
	selected := spec.NamespaceMappingStrategy == v1beta1.SelectedName
	switch {
	case !slices.Contains(mappings(), f.mapping):
		return spec, usage("unknown --namespace-mapping-strategy %q: use %s", f.mapping, oneOf(mappings()))
	case !slices.Contains(strategies(), f.strategy):
		return spec, usage("unknown --pod-offloading-strategy %q: use %s", f.strategy, oneOf(strategies()))
	case selected && ptr.Deref(spec.RemoteNamespaceName, "") == "":
		return spec, usage("--namespace-mapping-strategy SelectedName needs --remote-namespace-name")
	case !selected && spec.RemoteNamespaceName != nil:
		return spec, usage("--remote-namespace-name needs --namespace-mapping-strategy SelectedName")
	case f.timeout <= 0:
		return spec, usage("--timeout must be more than 0")
	case err != nil:
		return spec, err
	}
	return spec, checkFormat(f.output)
}

// keep takes over what no flag says.
func (f *offloadFlags) keep(spec, existing *v1beta1.NamespaceOffloadingSpec) {
	if !f.given(flagMapping) {
		spec.NamespaceMappingStrategy = existing.NamespaceMappingStrategy
	}
	if !f.given(flagRemoteName) && spec.NamespaceMappingStrategy == existing.NamespaceMappingStrategy {
		spec.RemoteNamespaceName = existing.RemoteNamespaceName
	}
	if !f.given(flagStrategy) {
		spec.PodOffloadingStrategy = existing.PodOffloadingStrategy
	}
	if !f.given(flagSelector) {
		spec.ClusterSelector = existing.ClusterSelector
	}
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

func (a *app) offloadNamespace(ctx context.Context, name string, f *offloadFlags) error {
	if _, err := f.spec(nil); err != nil && !f.mayBeKept() {
		return err // before any cluster is asked
	}
	if why := validation.IsDNS1123Label(name); len(why) > 0 {
		return usage("%q cannot be a namespace: %s", name, why[0])
	}
	home, existing, err := a.existing(ctx, name)
	if err != nil && f.output != "" {
		a.warn("whether namespace " + name + " is offloaded already is not known, so flags that are not given mean " +
			"their default: " + oneLine(err))
	} else if err != nil {
		return err
	}
	return a.offloadAs(ctx, home, name, f, existing)
}

// offloadAs offloads a namespace, or prints how it would; existing is what it has already.
func (a *app) offloadAs(
	ctx context.Context, home *cluster, name string, f *offloadFlags, existing *v1beta1.NamespaceOffloading,
) error {
	spec, err := f.spec(existing)
	if err != nil {
		return err
	}
	if existing == nil && name != metav1.NamespaceDefault && naming.Reserved(name) {
		return fmt.Errorf("system namespaces may not be offloaded, and %s is one: offload a namespace of yours", name)
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
	twin, err := a.checkOffload(ctx, home, name, spec)
	if err != nil {
		return err
	}
	if err := a.checkChanges(ctx, home, existing, spec); err != nil {
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

// mayBeKept says that the flags make sense only together with what a namespace that is offloaded already has.
func (f *offloadFlags) mayBeKept() bool {
	return f.given(flagRemoteName) && !f.given(flagMapping)
}

// existing connects to the cluster and returns the namespace's offloading, nil if there is none.
func (a *app) existing(ctx context.Context, name string) (*cluster, *v1beta1.NamespaceOffloading, error) {
	home, err := a.home()
	if err != nil {
		return nil, nil, err
	}
	off := &v1beta1.NamespaceOffloading{}
	err = home.Get(ctx, client.ObjectKey{Namespace: name, Name: v1beta1.OffloadingName}, off)
	if apierrors.IsNotFound(err) {
		return home, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the offloading of namespace %s: %w", name, err)
	}
	return home, off, nil
}

// checkOffload refuses what would fail later, and returns the twins' name.
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
	return naming.Twin(name, spec, id)
}
