package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MappingPhase is the state of one twin.
type MappingPhase string

// The phases of a twin.
const (
	// MappingAccepted: the twin exists, is ours, and the agent has its rights in it.
	MappingAccepted MappingPhase = "Accepted"
	// MappingCreationLoopBackOff: the twin cannot be made; it is tried again with growing delays.
	MappingCreationLoopBackOff MappingPhase = "CreationLoopBackOff"
	// MappingTerminating: the twin is being deleted.
	MappingTerminating MappingPhase = "Terminating"
)

// NamespaceMapSpec is what the controller-manager asks of the agent.
type NamespaceMapSpec struct {
	// DesiredMapping is home namespace -> twin.
	// +optional
	DesiredMapping map[string]string `json:"desiredMapping,omitempty"`
}

// TwinStatus is the state of one twin.
type TwinStatus struct {
	// RemoteNamespace is the name of the twin.
	RemoteNamespace string `json:"remoteNamespace,omitempty"`
	// Phase is Accepted, CreationLoopBackOff or Terminating.
	Phase MappingPhase `json:"phase,omitempty"`
	// Reason is the CamelCase reason of a phase other than Accepted (own).
	// +optional
	Reason string `json:"reason,omitempty"`
	// Message says, in a sentence, why and what to do (own).
	// +optional
	Message string `json:"message,omitempty"`
}

// ReflectionProblem is an object that cannot be reflected as it should be (own).
type ReflectionProblem struct {
	// Resource is the plural name of its kind; with the group for custom resources.
	Resource string `json:"resource"`
	// Name is the name of the home object; empty when it concerns all of the kind.
	// +optional
	Name string `json:"name,omitempty"`
	// Reason is Conflict when somebody else keeps changing the copy, NameTaken when an object of that name is not ours,
	// Refused when the provider's API server does not take the copy, or one of both API servers does not let the kind
	// be watched, and MissingKind when it does not know the kind.
	Reason string `json:"reason"`
	// Message says, in a sentence, why and what to do. It holds nothing of what a Secret contains.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// The reasons of a [ReflectionProblem].
const (
	ProblemConflict    = "Conflict"
	ProblemNameTaken   = "NameTaken"
	ProblemRefused     = "Refused"
	ProblemMissingKind = "MissingKind"
)

// NamespaceMapStatus is what the agent answers.
type NamespaceMapStatus struct {
	// CurrentMapping is home namespace -> its twin's state.
	// +optional
	CurrentMapping map[string]TwinStatus `json:"currentMapping,omitempty"`
	// Reflection is home namespace -> what stands in the way of reflection into its twin. A namespace without problems
	// is not in it (own).
	// +optional
	Reflection map[string]ReflectionReport `json:"reflection,omitempty"`
	// ReflectionPolicies says of which kinds the agent reflects which objects: plural name (with the group for custom
	// resources) -> DenyList, AllowList, Referenced or None (own).
	// +optional
	ReflectionPolicies map[string]string `json:"reflectionPolicies,omitempty"`
}

// ReflectionReport is what stands in the way of reflection into one twin (own).
type ReflectionReport struct {
	// Problems are the objects that cannot be reflected as they should be, sorted by resource and name. What is tried
	// again and may pass within a minute is not among them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Problems []ReflectionProblem `json:"problems,omitempty"`
	// More is how many there are besides Problems.
	// +optional
	More int32 `json:"more,omitempty"`
}

// NamespaceMap is the contract between home and the agent of one provider: which namespaces shall have twins there, and
// which have. It lives in the provider's tenant namespace and is called like the provider's cluster id.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=liqo,shortName=nm;nsmap
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type NamespaceMap struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   NamespaceMapSpec   `json:"spec,omitempty"`
	Status NamespaceMapStatus `json:"status,omitempty"`
}

// NamespaceMapList is a list of NamespaceMaps.
//
// +kubebuilder:object:root=true
type NamespaceMapList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NamespaceMap `json:"items"`
}
