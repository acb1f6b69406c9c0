package env

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// stages are what the fake kubelets do.
//
//go:embed stages.yaml
var stages string

// fakeNode marks the nodes that kwok plays; it leaves all others, virtual ones above all, alone.
const fakeNode = "playground.twinspace/fake"

func (c *Cluster) kwok() component {
	return component{
		cluster: c, name: Kwok, program: "kwok", ports: []int{c.ports[Kwok]},
		health: "https://" + address(c.ports[Kwok]) + "/healthz",
		args: []string{
			"--kubeconfig=" + c.path(Kwok+suffixKubeconfig),
			"--config=" + c.path("kwok.yaml"),
			"--manage-nodes-with-annotation-selector=" + fakeNode + "=true",
			"--cidr=" + c.pods.String(),
			"--node-ip=" + loopback,
			fmt.Sprintf("--node-port=%d", c.ports[Kwok]),
			"--server-address=" + address(c.ports[Kwok]),
			"--node-lease-duration-seconds=40",
			"--tls-cert-file=" + c.cert(certServing), "--tls-private-key-file=" + c.key(certServing),
		},
	}
}

// kwokRole is what fake kubelets may do.
func kwokRole() []client.Object {
	meta := metav1.ObjectMeta{Name: "playground-kwok"}
	return []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			allow("", "nodes", "get", "list", "watch"),
			allow("", "nodes/status", "update", "patch"),
			allow("", "pods", "get", "list", "watch", "delete", "patch"),
			allow("", "pods/status", "update", "patch"),
			allow("", "events", "create", "update", "patch"),
			allow("events.k8s.io", "events", "create", "update", "patch"),
			allow("coordination.k8s.io", "leases", "get", "list", "watch", "create", "update", "patch"),
		}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: userKwok}},
		},
		// By this name the API server speaks to kubelets, and real ones ask whether it may.
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "playground-kubelet-api"},
			RoleRef: rbacv1.RoleRef{
				APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:kubelet-api-admin",
			},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: certKubelet}},
		},
	}
}

func allow(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// nodePrefix begins the names of the cluster's own nodes.
func (c *Cluster) nodePrefix() string { return c.Name + "-node-" }

// node returns the i-th node.
func (c *Cluster) node(i int) *corev1.Node {
	name := fmt.Sprintf("%s%d", c.nodePrefix(), i+1)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{fakeNode: "true"},
			Labels: map[string]string{
				corev1.LabelHostname:           name,
				corev1.LabelOSStable:           "linux",
				corev1.LabelArchStable:         "amd64",
				"node-role.kubernetes.io/node": "",
			},
		},
		Spec: corev1.NodeSpec{
			PodCIDR:  nodeRange(c.pods, i).String(),
			PodCIDRs: []string{nodeRange(c.pods, i).String()},
		},
	}
}

// populate makes what a cluster has before anybody uses it: rights of the fake kubelets, nodes, and a storage class.
func (c *Cluster) populate(ctx context.Context) error {
	objects := append(slices.Concat(kwokRole(), c.kwokFence()), storageClass())
	for i := range c.env.opts.Nodes {
		objects = append(objects, c.node(i))
	}
	for _, obj := range objects {
		if err := c.client.Create(ctx, obj); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %T %s in %s: %w", obj, obj.GetName(), c.Name, err)
		}
	}
	return nil
}

// nodesReady waits until the cluster's own nodes accept pods, and namespace default has its ServiceAccount.
func (c *Cluster) nodesReady(ctx context.Context) error {
	last := "no answer"
	err := wait.PollUntilContextTimeout(ctx, pollNodes, startTimeout, true, func(ctx context.Context) (bool, error) {
		var nodes corev1.NodeList
		if err := c.client.List(ctx, &nodes); err != nil {
			last = err.Error()
			return false, nil
		}
		open := 0
		for _, node := range nodes.Items {
			if node.Annotations[fakeNode] == "true" && isReady(&node) && len(node.Spec.Taints) == 0 {
				open++
			}
		}
		last = fmt.Sprintf("%d of %d nodes are ready", open, c.env.opts.Nodes)
		if open < c.env.opts.Nodes {
			return false, nil
		}
		key := client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "default"}
		if err := c.client.Get(ctx, key, &corev1.ServiceAccount{}); err != nil {
			last = err.Error()
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("wait for nodes of %s (%s): %w", c.Name, last, err)
	}
	return nil
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
