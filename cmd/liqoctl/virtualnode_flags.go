package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
	"github.com/twinspace/twinspace/peering"
)

// virtualNodeFlags are the flags of create virtualnode.
type virtualNodeFlags struct {
	clusterID, secret                         string
	createNode, disableNetworkCheck           bool
	cpu, memory, pods                         string
	label                                     []string
	labels, nodeSelector                      map[string]string
	storageClasses, ingressClasses, lbClasses []string
	runtimeClass                              string
	output                                    string
	timeout                                   time.Duration
}

// virtualNodeManifest is what is printed, and applied.
type virtualNodeManifest struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   virtualNodeMeta `json:"metadata"`
	Spec       virtualNodeSpec `json:"spec"`
}

type virtualNodeMeta struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
}

// virtualNodeSpec has only the fields that there are flags for; the others belong to whoever set them.
type virtualNodeSpec struct {
	ClusterID           string                      `json:"clusterID"`
	KubeconfigSecretRef corev1.LocalObjectReference `json:"kubeconfigSecretRef"`
	CreateNode          bool                        `json:"createNode"`
	DisableNetworkCheck bool                        `json:"disableNetworkCheck,omitempty"`
	Labels              map[string]string           `json:"labels,omitempty"`
	ResourceQuota       *corev1.ResourceQuotaSpec   `json:"resourceQuota,omitempty"`
	StorageClasses      []v1beta1.StorageType       `json:"storageClasses,omitempty"`
	IngressClasses      []v1beta1.IngressType       `json:"ingressClasses,omitempty"`
	LoadBalancerClasses []v1beta1.LoadBalancerType  `json:"loadBalancerClasses,omitempty"`
	OffloadingPatch     *v1beta1.OffloadingPatch    `json:"offloadingPatch,omitempty"`
}

func (f *virtualNodeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.clusterID, "remote-cluster-id", "", "id of the provider")
	flags.StringVar(&f.secret, "kubeconfig-secret-name", "",
		"Secret in the tenant namespace with the credential; default: the one that liqoctl peer made")
	flags.BoolVar(&f.createNode, "create-node", true, "make a Node; without one there are twins and reflection only")
	flags.BoolVar(&f.disableNetworkCheck, "disable-network-check", false, "keep the pod network out of the conditions")
	flags.StringVar(&f.cpu, "cpu", "", "CPUs that the node offers; default: all that the provider's nodes have")
	flags.StringVar(&f.memory, "memory", "", "memory that the node offers; default: all")
	flags.StringVar(&f.pods, "pods", "",
		"how many pods the node offers to run; default: as many as the provider's nodes")
	flags.StringArrayVar(&f.label, "label", nil, "key=value: a label of the node, for selectors; may be repeated")
	flags.StringToStringVar(&f.labels, "labels", nil, "key=value,...: more labels of the node")
	flags.StringSliceVar(&f.storageClasses, "storage-classes", nil, "storage classes on offer, the default one first")
	flags.StringSliceVar(&f.ingressClasses, "ingress-classes", nil, "ingress classes on offer, the default one first")
	flags.StringSliceVar(&f.lbClasses, "load-balancer-classes", nil,
		"load balancer classes on offer, the default one first")
	flags.StringToStringVar(&f.nodeSelector, "node-selector", nil,
		"key=value,...: labels that the provider's nodes must have to run the pods")
	flags.StringVar(&f.runtimeClass, "runtime-class-name", "", "RuntimeClass of the pods at the provider")
	flags.StringVarP(&f.output, "output", "o", "", "yaml or json: print what would be applied, and apply nothing")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for the node")
}

func (f *virtualNodeFlags) secretName() string {
	if f.secret != "" {
		return f.secret
	}
	return peering.SecretName(f.clusterID)
}

