package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NamespaceMappingStrategy says how a twin is called.
//
// +kubebuilder:validation:Enum=DefaultName;EnforceSameName;SelectedName
type NamespaceMappingStrategy string

// The naming strategies.
const (
	// DefaultName calls the twin <namespace>-<home cluster id>, which cannot clash between consumers.
	DefaultName NamespaceMappingStrategy = "DefaultName"
	// EnforceSameName gives the twin the name of the home namespace.
	EnforceSameName NamespaceMappingStrategy = "EnforceSameName"
	// SelectedName gives the twin the name in spec.remoteNamespaceName.
	SelectedName NamespaceMappingStrategy = "SelectedName"
)

// PodOffloadingStrategy says where the pods of a namespace may run.
//
// +kubebuilder:validation:Enum=Local;Remote;LocalAndRemote
type PodOffloadingStrategy string

// The pod strategies. A pod with RuntimeClass liqo goes to a virtual node under each of them.
const (
	// Local keeps pods at home; services and configuration are still reflected.
	Local PodOffloadingStrategy = "Local"
	// Remote sends pods to virtual nodes only.
	Remote PodOffloadingStrategy = "Remote"
	// LocalAndRemote lets the scheduler choose among all nodes.
	LocalAndRemote PodOffloadingStrategy = "LocalAndRemote"
)

// PodEvictionStrategy says what happens to running pods that the policy of their namespace no longer permits where they
// are (own).
//
// +kubebuilder:validation:Enum=Never;OnPolicyChange
type PodEvictionStrategy string

// The eviction strategies.
const (
	// EvictNever leaves running pods alone; policy is for pods to come.
	EvictNever PodEvictionStrategy = "Never"
	// EvictOnPolicyChange evicts pods from nodes that the policy no longer permits, a few at a time, through the
	// Eviction API, and only while another permitted node could take them.
	EvictOnPolicyChange PodEvictionStrategy = "OnPolicyChange"
)

// SpreadPolicy says which of the permitted nodes the scheduler prefers (own).
//
// +kubebuilder:validation:Enum=PreferHome;Even;Weighted;None
type SpreadPolicy string

// The spread policies.
const (
	// SpreadPreferHome fills ordinary nodes before virtual ones.
	SpreadPreferHome SpreadPolicy = "PreferHome"
	// SpreadEven keeps the numbers of the namespace's pods at home and on each provider equal. All ordinary nodes
	// together are one place, all virtual nodes of one provider another.
	SpreadEven SpreadPolicy = "Even"
	// SpreadWeighted prefers nodes whose weight label has a lower value.
	SpreadWeighted SpreadPolicy = "Weighted"
	// SpreadNone leaves the choice to the scheduler's other plugins, to which virtual nodes look like huge empty ones.
	SpreadNone SpreadPolicy = "None"
)

// Spread says how the scheduler distributes the namespace's pods over home and providers. It is a preference among the
// nodes that may take a pod and have room for it, never a reason to leave it pending, and it moves no pod that runs.
// What a pod says by its own preferred node affinity goes first (own).
//
// +kubebuilder:validation:XValidation:rule="self.policy != 'Weighted' || has(self.weightLabel)",fieldPath=.weightLabel,reason=FieldValueRequired,message="must be set when policy is Weighted"
// +kubebuilder:validation:XValidation:rule="self.policy == 'Weighted' || !has(self.weightLabel)",fieldPath=.weightLabel,reason=FieldValueForbidden,message="may only be set when policy is Weighted"
type Spread struct {
	// Policy is PreferHome (ordinary nodes first, virtual nodes when they are full), Even (as many pods at home as on
	// each provider), Weighted (the lowest value of a node label first) or None.
	Policy SpreadPolicy `json:"policy"`

	// WeightLabel is the node label that policy Weighted reads, such as one for cost or latency. Its values are
	// integers of at least 0; lower is preferred, other values are ignored and reported by an event. Ordinary nodes
	// without it count as 0, virtual nodes without it come last.
	//
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="!format.qualifiedName().validate(self).hasValue()",message="must be a qualified label name, such as example.com/cost"
	// +optional
	WeightLabel string `json:"weightLabel,omitempty"`
}

// OffloadingPhase sums up the state of a namespace's twins.
type OffloadingPhase string

