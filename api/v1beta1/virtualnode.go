package v1beta1

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// VirtualNodeSpec describes the virtual Node and how the agent reaches the provider behind it.
type VirtualNodeSpec struct {
	// ClusterID is the id of the provider. Immutable.
	//
	// +kubebuilder:validation:MaxLength=51
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must be a DNS-1123 label"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",reason=FieldValueForbidden,message="clusterID is immutable"
	ClusterID string `json:"clusterID"`
	// KubeconfigSecretRef names a Secret of the same namespace; its key "kubeconfig" holds the credential for the
	// provider.
	// +optional
	KubeconfigSecretRef *corev1.LocalObjectReference `json:"kubeconfigSecretRef,omitempty"`
	// CreateNode says whether a Node is made. Without one the peering only has twins and reflection.
	//
	// +kubebuilder:default=true
	// +optional
	CreateNode *bool `json:"createNode,omitempty"`
	// DisableNetworkCheck keeps the state of the pod network out of the Node's conditions.
	// +optional
	DisableNetworkCheck bool `json:"disableNetworkCheck,omitempty"`
	// Labels are set on the Node.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are set on the Node.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// Taints are set on the Node besides the one that every virtual Node has.
	// +optional
	// +listType=atomic
	Taints []corev1.Taint `json:"taints,omitempty"`
	// Images are listed in the Node's status.
	// +optional
	// +listType=atomic
	Images []corev1.ContainerImage `json:"images,omitempty"`
	// ResourceQuota is what the Node offers; resources that it does not name follow the provider's ready nodes.
	// +optional
	ResourceQuota corev1.ResourceQuotaSpec `json:"resourceQuota,omitempty"`
	// StorageClasses are what the provider offers.
	// +optional
	// +listType=atomic
	StorageClasses []StorageType `json:"storageClasses,omitempty"`
	// IngressClasses are what the provider offers.
	// +optional
	// +listType=atomic
	IngressClasses []IngressType `json:"ingressClasses,omitempty"`
	// LoadBalancerClasses are what the provider offers.
	// +optional
	// +listType=atomic
	LoadBalancerClasses []LoadBalancerType `json:"loadBalancerClasses,omitempty"`
	// ReflectedResources are the custom resources that are reflected to the provider besides what always is, each as
	// PLURAL.VERSION.GROUP: what their specs say goes there, their status comes back (own). What several VirtualNodes
	// of one provider name is reflected once.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?[.]v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?){2,}$')",message="must be PLURAL.VERSION.GROUP, such as certificates.v1.cert-manager.io"
	// +kubebuilder:validation:items:XValidation:rule="!self.matches('^[^.]+[.][^.]+[.](((flowcontrol|internal)[.]apiserver|rbac[.]authorization|admissionregistration|apiextensions|apiregistration|authentication|authorization|certificates|coordination|discovery|events|metrics|networking|node|resource|scheduling|storage|storagemigration)[.]k8s[.]io|offloading[.]liqo[.]io)$')",reason=FieldValueForbidden,message="only custom resources can be reflected by name"
	ReflectedResources []string `json:"reflectedResources,omitempty"`
	// OffloadingPatch is applied to every remote pod.
	// +optional
	OffloadingPatch *OffloadingPatch `json:"offloadingPatch,omitempty"`
	// Template overrides the agent's Deployment.
	//
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Template *runtime.RawExtension `json:"template,omitempty"`
}

// StorageType is a storage class of the provider.
type StorageType struct {
	StorageClassName string `json:"storageClassName"`
	// +optional
	Default bool `json:"default,omitempty"`
}

// IngressType is an ingress class of the provider.
type IngressType struct {
	IngressClassName string `json:"ingressClassName"`
	// +optional
	Default bool `json:"default,omitempty"`
}

// LoadBalancerType is a load balancer class of the provider.
type LoadBalancerType struct {
	LoadBalancerClassName string `json:"loadBalancerClassName"`
	// +optional
	Default bool `json:"default,omitempty"`
}

// OffloadingPatch is what a remote pod has that its home pod has not.
type OffloadingPatch struct {
	// NodeSelector is added to the remote pod's.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations are added to the remote pod's.
	// +optional
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// Affinity is set on the remote pod.
	// +optional
	Affinity *Affinity `json:"affinity,omitempty"`
	// RuntimeClassName is the remote pod's class, unless the home pod has one.
	// +optional
	RuntimeClassName *string `json:"runtimeClassName,omitempty"`
	// LabelsNotReflected are keys of labels that stay at home.
	// +optional
	// +listType=set
	LabelsNotReflected []string `json:"labelsNotReflected,omitempty"`
	// AnnotationsNotReflected are keys of annotations that stay at home.
	// +optional
	// +listType=set
	AnnotationsNotReflected []string `json:"annotationsNotReflected,omitempty"`
}

