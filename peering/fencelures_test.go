package peering_test

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// attempt is what a consumer tries.
type attempt struct {
	request request
	want    string // who refuses; empty when it is allowed
}

// lures are what a consumer could put into its twin to have the provider reach, or give away, what is not its own.
func lures() map[string]attempt {
	const claims, endpoints, services, pods = "'liqo-claims'", "'liqo-endpoints'", "'liqo-services'", "'liqo-pods'"
	node := func(name string) string {
		return `{"metadata":{"annotations":{"` + v1beta1.AnnotationSelectedNode + `":"` + name + `"}}}`
	}
	return map[string]attempt{
		"a service with the address of a load balancer": {create(balanced("198.51.100.1")), services},
		"a service with any load balancer":              {create(balanced("")), ""},

		"a claim":                       {create(claim("new", "", "")), ""},
		"a claim for a volume by name":  {create(claim("new", "theirs", "")), claims},
		"a claim on a node of choice":   {create(claim("new", "", "master")), claims},
		"giving its claim a volume":     {amend("ours", `{"spec":{"volumeName":"theirs"}}`), claims},
		"giving its claim a node":       {amend("ours", node("master")), claims},
		"noting something at its claim": {amend("ours", `{"metadata":{"annotations":{"a":"b"}}}`), ""},
		"noting something at its claim that the provider has placed": {
			amend("placed", `{"metadata":{"annotations":{"a":"b"}}}`), "",
		},
		"a pod with a claim made for it":           {create(remotePod("shop-a", claiming("", ""))), ""},
		"a pod with a claim made for it by name":   {create(remotePod("shop-a", claiming("theirs", ""))), pods},
		"a pod with a claim made on a node for it": {create(remotePod("shop-a", claiming("", "master"))), pods},
		"moving its claim":                         {amend("placed", node("master")), claims},

		"endpoints at home":                {create(slice("IPv4", "192.0.2.1", "192.0.2.2")), ""},
		"endpoints among the provider's":   {create(slice("IPv4", "192.0.2.1", "10.0.0.6")), endpoints},
		"the provider's API server":        {create(slice("IPv4", "198.51.100.7")), endpoints},
		"endpoints at home, by IPv6":       {create(slice("IPv6", "2001:db8::1")), ""},
		"the provider's endpoints by IPv6": {create(slice("IPv6", "fd00::1")), endpoints},
		"endpoints that are names":         {create(slice("FQDN", "shop.example.com")), ""},
	}
}

// closedEndpoints is how the provider's admin says which endpoints a consumer may not name.
func closedEndpoints() *corev1.ConfigMap {
	closed := config("kube-system", "liqo-endpoints", nil)
	closed.Data = map[string]string{"forbidden": "10.0.0.0/8,\n198.51.100.7/32, fd00::/8,\n"}
	return closed
}

func claim(name, volume, node string) *corev1.PersistentVolumeClaim {
	b := build.Claim(name).Namespace("shop-a").Label(v1beta1.LabelOrigin, "a").
		Spec(func(s *corev1.PersistentVolumeClaimSpec) { s.VolumeName = volume })
	if node != "" {
		b.Placed(node)
	}
	return b.Obj()
}

// claiming has a claim made for a pod.
func claiming(volume, node string) func(*corev1.PodSpec) {
	made := claim("", volume, node)
	return func(s *corev1.PodSpec) {
		s.Volumes = append(s.Volumes, corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{
			Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
				ObjectMeta: metav1.ObjectMeta{Annotations: made.Annotations}, Spec: made.Spec,
			}},
		}})
	}
}

// amend patches a claim.
func amend(name, patch string) request {
	return func(ctx context.Context, peer client.Client, _ kubernetes.Interface) error {
		change := client.RawPatch(types.MergePatchType, []byte(patch))
		return peer.Patch(ctx, claim(name, "", ""), change, client.DryRunAll)
	}
}

func balanced(address string) *corev1.Service {
	s := service("shop-a", "new")
	s.Spec.Type, s.Spec.LoadBalancerIP = corev1.ServiceTypeLoadBalancer, address
	return s
}

func slice(family discoveryv1.AddressType, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop-a", Name: "new", Labels: marked("a")},
		AddressType: family,
		Ports:       []discoveryv1.EndpointPort{{Port: ptr.To[int32](443)}},
	}
	for _, address := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	return s
}