// The phases, in the order in which they are decided: the first that applies wins.
const (
	// PhaseTerminating: the NamespaceOffloading is being deleted.
	PhaseTerminating OffloadingPhase = "Terminating"
	// PhaseNoClusterSelected: no cluster is required.
	PhaseNoClusterSelected OffloadingPhase = "NoClusterSelected"
	// PhaseReady: every required twin is ready.
	PhaseReady OffloadingPhase = "Ready"
	// PhaseAllFailed: every required twin failed.
	PhaseAllFailed OffloadingPhase = "AllFailed"
	// PhaseSomeFailed: some required twins failed.
	PhaseSomeFailed OffloadingPhase = "SomeFailed"
	// PhaseInProgress: none failed, some are not ready yet.
	PhaseInProgress OffloadingPhase = "InProgress"
)

// Types of the conditions that a NamespaceOffloading has per cluster. ConditionReady also is the type of the standard
// condition that sums them up.
const (
	ConditionOffloadingRequired = "OffloadingRequired"
	ConditionReady              = "Ready"
)

// Types of the conditions that a NamespaceOffloading has per cluster only while something is wrong with reflection into
// the twin there; their status is True (own).
const (
	// ConditionConflict: somebody else changes copies again and again, or has taken their names.
	ConditionConflict = "Conflict"
	// ConditionNotReflected: the cluster does not take copies, or does not know their kind.
	ConditionNotReflected = "NotReflected"
)

// ConditionPodsPermitted is the type of the standard condition that says whether every running pod is where the policy
// permits it. It is there with podEvictionStrategy OnPolicyChange only (own).
const ConditionPodsPermitted = "PodsPermitted"

// Reasons of the conditions per cluster, and of the standard Ready condition (which otherwise has the phase as reason).
const (
	ReasonClusterSelected     = "ClusterSelected"
	ReasonClusterNotSelected  = "ClusterNotSelected"
	ReasonNamespaceCreated    = "NamespaceCreated"
	ReasonCreationLoopBackOff = "CreationLoopBackOff"
	ReasonTerminating         = "Terminating"
	ReasonCreating            = "Creating"
	ReasonNameTooLong         = "NameTooLong"
	ReasonPermissionDenied    = "PermissionDenied"
	ReasonClusterUnreachable  = "ClusterUnreachable"
	// ReasonDuplicateCluster: the cluster is one that has another id as well, under which it has the twin (own).
	ReasonDuplicateCluster = "DuplicateCluster"
	// ReasonMapFull: the NamespaceMap of the cluster holds as many namespaces as it can (own).
	ReasonMapFull = "NamespaceMapFull"
)

// NamespaceOffloadingSpec is what a user asks for.
//
// +kubebuilder:validation:XValidation:rule="self.namespaceMappingStrategy != 'SelectedName' || has(self.remoteNamespaceName)",fieldPath=.remoteNamespaceName,reason=FieldValueRequired,message="must be set when namespaceMappingStrategy is SelectedName"
// +kubebuilder:validation:XValidation:rule="self.namespaceMappingStrategy == 'SelectedName' || !has(self.remoteNamespaceName)",fieldPath=.remoteNamespaceName,reason=FieldValueForbidden,message="may only be set when namespaceMappingStrategy is SelectedName"
// +kubebuilder:validation:XValidation:rule="has(self.remoteNamespaceName) == has(oldSelf.remoteNamespaceName)",fieldPath=.remoteNamespaceName,reason=FieldValueForbidden,message="remoteNamespaceName is immutable: delete the NamespaceOffloading and create it anew to move the twins"
type NamespaceOffloadingSpec struct {
	// NamespaceMappingStrategy says how the twins are called: DefaultName, the default, means
	// <namespace>-<home cluster id>, EnforceSameName the name of the home namespace, SelectedName what
	// remoteNamespaceName says. Immutable.
	//
	// +kubebuilder:default=DefaultName
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",reason=FieldValueForbidden,message="namespaceMappingStrategy is immutable: delete the NamespaceOffloading and create it anew to rename the twins"
	// +optional
	NamespaceMappingStrategy NamespaceMappingStrategy `json:"namespaceMappingStrategy,omitempty"`

	// RemoteNamespaceName is the name of the twins, with strategy SelectedName. Immutable.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must be a DNS-1123 label: lower-case letters, digits and '-', starting and ending with a letter or digit"
	// +kubebuilder:validation:XValidation:rule="self != 'default' && !self.startsWith('kube-') && self != 'liqo' && !self.startsWith('liqo-tenant-')",reason=FieldValueForbidden,message="reserved namespace name"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",reason=FieldValueForbidden,message="remoteNamespaceName is immutable: delete the NamespaceOffloading and create it anew to move the twins"
	// +optional
	RemoteNamespaceName *string `json:"remoteNamespaceName,omitempty"`

	// PodOffloadingStrategy says where the namespace's pods may run: Local means on ordinary nodes only, Remote on
	// virtual nodes only, LocalAndRemote, the default, on both. RuntimeClass liqo takes a pod to virtual nodes under
	// each of them.
	//
	// +kubebuilder:default=LocalAndRemote
	// +optional
	PodOffloadingStrategy PodOffloadingStrategy `json:"podOffloadingStrategy,omitempty"`

	// ClusterSelector picks virtual nodes, and with them the clusters that get a twin, by the nodes' labels. Its terms
	// are alternatives. An empty selector, without terms, picks every virtual node.
	//
	// +kubebuilder:default={nodeSelectorTerms: {{matchExpressions: {{key: "liqo.io/type", operator: In, values: {"virtual-node"}}}}}}
	// +optional
	ClusterSelector *ClusterSelector `json:"clusterSelector,omitempty"`

	// Spread says which of the nodes that may take a pod the scheduler prefers. Without it the scheduler's own
	// configuration decides, whose default is PreferHome (own).
	//
	// +optional
	Spread *Spread `json:"spread,omitempty"`

	// PodEvictionStrategy says what happens to pods that already run where strategy or selector no longer permit them:
	// Never, the default, leaves them alone, OnPolicyChange evicts them while another permitted node could take them
	// (own).
	//
	// +kubebuilder:default=Never
	// +optional
	PodEvictionStrategy PodEvictionStrategy `json:"podEvictionStrategy,omitempty"`
}

