// Package build makes Kubernetes objects for tests in one readable line each: every field that a test shows matters to
// it, and everything else has a default that a real API server accepts.
package build

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Image is what containers run unless a test says otherwise.
const Image = "registry.example/app:1"

// NamespaceBuilder builds a Namespace.
type NamespaceBuilder struct{ obj corev1.Namespace }

// Namespace starts a Namespace.
func Namespace(name string) *NamespaceBuilder {
	return &NamespaceBuilder{corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}}
}

// UID sets the UID; a real API server ignores it.
func (b *NamespaceBuilder) UID(uid string) *NamespaceBuilder {
	b.obj.UID = types.UID(uid)
	return b
}

// Label sets a label.
func (b *NamespaceBuilder) Label(key, value string) *NamespaceBuilder {
	metav1.SetMetaDataLabel(&b.obj.ObjectMeta, key, value)
	return b
}

// Annotation sets an annotation.
func (b *NamespaceBuilder) Annotation(key, value string) *NamespaceBuilder {
	metav1.SetMetaDataAnnotation(&b.obj.ObjectMeta, key, value)
	return b
}

// Obj returns the Namespace.
func (b *NamespaceBuilder) Obj() *corev1.Namespace { return b.obj.DeepCopy() }

// PodBuilder builds a Pod.
type PodBuilder struct{ obj corev1.Pod }

// Pod starts a Pod with one container, "app".
func Pod(name string) *PodBuilder {
	return &PodBuilder{corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: Image}}},
	}}
}

// Namespace sets the namespace.
func (b *PodBuilder) Namespace(ns string) *PodBuilder {
	b.obj.Namespace = ns
	return b
}

// UID sets the UID; a real API server ignores it.
func (b *PodBuilder) UID(uid string) *PodBuilder {
	b.obj.UID = types.UID(uid)
	return b
}

// Label sets a label.
func (b *PodBuilder) Label(key, value string) *PodBuilder {
	metav1.SetMetaDataLabel(&b.obj.ObjectMeta, key, value)
	return b
}

// Annotation sets an annotation.
func (b *PodBuilder) Annotation(key, value string) *PodBuilder {
	metav1.SetMetaDataAnnotation(&b.obj.ObjectMeta, key, value)
	return b
}

// RuntimeClass sets the RuntimeClass.
func (b *PodBuilder) RuntimeClass(name string) *PodBuilder {
	b.obj.Spec.RuntimeClassName = ptr.To(name)
	return b
}

// Node binds the Pod to a node.
func (b *PodBuilder) Node(name string) *PodBuilder {
	b.obj.Spec.NodeName = name
	return b
}

// Tolerate adds a toleration.
func (b *PodBuilder) Tolerate(t corev1.Toleration) *PodBuilder {
	b.obj.Spec.Tolerations = append(b.obj.Spec.Tolerations, t)
	return b
}

// NodeSelector adds a label that the Pod's node must have.
func (b *PodBuilder) NodeSelector(key, value string) *PodBuilder {
	if b.obj.Spec.NodeSelector == nil {
		b.obj.Spec.NodeSelector = map[string]string{}
	}
	b.obj.Spec.NodeSelector[key] = value
	return b
}

// Request sets a resource request of the container.
func (b *PodBuilder) Request(name corev1.ResourceName, quantity string) *PodBuilder {
	c := &b.obj.Spec.Containers[0]
	if c.Resources.Requests == nil {
		c.Resources.Requests = corev1.ResourceList{}
	}
	c.Resources.Requests[name] = resource.MustParse(quantity)
	return b
}

// Controller sets the object that made the Pod and would make another.
func (b *PodBuilder) Controller(kind, name, uid string) *PodBuilder {
	b.obj.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: appsv1.SchemeGroupVersion.String(), Kind: kind, Name: name, UID: types.UID(uid),
		Controller: ptr.To(true),
	}}
	return b
}

// Phase sets the phase; a real API server ignores it on create.
func (b *PodBuilder) Phase(phase corev1.PodPhase) *PodBuilder {
	b.obj.Status.Phase = phase
	return b
}

// Spec changes the rest of the spec.
func (b *PodBuilder) Spec(change func(*corev1.PodSpec)) *PodBuilder {
	change(&b.obj.Spec)
	return b
}

// Obj returns the Pod.
func (b *PodBuilder) Obj() *corev1.Pod { return b.obj.DeepCopy() }

// DeploymentBuilder builds a Deployment.
type DeploymentBuilder struct{ obj appsv1.Deployment }

// Deployment starts a Deployment of one replica whose pods are labelled app=<name>.
func Deployment(name string) *DeploymentBuilder {
	labels := map[string]string{"app": name}
	return &DeploymentBuilder{appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       Pod(name).obj.Spec,
			},
		},
	}}
}

// Namespace sets the namespace.
func (b *DeploymentBuilder) Namespace(ns string) *DeploymentBuilder {
	b.obj.Namespace = ns
	return b
}

// Replicas sets how many pods there shall be.
func (b *DeploymentBuilder) Replicas(n int32) *DeploymentBuilder {
	b.obj.Spec.Replicas = ptr.To(n)
	return b
}

// PodSpec changes the spec of the pods.
func (b *DeploymentBuilder) PodSpec(change func(*corev1.PodSpec)) *DeploymentBuilder {
	change(&b.obj.Spec.Template.Spec)
	return b
}

// Obj returns the Deployment.
func (b *DeploymentBuilder) Obj() *appsv1.Deployment { return b.obj.DeepCopy() }

