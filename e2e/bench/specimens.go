package main

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// specimen is a kind of object as the benchmark makes and changes it.
type specimen struct {
	resource string
	kind     schema.GroupVersionKind
	// make returns the named object.
	make func(meta metav1.ObjectMeta) client.Object
	// change returns the n-th change, a JSON merge patch; no two in a row are alike.
	change func(n int) string
}

const (
	// specimenPrefix begins the names of all objects that are made of specimens.
	specimenPrefix = "load-"
	// leader is the Service that the EndpointSlices belong to.
	leader = "leader"
	// payload is the size of what ConfigMaps and Secrets hold.
	payload = 1 << 10
	// homeNode is where the endpoints are said to be.
	homeNode = env.Consumer + "-node-1"
)

// specimens are the kinds that are reflected by default.
func specimens() []specimen {
	return []specimen{
		services(), endpointSlices(), configMaps(), secrets(), ingresses(), claims(),
	}
}

func services() specimen {
	return specimen{
		"services", corev1.SchemeGroupVersion.WithKind("Service"),
		func(meta metav1.ObjectMeta) client.Object {
			s := build.Service(meta.Namespace, meta.Name)
			s.Spec.Selector = map[string]string{"app": "nobody"}
			return s
		},
		func(n int) string {
			return fmt.Sprintf(`{"spec":{"ports":[{"name":"http","port":80,"targetPort":%d}]}}`, 1+n%60000)
		},
	}
}

func endpointSlices() specimen {
	return specimen{
		"endpointslices", discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"),
		func(meta metav1.ObjectMeta) client.Object {
			return build.EndpointSlice(meta.Namespace, meta.Name, leader, homeNode, addressOf(0))
		},
		func(n int) string {
			return fmt.Sprintf(`{"endpoints":[{"addresses":[%q],"nodeName":%q,"conditions":{"ready":true}}]}`,
				addressOf(n), homeNode)
		},
	}
}

// addressOf is an address of no pod.
func addressOf(n int) string { return fmt.Sprintf("10.250.%d.%d", n/250%250, 1+n%250) }

func configMaps() specimen {
	return specimen{
		"configmaps", corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		func(meta metav1.ObjectMeta) client.Object {
			return &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"text": strings.Repeat("x", payload)}}
		},
		func(n int) string { return fmt.Sprintf(`{"data":{"n":"%d"}}`, n) },
	}
}

func secrets() specimen {
	return specimen{
		"secrets", corev1.SchemeGroupVersion.WithKind("Secret"),
		func(meta metav1.ObjectMeta) client.Object {
			text := []byte(strings.Repeat("x", payload))
			return &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"text": text}}
		},
		func(n int) string { return fmt.Sprintf(`{"stringData":{"n":"%d"}}`, n) },
	}
}

func ingresses() specimen {
	const rules = `{"spec":{"rules":[{"host":"h%d.example.com","http":{"paths":[{"path":"/","pathType":"Prefix",` +
		`"backend":{"service":{"name":"leader","port":{"name":"http"}}}}]}}]}}`
	return specimen{
		"ingresses", networkingv1.SchemeGroupVersion.WithKind("Ingress"),
		func(meta metav1.ObjectMeta) client.Object {
			return &networkingv1.Ingress{ObjectMeta: meta, Spec: networkingv1.IngressSpec{
				DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
					Name: leader, Port: networkingv1.ServiceBackendPort{Name: "http"},
				}},
			}}
		},
		func(n int) string { return fmt.Sprintf(rules, n) },
	}
}

func claims() specimen {
	return specimen{
		"persistentvolumeclaims", corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"),
		func(meta metav1.ObjectMeta) client.Object {
			return &corev1.PersistentVolumeClaim{ObjectMeta: meta, Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: ptr.To(v1beta1.StorageClass),
				AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")},
				},
			}}
		},
		func(n int) string { return fmt.Sprintf(`{"metadata":{"labels":{"n":"%d"}}}`, n) },
	}
}

// specimenName is the name of the i-th object of a kind.
func specimenName(i int) string { return fmt.Sprintf("%s%04d", specimenPrefix, i) }

// holder is a pod that refers to so many Secrets and claims, without which these would not be reflected.
func holder(namespace string, secrets, claims int) *corev1.Pod {
	return build.Pod("holder").Namespace(namespace).Spec(func(s *corev1.PodSpec) {
		s.TerminationGracePeriodSeconds = ptr.To[int64](0)
		for i := range secrets {
			s.Containers[0].EnvFrom = append(s.Containers[0].EnvFrom, corev1.EnvFromSource{
				SecretRef: &corev1.SecretEnvSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: specimenName(i)},
				},
			})
		}
		for i := range claims {
			name := specimenName(i)
			s.Volumes = append(s.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
			}})
			s.Containers[0].VolumeMounts = append(s.Containers[0].VolumeMounts,
				corev1.VolumeMount{Name: name, MountPath: "/" + name})
		}
	}).Obj()
}