// ClusterSelector is a [corev1.NodeSelector] that, unlike it, may be without terms.
type ClusterSelector struct {
	// NodeSelectorTerms are alternatives: a node that matches one of them is picked.
	//
	// +kubebuilder:validation:MaxItems=32
	// +optional
	// +listType=atomic
	NodeSelectorTerms []corev1.NodeSelectorTerm `json:"nodeSelectorTerms,omitempty"`
}

// ClusterCondition is one condition of the twin on one cluster.
type ClusterCondition struct {
	// Type is OffloadingRequired, Ready or, while it is so, Conflict or NotReflected.
	Type string `json:"type"`
	// Status is True, False or Unknown.
	Status corev1.ConditionStatus `json:"status"`
	// LastTransitionTime is when Status last changed.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty"`
	// Reason is a CamelCase word.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message says what to do.
	// +optional
	Message string `json:"message,omitempty"`
}

// NamespaceOffloadingStatus is what is so.
type NamespaceOffloadingStatus struct {
	// OffloadingPhase sums up the clusters.
	// +optional
	OffloadingPhase OffloadingPhase `json:"offloadingPhase,omitempty"`
	// RemoteNamespaceName is the name of the twins.
	// +optional
	RemoteNamespaceName string `json:"remoteNamespaceName,omitempty"`
	// RemoteNamespacesConditions are the conditions per cluster, by cluster id.
	// +optional
	RemoteNamespacesConditions map[string][]ClusterCondition `json:"remoteNamespacesConditions,omitempty"`
	// ObservedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// ViolatingPods is how many running pods are where the policy no longer permits them. It is there with
	// podEvictionStrategy OnPolicyChange only (own).
	// +optional
	ViolatingPods *int32 `json:"violatingPods,omitempty"`
	// Conditions has one of type Ready, so that kubectl wait works, and one of type PodsPermitted where pods are
	// evicted when the policy changes.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// NamespaceOffloading extends its namespace onto the clusters that it selects. There is one per namespace, called
// "offloading".
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=liqo,shortName=nso;nsof;nsoff;nsoffloading
// +kubebuilder:printcolumn:name="NamespaceMappingStrategy",type=string,JSONPath=`.spec.namespaceMappingStrategy`
// +kubebuilder:printcolumn:name="PodOffloadingStrategy",type=string,JSONPath=`.spec.podOffloadingStrategy`
// +kubebuilder:printcolumn:name="OffloadingPhase",type=string,JSONPath=`.status.offloadingPhase`
// +kubebuilder:printcolumn:name="RemoteNamespaceName",type=string,JSONPath=`.status.remoteNamespaceName`,priority=10
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'offloading'",fieldPath=.metadata.name,message="must be 'offloading'"
type NamespaceOffloading struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec   NamespaceOffloadingSpec   `json:"spec"`
	Status NamespaceOffloadingStatus `json:"status,omitempty"`
}

// NamespaceOffloadingList is a list of NamespaceOffloadings.
//
// +kubebuilder:object:root=true
type NamespaceOffloadingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NamespaceOffloading `json:"items"`
}
