package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func (a *app) cordon() *cobra.Command {
	return &cobra.Command{
		Use:   "cordon NODE",
		Short: "Let a virtual node take no more pods",
		Long: `Let a virtual node take no more pods. What runs there stays, and so do the twins. It is what
kubectl cordon does, and stays until somebody says uncordon.`,
		Args: exactly("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			home, node, err := a.virtualNode(cmd.Context(), args[0], "cordon")
			if err != nil {
				return err
			}
			if node.Spec.Unschedulable {
				a.success("node %s is cordoned already", node.Name)
				return nil
			}
			if err := setCordon(cmd.Context(), home, node, true); err != nil {
				return err
			}
			a.success("node %s takes no more pods; those that it has stay", node.Name)
			return nil
		},
	}
}

func (a *app) uncordon() *cobra.Command {
	return &cobra.Command{
		Use:   "uncordon NODE",
		Short: "Let a virtual node take pods again",
		Args:  exactly("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			home, node, err := a.virtualNode(cmd.Context(), args[0], "uncordon")
			if err != nil {
				return err
			}
			switch {
			case leaving(node):
				return fmt.Errorf("node %s is on its way out: its VirtualNode wants it no more, or somebody deleted it",
					node.Name)
			case !node.Spec.Unschedulable:
				a.success("node %s is not cordoned", node.Name)
				return nil
			}
			if err := setCordon(cmd.Context(), home, node, false); err != nil {
				return err
			}
			a.success("node %s takes pods again", node.Name)
			return nil
		},
	}
}

// leaving says that a Node will take no more pods, whatever anybody says: its agent would cordon it again.
func leaving(node *corev1.Node) bool {
	going := v1beta1.TaintLeaving()
	for _, taint := range node.Spec.Taints {
		if taint.MatchTaint(&going) {
			return true
		}
	}
	return !node.DeletionTimestamp.IsZero()
}

func setCordon(ctx context.Context, home *cluster, node *corev1.Node, closed bool) error {
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q},"spec":{"unschedulable":%t}}`, node.UID, closed)
	if !closed {
		patch = fmt.Appendf(nil, `{"metadata":{"uid":%q},"spec":{"unschedulable":null}}`, node.UID)
	}
	if err := home.Patch(ctx, node, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("change node %s: %w", node.Name, err)
	}
	return nil
}

// virtualNode reads a virtual node of this cluster. Ordinary ones are kubectl's, which has the same command.
func (a *app) virtualNode(ctx context.Context, name, command string) (*cluster, *corev1.Node, error) {
	home, err := a.home()
	if err != nil {
		return nil, nil, err
	}
	node := &corev1.Node{}
	err = home.Get(ctx, client.ObjectKey{Name: name}, node)
	switch {
	case apierrors.IsNotFound(err):
		names, err := virtualNodeNames(ctx, home)
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("there is no node %q: the virtual nodes of this cluster are %s", name,
			orNone(names))
	case err != nil:
		return nil, nil, fmt.Errorf("read node %s: %w", name, err)
	case node.Labels[v1beta1.LabelNodeType] != v1beta1.NodeTypeVirtual:
		return nil, nil, fmt.Errorf("node %s is an ordinary one: use kubectl %s %s", name, command, name)
	}
	return home, node, nil
}

func virtualNodeNames(ctx context.Context, home *cluster) ([]string, error) {
	var list corev1.NodeList
	err := home.List(ctx, &list, client.MatchingLabels{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual})
	if err != nil {
		return nil, fmt.Errorf("list virtual nodes: %w", err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, nil
}

// counted says how many there are of something, in words that fit one and many.
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// shortened joins the first names and counts the rest.
func shortened(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
