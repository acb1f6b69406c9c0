// Package v1beta1 is the wire language of namespace offloading: the kinds of API group offloading.liqo.io and every
// label, annotation, taint, finalizer and name that more than one component must agree on.
//
// It speaks the language of Liqo, so that manifests and scripts written for Liqo keep working; keys that are our own
// say so.
//
// +kubebuilder:object:generate=true
// +groupName=offloading.liqo.io
package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "offloading.liqo.io", Version: "v1beta1"}

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&NamespaceOffloading{}, &NamespaceOffloadingList{},
		&NamespaceMap{}, &NamespaceMapList{},
		&VirtualNode{}, &VirtualNodeList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