// Affinity is the part of a pod's affinity that can be given to remote pods.
type Affinity struct {
	// NodeAffinity is the remote pod's node affinity.
	// +optional
	NodeAffinity *corev1.NodeAffinity `json:"nodeAffinity,omitempty"`
}

// VirtualNodeConditionType is a part of a VirtualNode that has a state.
//
// +kubebuilder:validation:Enum=VirtualKubelet;Node
type VirtualNodeConditionType string

// The parts of a VirtualNode.
const (
	VirtualKubeletCondition VirtualNodeConditionType = "VirtualKubelet"
	NodeCondition           VirtualNodeConditionType = "Node"
)

// VirtualNodeConditionStatus is the state of one part.
//
// +kubebuilder:validation:Enum=None;Creating;Running;Draining;Deleting
type VirtualNodeConditionStatus string

// The states of a part.
const (
	StatusNone     VirtualNodeConditionStatus = "None"
	StatusCreating VirtualNodeConditionStatus = "Creating"
	StatusRunning  VirtualNodeConditionStatus = "Running"
	StatusDraining VirtualNodeConditionStatus = "Draining"
	StatusDeleting VirtualNodeConditionStatus = "Deleting"
)

// VirtualNodeCondition is the state of one part of a VirtualNode.
type VirtualNodeCondition struct {
	Type   VirtualNodeConditionType   `json:"type"`
	Status VirtualNodeConditionStatus `json:"status"`
	// LastTransitionTime is when Status last changed.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty"`
	// Message says what is waited for, or what to do.
	// +optional
	Message string `json:"message,omitempty"`
}

// VirtualNodeStatus is what is so.
type VirtualNodeStatus struct {
	// Conditions has one entry per type.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []VirtualNodeCondition `json:"conditions,omitempty"`
}

// VirtualNode is one Node that stands for a provider. It lives in the provider's tenant namespace; the Node has its
// name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=liqo,shortName=vn;vnode;virno;vno
// +kubebuilder:printcolumn:name="ClusterID",type=string,JSONPath=`.spec.clusterID`
// +kubebuilder:printcolumn:name="Create Node",type=boolean,JSONPath=`.spec.createNode`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.conditions[?(@.type=="Node")].status`,priority=1
// +kubebuilder:printcolumn:name="VirtualKubelet",type=string,JSONPath=`.status.conditions[?(@.type=="VirtualKubelet")].status`,priority=1
type VirtualNode struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   VirtualNodeSpec   `json:"spec"`
	Status VirtualNodeStatus `json:"status,omitempty"`
}

// VirtualNodeList is a list of VirtualNodes.
//
// +kubebuilder:object:root=true
type VirtualNodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VirtualNode `json:"items"`
}

// NodeLabels returns the labels that the VirtualNode's Node has by declaration, which win over those of its spec that
// would contradict them. Labels that the agent learns from the provider (operating system, architecture) are not among
// them. A provider is a zone of its own unless the spec says which: when most nodes of one zone are lost, Kubernetes
// stops evicting from the others.
func (v *VirtualNode) NodeLabels() map[string]string {
	labels := maps.Clone(v.Spec.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	if _, set := labels[corev1.LabelTopologyZone]; !set {
		labels[corev1.LabelTopologyZone] = v.Spec.ClusterID
	}
	maps.Copy(labels, map[string]string{
		LabelNodeType:                    NodeTypeVirtual,
		LabelKubeletType:                 KubeletTypeVirtual,
		LabelRemoteClusterID:             v.Spec.ClusterID,
		corev1.LabelHostname:             v.Name,
		"kubernetes.io/role":             "agent",
		corev1.LabelNodeExcludeBalancers: "true",
	})
	return labels
}

// Taint returns the taint that keeps pods off virtual Nodes which are not meant to run there.
func Taint() corev1.Taint {
	return corev1.Taint{Key: TaintKey, Value: TaintValue, Effect: corev1.TaintEffectNoExecute}
}

// TaintLeaving returns the taint of a virtual Node that is on its way out.
func TaintLeaving() corev1.Taint {
	return corev1.Taint{Key: TaintLeavingKey, Effect: corev1.TaintEffectNoSchedule}
}

// Toleration returns the toleration of exactly [Taint].
func Toleration() corev1.Toleration {
	return corev1.Toleration{
		Key: TaintKey, Operator: corev1.TolerationOpEqual, Value: TaintValue, Effect: corev1.TaintEffectNoExecute,
	}
}
