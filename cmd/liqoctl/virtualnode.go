package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/peering"
)

func (a *app) create() *cobra.Command {
	return group("create", "Create parts of a peering", a.createVirtualNode())
}

func (a *app) delete() *cobra.Command {
	return group("delete", "Delete parts of a peering", a.deleteVirtualNode())
}

func (a *app) createVirtualNode() *cobra.Command {
	var f virtualNodeFlags
	cmd := &cobra.Command{
		Use:   "virtualnode NAME --remote-cluster-id ID",
		Short: "Create or change a virtual node of a provider",
		Long: `Create a virtual node of a provider, besides the one that peering made: with a part of the provider's
capacity, labels of its own for selectors, or a patch for the pods that run there. What exists is changed to
what the flags say, all of them: a flag that is not repeated means its default again.

It is a VirtualNode in the provider's tenant namespace, which --output prints instead of applying it.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runCreateVirtualNode(cmd.Context(), args[0], &f)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func (a *app) runCreateVirtualNode(ctx context.Context, name string, f *virtualNodeFlags) error {
	spec, err := f.spec(name)
	if err != nil {
		return err
	}
	body, err := render(virtualNodeManifest{
		APIVersion: v1beta1.GroupVersion.String(), Kind: "VirtualNode",
		Metadata: virtualNodeMeta{
			Name: name, Namespace: v1beta1.TenantNamespace(f.clusterID),
			Labels: map[string]string{v1beta1.LabelRemoteClusterID: f.clusterID},
		},
		Spec: *spec,
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
	old, err := checkVirtualNode(ctx, home, name, f)
	if err != nil {
		return err
	}
	if lost := lostLabels(old, spec.Labels); len(lost) > 0 {
		question := fmt.Sprintf("This takes %s from virtual node %s, which no flag repeats: twins of namespaces that "+
			"select it by them are deleted.", strings.Join(lost, ", "), name)
		if err := a.confirm(question); err != nil {
			return err
		}
	}
	vn := &v1beta1.VirtualNode{}
	vn.Namespace, vn.Name = v1beta1.TenantNamespace(f.clusterID), name
	patch := client.RawPatch(types.ApplyYAMLPatchType, body)
	if err := home.Patch(ctx, vn, patch, client.FieldOwner(peering.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("create virtual node %s: %w", name, err)
	}
	if err := a.awaitNode(ctx, home, vn, f.timeout); err != nil {
		return err
	}
	if f.createNode {
		a.success("virtual node %s of %s is ready", name, f.clusterID)
	} else {
		a.success("virtual node %s of %s is there, without a Node", name, f.clusterID)
	}
	return nil
}

// lostLabels names what a VirtualNode has, if there is one, and will have no more: such as what liqoctl peer was given.
func lostLabels(old *v1beta1.VirtualNode, labels map[string]string) []string {
	if old == nil {
		return nil
	}
	var lost []string
	for _, key := range slices.Sorted(maps.Keys(old.Spec.Labels)) {
		if value, kept := labels[key]; !kept || value != old.Spec.Labels[key] {
			lost = append(lost, key+"="+old.Spec.Labels[key])
		}
	}
	return lost
}

// checkVirtualNode refuses what would never work, and returns the VirtualNode if there is one already.
func checkVirtualNode(
	ctx context.Context, home *cluster, name string, f *virtualNodeFlags,
) (*v1beta1.VirtualNode, error) {
	tenant := v1beta1.TenantNamespace(f.clusterID)
	secret := &corev1.Secret{}
	err := home.Get(ctx, client.ObjectKey{Namespace: tenant, Name: f.secretName()}, secret)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no credential for %s, Secret %s/%s: peer with it first with liqoctl peer; "+
			"liqoctl info lists the providers", f.clusterID, tenant, f.secretName())
	}
	if err != nil {
		return nil, fmt.Errorf("read the credential for %s: %w", f.clusterID, err)
	}
	all, err := virtualNodesNamed(ctx, home, name)
	if err != nil {
		return nil, err
	}
	var old *v1beta1.VirtualNode
	for i := range all {
		switch {
		case all[i].Namespace != tenant:
			return nil, fmt.Errorf("there is a virtual node %s of %s, and Nodes need names of their own: choose "+
				"another name", name, all[i].Spec.ClusterID)
		case !all[i].DeletionTimestamp.IsZero():
			return nil, fmt.Errorf("virtual node %s is being deleted; repeat this when it is gone", name)
		}
		old = &all[i]
	}
	node := &corev1.Node{}
	err = home.Get(ctx, client.ObjectKey{Name: name}, node)
	if err == nil && node.Labels[v1beta1.LabelRemoteClusterID] != f.clusterID {
		return nil, fmt.Errorf("there is a node %s that is not of %s: choose another name", name, f.clusterID)
	}
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read node %s: %w", name, err)
	}
	return old, nil
}

func virtualNodesNamed(ctx context.Context, home *cluster, name string) ([]v1beta1.VirtualNode, error) {
	var list v1beta1.VirtualNodeList
	if err := home.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list virtual nodes: %w", err)
	}
	var out []v1beta1.VirtualNode
	for _, vn := range list.Items {
		if vn.Name == name {
			out = append(out, vn)
		}
	}
	return out, nil
}

// awaitNode shows how the Node comes about, until its agent says that it serves it.
func (a *app) awaitNode(ctx context.Context, home *cluster, vn *v1beta1.VirtualNode, timeout time.Duration) error {
	said := ""
	err := poll(ctx, timeout, func(ctx context.Context) (bool, error) {
		if err := home.Get(ctx, client.ObjectKeyFromObject(vn), vn); err != nil {
			return false, fmt.Errorf("look at virtual node %s: %w", vn.Name, err)
		}
		done, now := nodeState(vn)
		if !done && now != said {
			said = now
			a.progress(now)
		}
		return done, nil
	})
	if isTimeout(ctx, err) {
		return fmt.Errorf("virtual node %s is not ready after %s: %s; it goes on by itself, see kubectl get vnode -A",
			vn.Name, timeout, said)
	}
	return err
}

// nodeState says whether a VirtualNode has what it asks for, or what it waits for.
func nodeState(vn *v1beta1.VirtualNode) (done bool, waits string) {
	want := v1beta1.StatusRunning
	if vn.Spec.CreateNode != nil && !*vn.Spec.CreateNode {
		want = v1beta1.StatusNone
	}
	for _, c := range vn.Status.Conditions {
		if c.Type != v1beta1.NodeCondition {
			continue
		}
		if c.Status == want && c.Message == "" {
			return true, ""
		}
		return false, strings.TrimSuffix(fmt.Sprintf("Node %s is %s: %s", vn.Name, c.Status, c.Message), ": ")
	}
	return false, "waiting for the agent of " + vn.Spec.ClusterID
}

// deleteFlags are the flags of delete virtualnode.
type deleteFlags struct {
	clusterID string
	force     bool
	timeout   time.Duration
}

func (a *app) deleteVirtualNode() *cobra.Command {
	var f deleteFlags
	cmd := &cobra.Command{
		Use:   "virtualnode NAME",
		Short: "Drain and delete a virtual node",
		Long: `Delete a virtual node. First its pods are evicted, as their PodDisruptionBudgets allow; the Node goes
when the last one has left. With the last virtual node of a provider its twins go as well, with everything in them.

As long as there are volumes on it, it waits, and names the claims. --force accepts their loss. Budgets hold all the
same, but with the last virtual node of a provider, whose twins then go at once. A pod that one of them holds goes when
somebody deletes it: kubectl delete pod asks no budget.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.timeout <= 0 {
				return usage("--timeout must be more than 0")
			}
			return a.runDeleteVirtualNode(cmd.Context(), args[0], &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.clusterID, "remote-cluster-id", "", "id of the provider; needed when several have such a node")
	flags.BoolVar(&f.force, "force", false, "accept the loss of the volumes on it; PodDisruptionBudgets still hold")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait for it to be gone")
	return cmd
}

func (a *app) runDeleteVirtualNode(ctx context.Context, name string, f *deleteFlags) error {
	home, err := a.home()
	if err != nil {
		return err
	}
	vn, err := chosenVirtualNode(ctx, home, name, f.clusterID)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("This evicts every pod from virtual node %s of %s, and removes it.", name,
		vn.Spec.ClusterID)
	if f.force {
		question += " Data in volumes on it is lost. If it is the provider's last one, " +
			"PodDisruptionBudgets do not hold."
	}
	if err := a.confirm(question); err != nil {
		return err
	}
	if err := client.IgnoreNotFound(home.Delete(ctx, vn, client.Preconditions{UID: &vn.UID})); err != nil {
		return fmt.Errorf("delete virtual node %s: %w", name, err)
	}
	if f.force { // only now: a deletion that is refused must not leave a mark that forces the next one
		patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%q:"true"}}}`, vn.UID,
			v1beta1.AnnotationForceRemoval)
		err := home.Patch(ctx, vn.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("virtual node %s is being deleted, but not by force: %w", name, err)
		}
	}
	if err := a.awaitNoNode(ctx, home, vn, f.timeout); err != nil {
		return err
	}
	a.success("virtual node %s is gone", name)
	return nil
}

// chosenVirtualNode returns the VirtualNode of a name, of a provider if one is given.
func chosenVirtualNode(ctx context.Context, home *cluster, name, clusterID string) (*v1beta1.VirtualNode, error) {
	all, err := virtualNodesNamed(ctx, home, name)
	if err != nil {
		return nil, err
	}
	var found []*v1beta1.VirtualNode
	var of []string
	for i := range all {
		if of = append(of, all[i].Spec.ClusterID); clusterID == "" || all[i].Spec.ClusterID == clusterID {
			found = append(found, &all[i])
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, usage("several providers have a virtual node %s: say with --remote-cluster-id which of %s", name,
			strings.Join(of, ", "))
	case len(of) > 0:
		return nil, fmt.Errorf("virtual node %s is of %s, not of %s", name, strings.Join(of, ", "), clusterID)
	}
	names, err := virtualNodeNames(ctx, home)
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("there is no virtual node %q: this cluster has %s", name, orNone(names))
}

// awaitNoNode shows what a VirtualNode waits for, until it is gone. One that somebody made anew is another one.
func (a *app) awaitNoNode(ctx context.Context, home *cluster, gone *v1beta1.VirtualNode, timeout time.Duration) error {
	said := ""
	err := poll(ctx, timeout, func(ctx context.Context) (bool, error) {
		vn := &v1beta1.VirtualNode{}
		err := home.Get(ctx, client.ObjectKeyFromObject(gone), vn)
		if apierrors.IsNotFound(err) || err == nil && vn.UID != gone.UID {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("look at virtual node %s: %w", gone.Name, err)
		}
		if now := waitsOf(vn); now != said && now != "" {
			said = now
			a.progress(now)
		}
		return false, nil
	})
	if isTimeout(ctx, err) {
		return fmt.Errorf("virtual node %s is still there after %s: %s; it goes on by itself, see kubectl get vnode -A",
			gone.Name, timeout, said)
	}
	return err
}

// waitsOf says what a VirtualNode that is being deleted waits for: what the controller-manager says, and else its
// agent.
func waitsOf(vn *v1beta1.VirtualNode) string {
	for _, t := range []v1beta1.VirtualNodeConditionType{v1beta1.VirtualKubeletCondition, v1beta1.NodeCondition} {
		for _, c := range vn.Status.Conditions {
			if c.Type == t && c.Message != "" {
				return c.Message
			}
		}
	}
	return "waiting for the controller-manager"
}
