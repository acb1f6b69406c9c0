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

// NamespaceMapStatus is what the agent answers.
type NamespaceMapStatus struct {
	// CurrentMapping is home namespace -> its twin's state.
	// +optional
	CurrentMapping map[string]TwinStatus `json:"currentMapping,omitempty"`
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
