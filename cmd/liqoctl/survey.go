package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/reflection/remote"
)

// clusterInfo is what info says.
type clusterInfo struct {
	ID         string          `json:"id"`
	UID        string          `json:"uid"`
	Version    string          `json:"version"`
	Providers  []providerInfo  `json:"providers"`
	Consumers  []string        `json:"consumers"`
	Namespaces []namespaceInfo `json:"namespaces"`
	// Problems are sentences; without any the cluster is healthy.
	Problems []string `json:"problems"`
}

// providerInfo is a cluster that this one borrows from.
type providerInfo struct {
	ID           string     `json:"id"`
	Server       string     `json:"server,omitempty"`
	TokenExpires *time.Time `json:"tokenExpires,omitempty"`
	Nodes        []nodeInfo `json:"nodes"`
	Twins        []twinInfo `json:"twins"`
}

// nodeInfo is a virtual node.
type nodeInfo struct {
	Name     string            `json:"name"`
	Ready    bool              `json:"ready"`
	Message  string            `json:"message,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Capacity map[string]string `json:"capacity,omitempty"`
}

// twinInfo is an offloaded namespace as one provider has it.
type twinInfo struct {
	Namespace string `json:"namespace"`
	Twin      string `json:"twin"`
	Phase     string `json:"phase"`
	Message   string `json:"message,omitempty"`
}

// namespaceInfo is an offloaded namespace.
type namespaceInfo struct {
	Name     string   `json:"name"`
	Strategy string   `json:"strategy"`
	Phase    string   `json:"phase"`
	Twin     string   `json:"twin,omitempty"`
	Clusters []string `json:"clusters"`
	Message  string   `json:"message,omitempty"`
	// Reflection says on which clusters something is not as it should be.
	Reflection []string `json:"reflection,omitempty"`
}

// survey looks at a cluster. It needs no more than reading rights; what the user may not see is left out.
func survey(ctx context.Context, c *cluster) (*clusterInfo, error) {
	identity, err := peering.Identify(ctx, c)
	if err != nil {
		return nil, err
	}
	version, err := c.Version()
	if err != nil {
		return nil, fmt.Errorf("ask for the version: %w", err)
	}
	out := &clusterInfo{
		ID: identity.ID, UID: string(identity.UID), Version: version,
		Providers: []providerInfo{}, Consumers: []string{}, Namespaces: []namespaceInfo{}, Problems: []string{},
	}
	for _, part := range []func(context.Context, client.Client) error{out.providers, out.consumers, out.namespaces} {
		if err := part(ctx, c); err != nil {
			return nil, err
		}
	}
	out.judge()
	return out, nil
}

func (i *clusterInfo) providers(ctx context.Context, c client.Client) error {
	var declared v1beta1.VirtualNodeList
	if err := c.List(ctx, &declared); err != nil {
		return fmt.Errorf("list virtual nodes: %w", err)
	}
	nodes := map[string][]v1beta1.VirtualNode{}
	for _, node := range declared.Items {
		nodes[node.Spec.ClusterID] = append(nodes[node.Spec.ClusterID], node)
	}
	var maps v1beta1.NamespaceMapList
	if err := c.List(ctx, &maps); err != nil {
		return fmt.Errorf("list namespace maps: %w", err)
	}
	twins := map[string][]twinInfo{}
	for _, m := range maps.Items {
		twins[m.Name] = twinsOf(&m)
	}
	for id, declared := range nodes {
		provider := providerInfo{ID: id, Nodes: []nodeInfo{}, Twins: twins[id]}
		if provider.Twins == nil {
			provider.Twins = []twinInfo{}
		}
		for _, d := range declared {
			node, err := nodeOf(ctx, c, &d)
			if err != nil {
				return err
			}
			provider.Nodes = append(provider.Nodes, node)
		}
		if err := provider.credential(ctx, c); err != nil {
			return err
		}
		i.Providers = append(i.Providers, provider)
	}
	slices.SortFunc(i.Providers, func(a, b providerInfo) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// nodeOf returns what the Node of a VirtualNode says.
func nodeOf(ctx context.Context, c client.Client, declared *v1beta1.VirtualNode) (nodeInfo, error) {
	out := nodeInfo{Name: declared.Name, Labels: declared.Spec.Labels}
	var node corev1.Node
	if err := c.Get(ctx, client.ObjectKey{Name: declared.Name}, &node); apierrors.IsNotFound(err) {
		out.Message = "the node does not exist yet: is the provider's agent running?"
		return out, nil
	} else if err != nil {
		return out, fmt.Errorf("read node %s: %w", declared.Name, err)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			out.Ready = condition.Status == corev1.ConditionTrue
			out.Message = condition.Message
		}
	}
	if out.Ready {
		out.Message = ""
	}
	out.Capacity = map[string]string{}
	for resource, quantity := range node.Status.Capacity {
		out.Capacity[string(resource)] = quantity.String()
	}
	return out, nil
}

func twinsOf(m *v1beta1.NamespaceMap) []twinInfo {
	out := []twinInfo{}
	for home, twin := range m.Spec.DesiredMapping {
		current, found := m.Status.CurrentMapping[home]
		info := twinInfo{Namespace: home, Twin: twin, Phase: string(current.Phase), Message: current.Message}
		if !found {
			info.Phase, info.Message = "Pending", "the agent has not answered yet"
		}
		out = append(out, info)
	}
	for home, current := range m.Status.CurrentMapping {
		if _, desired := m.Spec.DesiredMapping[home]; !desired {
			out = append(out, twinInfo{
				Namespace: home, Twin: current.RemoteNamespace, Phase: string(v1beta1.MappingTerminating),
				Message: current.Message,
			})
		}
	}
	slices.SortFunc(out, func(a, b twinInfo) int { return strings.Compare(a.Namespace, b.Namespace) })
	return out
}

// credential reads where the provider is and until when the token is good, if the user may see the Secret.
func (p *providerInfo) credential(ctx context.Context, c client.Client) error {
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: v1beta1.TenantNamespace(p.ID), Name: peering.SecretName(p.ID)}
	if err := c.Get(ctx, key, &secret); apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read Secret %s: %w", key, err)
	}
	credential, err := remote.Parse(secret.Data[v1beta1.KubeconfigKey])
	if err != nil {
		return nil // the agent says what is wrong with it, in the node's condition
	}
	p.Server = credential.Server
	if expires, bounded := peering.TokenExpiry(credential.Token); bounded {
		p.TokenExpires = &expires
	}
	return nil
}

func (i *clusterInfo) consumers(ctx context.Context, c client.Client) error {
	var tenants corev1.NamespaceList
	if err := c.List(ctx, &tenants, client.MatchingLabels{v1beta1.LabelTenantNamespace: "true"}); err != nil {
		return fmt.Errorf("list tenant namespaces: %w", err)
	}
	for _, tenant := range tenants.Items {
		var account corev1.ServiceAccount
		key := client.ObjectKey{Namespace: tenant.Name, Name: v1beta1.PeerServiceAccount}
		err := c.Get(ctx, key, &account)
		if err == nil {
			i.Consumers = append(i.Consumers, tenant.Labels[v1beta1.LabelRemoteClusterID])
		} else if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("read ServiceAccount %s: %w", key, err)
		}
	}
	return nil
}

func (i *clusterInfo) namespaces(ctx context.Context, c client.Client) error {
	var offloadings v1beta1.NamespaceOffloadingList
	if err := c.List(ctx, &offloadings); err != nil {
		return fmt.Errorf("list offloaded namespaces: %w", err)
	}
	for _, off := range offloadings.Items {
		info := namespaceInfo{
			Name: off.Namespace, Strategy: string(off.Spec.PodOffloadingStrategy),
			Phase: string(off.Status.OffloadingPhase), Twin: off.Status.RemoteNamespaceName,
			Clusters: clusters(&off, isReady),
		}
		switch off.Status.OffloadingPhase {
		case v1beta1.PhaseReady:
		case v1beta1.PhaseNoClusterSelected:
			info.Message = "no virtual node matches its selector"
		case "":
			info.Phase, info.Message = "Pending", "the controller-manager has not looked at it yet: is it running?"
		default:
			info.Message = reasons(&off)
		}
		info.Reflection = reflectionTroubles(&off)
		i.Namespaces = append(i.Namespaces, info)
	}
	return nil
}

// reflectionTroubles names the conditions of clusters that speak of reflection, sorted.
func reflectionTroubles(off *v1beta1.NamespaceOffloading) []string {
	var out []string
	for id, conditions := range off.Status.RemoteNamespacesConditions {
		for _, condition := range conditions {
			if condition.Type == v1beta1.ConditionConflict || condition.Type == v1beta1.ConditionNotReflected {
				out = append(out, condition.Type+" on "+id)
			}
		}
	}
	slices.Sort(out)
	return out
}

// judge gathers what somebody should look at.
func (i *clusterInfo) judge() {
	if i.ID == "" {
		i.Problems = append(i.Problems, "this cluster has no id yet: is the controller-manager running?")
	}
	for _, provider := range i.Providers {
		for _, node := range provider.Nodes {
			if !node.Ready {
				i.Problems = append(i.Problems,
					fmt.Sprintf("virtual node %s is not ready: %s", node.Name, node.Message))
			}
		}
	}
	for _, namespace := range i.Namespaces {
		if namespace.Message != "" {
			i.Problems = append(i.Problems,
				fmt.Sprintf("namespace %s is %s: %s", namespace.Name, namespace.Phase, namespace.Message))
		}
		if len(namespace.Reflection) > 0 {
			i.Problems = append(i.Problems, fmt.Sprintf("of namespace %s not all is reflected as it should be: %s; "+
				"liqoctl info namespace %s tells more", namespace.Name, strings.Join(namespace.Reflection, ", "),
				namespace.Name))
		}
	}
}