// Service returns a ClusterIP Service of port 80 in front of the pods labelled app=<name>.
func Service(namespace, name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// EndpointSlice returns an IPv4 slice of a Service, with ready endpoints of the given addresses on the given node.
func EndpointSlice(namespace, name, service, node string, addresses ...string) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace,
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080)}},
	}
	for _, address := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address}, NodeName: ptr.To(node),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
		})
	}
	return slice
}

// OffloadingBuilder builds a NamespaceOffloading.
type OffloadingBuilder struct{ obj v1beta1.NamespaceOffloading }

// Offloading starts a NamespaceOffloading with the defaults that the API server would set.
func Offloading(namespace string) *OffloadingBuilder {
	return &OffloadingBuilder{v1beta1.NamespaceOffloading{
		ObjectMeta: metav1.ObjectMeta{Name: v1beta1.OffloadingName, Namespace: namespace},
		Spec: v1beta1.NamespaceOffloadingSpec{
			NamespaceMappingStrategy: v1beta1.DefaultName,
			PodOffloadingStrategy:    v1beta1.LocalAndRemote,
			ClusterSelector:          Selector(v1beta1.LabelNodeType, v1beta1.NodeTypeVirtual),
		},
	}}
}

// Strategy sets the pod strategy.
func (b *OffloadingBuilder) Strategy(s v1beta1.PodOffloadingStrategy) *OffloadingBuilder {
	b.obj.Spec.PodOffloadingStrategy = s
	return b
}

// Mapping sets the naming strategy.
func (b *OffloadingBuilder) Mapping(s v1beta1.NamespaceMappingStrategy) *OffloadingBuilder {
	b.obj.Spec.NamespaceMappingStrategy = s
	return b
}

// RemoteName sets the twins' name, and the strategy that reads it.
func (b *OffloadingBuilder) RemoteName(name string) *OffloadingBuilder {
	b.obj.Spec.RemoteNamespaceName = ptr.To(name)
	return b.Mapping(v1beta1.SelectedName)
}

// Selector sets the cluster selector.
func (b *OffloadingBuilder) Selector(s *v1beta1.ClusterSelector) *OffloadingBuilder {
	b.obj.Spec.ClusterSelector = s
	return b
}

// Spread sets how pods are spread; the label is for policy Weighted.
func (b *OffloadingBuilder) Spread(policy v1beta1.SpreadPolicy, label string) *OffloadingBuilder {
	b.obj.Spec.Spread = &v1beta1.Spread{Policy: policy, WeightLabel: label}
	return b
}

// Phase sets the phase in the status.
func (b *OffloadingBuilder) Phase(p v1beta1.OffloadingPhase) *OffloadingBuilder {
	b.obj.Status.OffloadingPhase = p
	return b
}

// Obj returns the NamespaceOffloading.
func (b *OffloadingBuilder) Obj() *v1beta1.NamespaceOffloading { return b.obj.DeepCopy() }

// Selector returns a selector of the virtual nodes that have label key with one of the values.
func Selector(key string, values ...string) *v1beta1.ClusterSelector {
	requirement := corev1.NodeSelectorRequirement{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values}
	return &v1beta1.ClusterSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{requirement},
	}}}
}

// VirtualNode returns a VirtualNode of a provider in its tenant namespace, labelled with the given pairs of key and
// value.
func VirtualNode(name, clusterID string, labels ...string) *v1beta1.VirtualNode {
	v := &v1beta1.VirtualNode{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: v1beta1.TenantNamespace(clusterID)},
		Spec: v1beta1.VirtualNodeSpec{
			ClusterID: clusterID, CreateNode: ptr.To(true), Labels: map[string]string{},
			KubeconfigSecretRef: &corev1.LocalObjectReference{Name: "kubeconfig-" + clusterID},
		},
	}
	for i := 0; i+1 < len(labels); i += 2 {
		v.Spec.Labels[labels[i]] = labels[i+1]
	}
	return v
}

// Node returns a ready ordinary Node with room for 100 pods.
func Node(name string) *corev1.Node {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("64Gi"),
		corev1.ResourcePods: resource.MustParse("100"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

// VirtualNodesNode returns the ready Node of a VirtualNode.
func VirtualNodesNode(v *v1beta1.VirtualNode) *corev1.Node {
	n := Node(v.Name)
	n.Labels = v.NodeLabels()
	n.Spec.Taints = append([]corev1.Taint{v1beta1.Taint()}, v.Spec.Taints...)
	return n
}

// MapBuilder builds a NamespaceMap.
type MapBuilder struct{ obj v1beta1.NamespaceMap }

// Map starts the NamespaceMap of a provider.
func Map(clusterID string) *MapBuilder {
	return &MapBuilder{v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{
		Name: clusterID, Namespace: v1beta1.TenantNamespace(clusterID),
		Labels: map[string]string{v1beta1.LabelRemoteClusterID: clusterID},
	}}}
}

// Want adds a desired mapping.
func (b *MapBuilder) Want(home, away string) *MapBuilder {
	if b.obj.Spec.DesiredMapping == nil {
		b.obj.Spec.DesiredMapping = map[string]string{}
	}
	b.obj.Spec.DesiredMapping[home] = away
	return b
}

// Has adds a current mapping.
func (b *MapBuilder) Has(home, away string, phase v1beta1.MappingPhase) *MapBuilder {
	if b.obj.Status.CurrentMapping == nil {
		b.obj.Status.CurrentMapping = map[string]v1beta1.TwinStatus{}
	}
	b.obj.Status.CurrentMapping[home] = v1beta1.TwinStatus{RemoteNamespace: away, Phase: phase}
	return b
}

// Obj returns the NamespaceMap.
func (b *MapBuilder) Obj() *v1beta1.NamespaceMap { return b.obj.DeepCopy() }