// spec returns what the flags ask for, or the fault in them.
func (f *virtualNodeFlags) spec(name string) (*virtualNodeSpec, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	labels, err := f.allLabels(name)
	if err != nil {
		return nil, err
	}
	quota, err := f.quota()
	if err != nil {
		return nil, err
	}
	spec := &virtualNodeSpec{
		ClusterID: f.clusterID, KubeconfigSecretRef: corev1.LocalObjectReference{Name: f.secretName()},
		CreateNode: f.createNode, DisableNetworkCheck: f.disableNetworkCheck, Labels: labels, ResourceQuota: quota,
	}
	for i, class := range f.storageClasses {
		spec.StorageClasses = append(spec.StorageClasses, v1beta1.StorageType{StorageClassName: class, Default: i == 0})
	}
	for i, class := range f.ingressClasses {
		spec.IngressClasses = append(spec.IngressClasses, v1beta1.IngressType{IngressClassName: class, Default: i == 0})
	}
	for i, class := range f.lbClasses {
		spec.LoadBalancerClasses = append(spec.LoadBalancerClasses,
			v1beta1.LoadBalancerType{LoadBalancerClassName: class, Default: i == 0})
	}
	if len(f.nodeSelector) > 0 || f.runtimeClass != "" {
		spec.OffloadingPatch = &v1beta1.OffloadingPatch{NodeSelector: f.nodeSelector}
		if f.runtimeClass != "" {
			spec.OffloadingPatch.RuntimeClassName = ptr.To(f.runtimeClass)
		}
	}
	return spec, nil
}

func (f *virtualNodeFlags) check(name string) error {
	if f.clusterID == "" {
		return usage("--remote-cluster-id is missing: say of which provider; liqoctl info lists them")
	}
	if err := naming.CheckClusterID(f.clusterID); err != nil {
		return usage("--remote-cluster-id: %w", err)
	}
	if why := validation.IsDNS1123Subdomain(name); len(why) > 0 {
		return usage("%q cannot be a node: %s", name, why[0])
	}
	if why := validation.IsValidLabelValue(name); len(why) > 0 { // nodes carry their name as a label
		return usage("%q cannot be a node: %s", name, why[0])
	}
	if f.timeout <= 0 {
		return usage("--timeout must be more than 0")
	}
	return checkFormat(f.output)
}

// allLabels joins the two ways to give labels, and refuses those that the Node would have with another value.
func (f *virtualNodeFlags) allLabels(name string) (map[string]string, error) {
	labels := map[string]string{}
	maps.Copy(labels, f.labels)
	for _, label := range f.label {
		key, value, found := strings.Cut(label, "=")
		if !found || key == "" {
			return nil, usage("--label %q: write key=value", label)
		}
		labels[key] = value
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if why := validation.IsQualifiedName(key); len(why) > 0 {
			return nil, usage("label %q: %s", key, why[0])
		}
		if why := validation.IsValidLabelValue(labels[key]); len(why) > 0 {
			return nil, usage("label %s=%q: %s", key, labels[key], why[0])
		}
	}
	vn := &v1beta1.VirtualNode{Spec: v1beta1.VirtualNodeSpec{ClusterID: f.clusterID, Labels: labels}}
	vn.Name = name
	has := vn.NodeLabels()
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if has[key] != labels[key] {
			return nil, usage("label %s=%q: this node always has %s=%s", key, labels[key], key, has[key])
		}
	}
	return labels, nil
}

// quota returns what the node offers at most, nil when no flag says so.
func (f *virtualNodeFlags) quota() (*corev1.ResourceQuotaSpec, error) {
	hard := corev1.ResourceList{}
	for _, given := range []struct {
		flag, value string
		name        corev1.ResourceName
	}{
		{"cpu", f.cpu, corev1.ResourceCPU}, {"memory", f.memory, corev1.ResourceMemory},
		{"pods", f.pods, corev1.ResourcePods},
	} {
		if given.value == "" {
			continue
		}
		q, err := resource.ParseQuantity(given.value)
		if err != nil {
			return nil, usage("--%s %q is no amount: write one such as 8, 500m or 16Gi", given.flag, given.value)
		}
		if q.Sign() < 0 {
			return nil, usage("--%s %q: must not be less than 0", given.flag, given.value)
		}
		hard[given.name] = q
	}
	if len(hard) == 0 {
		return nil, nil
	}
	return &corev1.ResourceQuotaSpec{Hard: hard}, nil
}
