package workload

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// away looks at the twins of a namespace.
func (c *comparison) away(want ExpectedNamespace) {
	pods := podsByApp(c.seen.Home, want.Name)
	for _, provider := range want.Clusters {
		view, looked := c.seen.Away[provider]
		if !looked {
			continue
		}
		twin, ok := index(view.Namespaces, "")[want.Twin]
		if !ok || twin.DeletionTimestamp != nil {
			c.say("%s has no twin %s of namespace %s", provider, want.Twin, want.Name)
			continue
		}
		c.configMaps(provider, want, view, want.Twin)
		c.remotePods(provider, want, view)
		services := index(view.Services, want.Twin)
		for _, app := range want.Apps {
			if !app.Service {
				continue
			}
			if _, ok := services[app.Name]; !ok {
				c.say("Service %s/%s is missing on %s", want.Twin, app.Name, provider)
			}
			delete(services, app.Name)
			if !app.Waits {
				c.endpoints(provider, view, metav1.ObjectMeta{Namespace: want.Twin, Name: app.Name}, pods[app.Name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(services)) {
			c.say("Service %s/%s is still there on %s", want.Twin, name, provider)
		}
	}
}

// remotePods compares home pods that run on a provider with their remote pods: a changed image has arrived, and nothing
// runs that is not at home.
func (c *comparison) remotePods(provider string, want ExpectedNamespace, view View) {
	remote := index(view.Pods, want.Twin)
	for _, p := range index(c.seen.Home.Pods, want.Name) {
		there, ok := remote[p.Name]
		if p.Spec.NodeName != provider || finished(p) {
			continue
		}
		if !ok || there.Spec.Containers[0].Image != p.Spec.Containers[0].Image {
			c.say("pod %s/%s runs on %s as %s, or not at all", want.Name, p.Name, provider, p.Spec.Containers[0].Image)
		}
	}
	for _, p := range remote {
		home, ok := index(c.seen.Home.Pods, want.Name)[p.Name]
		if !ok || home.Spec.NodeName != provider {
			c.say("pod %s/%s on %s is not at home", want.Twin, p.Name, provider)
		}
	}
}

// endpoints wants every ready pod behind a Service, once, and nothing else.
func (c *comparison) endpoints(where string, view View, service metav1.ObjectMeta, pods []*corev1.Pod) {
	want := map[string]int{}
	for _, p := range pods {
		if isReady(p) && p.DeletionTimestamp == nil {
			want[p.Status.PodIP] = 1
		}
	}
	got := map[string]int{}
	for i := range view.EndpointSlices {
		s := &view.EndpointSlices[i]
		if s.Namespace != service.Namespace || s.Labels[discoveryv1.LabelServiceName] != service.Name {
			continue
		}
		for _, e := range s.Endpoints {
			if ptr.Deref(e.Conditions.Ready, true) && len(e.Addresses) > 0 {
				got[e.Addresses[0]]++
			}
		}
	}
	if !maps.Equal(got, want) {
		c.say("Service %s/%s (%s) has endpoints %v, not %v", service.Namespace, service.Name, where, got, want)
	}
}
