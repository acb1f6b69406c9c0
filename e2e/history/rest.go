package history

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// settles is how long something may be under way where nothing is broken.
const settles = 5 * time.Second

// checkpoint is a moment at which both sides must agree about everything that was asked for in time.
type checkpoint struct {
	at, asked time.Time
	// after is what it comes after, for people.
	after string
}

// visit is a look at the world at a checkpoint.
type visit struct {
	checkpoint
	world  *world
	pods   *pods
	judged map[Invariant]int
	out    []finding
	err    error
}

// look judges I3, I4 and I9.
func (v *visit) look() ([]finding, error) {
	for _, c := range v.world.away {
		copies := v.copies(c)
		v.orphans(c)
		for _, t := range v.world.twins(c) {
			v.twin(t, copies)
		}
		v.missingTwins(c)
	}
	v.lonelyPods()
	v.podsAgree()
	v.nodesReady()
	return v.out, v.err
}

// late says whether something changed too late to be judged now.
func (v *visit) late(at time.Time) bool { return at.After(v.asked) }

// moving says whether something that a component keeps changing has changed just now.
func (v *visit) moving(o *object) bool { return o.changed.After(v.at.Add(-settles)) }

func (v *visit) found(i Invariant, c *cluster, resource string, o *object, says string) {
	uid := o.UID
	if of := o.Annotations[v1beta1.AnnotationHomeUID]; of != "" {
		uid = types.UID(of)
	}
	f := finding{Violation: Violation{
		Invariant: i, At: v.at, Cluster: c.name, Resource: resource, Object: o.String(), UID: uid,
		Says: says + ", " + v.after,
	}}
	// A second checkpoint may find the same again, which is worth telling.
	f.key = fmt.Sprint(i, c.name, resource, o.UID, says, v.at)
	v.out = append(v.out, f)
}

// decode keeps the first error.
func (v *visit) decode(o *object, into any) bool {
	err := o.decode(into)
	if v.err == nil {
		v.err = err
	}
	return err == nil
}

// copies returns what is on a provider for objects of home, by resource and by the UID of the home object.
func (v *visit) copies(c *cluster) map[string]map[types.UID]*object {
	out := map[string]map[types.UID]*object{}
	for resource := range c.objects {
		out[resource] = map[types.UID]*object{}
		for _, o := range c.all(resource) {
			if v.world.ours(o) {
				out[resource][types.UID(o.Annotations[v1beta1.AnnotationHomeUID])] = o
			}
		}
	}
	return out
}

// orphans is I3 for everything: what is marked ours has a living source with that UID. What is in a twin that is being
// deleted goes with it, as soon as the provider gets to it.
func (v *visit) orphans(c *cluster) {
	for resource := range c.objects {
		for _, o := range c.all(resource) {
			uid := types.UID(o.Annotations[v1beta1.AnnotationHomeUID])
			if !v.world.ours(o) {
				continue
			}
			v.judged[I3]++
			twin := c.get(resourceNamespaces, o.Namespace)
			if v.world.living[uid] != nil || v.late(v.world.died[uid]) || v.ending(o) || v.keepsData(resource, uid) ||
				twin != nil && leaving(twin) {
				continue
			}
			v.found(I3, c, resource, o, fmt.Sprintf("%s %s on %s has no source at home", resource, o, c.name))
		}
	}
}

// ending says whether something has a grace period that is not over.
func (v *visit) ending(o *object) bool {
	return o.DeletionTimestamp != nil && o.DeletionTimestamp.Add(settles).After(v.at)
}

// keepsData says whether a claim has gone whose data are kept: then its copy stays as long as its volume does.
func (v *visit) keepsData(resource string, uid types.UID) bool {
	return resource == resourceClaims &&
		slices.ContainsFunc(v.world.byID[v.world.home].all(resourceVolumes), func(o *object) bool {
			var volume corev1.PersistentVolume
			return v.decode(o, &volume) && volume.Spec.ClaimRef != nil && volume.Spec.ClaimRef.UID == uid
		})
}

// lonelyPods is I4.
func (v *visit) lonelyPods() {
	home := v.world.byID[v.world.home]
	for _, o := range home.all(resourcePods) {
		if l := v.pods.home.byUID[o.UID]; l != nil && v.pods.ours(l) {
			v.judged[I4]++
		}
	}
	for _, f := range v.pods.unanswered() {
		o := home.get(resourcePods, f.Object)
		if o == nil || o.UID != f.UID || v.late(o.asked) || o.DeletionTimestamp != nil && v.ending(o) {
			continue
		}
		v.found(I4, home, resourcePods, o, f.Says)
	}
}

// podsAgree is I9 for pods.
func (v *visit) podsAgree() {
	home := v.world.byID[v.world.home]
	for _, c := range v.world.away {
		for _, o := range c.all(resourcePods) {
			src := v.world.living[types.UID(o.Annotations[v1beta1.AnnotationHomeUID])]
			if src == nil || !v.world.ours(o) || v.late(src.asked) || v.moving(o) || o.DeletionTimestamp != nil {
				continue
			}
			v.judged[I9]++
			var here, there corev1.Pod
			if !v.decode(src, &here) || !v.decode(o, &there) {
				return
			}
			if differs := PodsDiffer(&here, &there); differs != "" {
				v.found(I9, home, resourcePods, src, fmt.Sprintf("home pod %s and its remote pod on %s disagree: %s",
					src, c.name, differs))
			}
		}
	}
}

// nodesReady is I9 for virtual nodes: nothing is broken, so they are ready.
func (v *visit) nodesReady() {
	home := v.world.byID[v.world.home]
	for _, o := range home.all(resourceNodes) {
		var node corev1.Node
		if providerOf(o) == "" || v.late(o.CreationTimestamp.Time) || !v.decode(o, &node) {
			continue
		}
		v.judged[I9]++
		if !slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			v.found(I9, home, resourceNodes, o, fmt.Sprintf("virtual node %s is not ready", o))
		}
	}
}

// twin judges I3 and I9 of one twin and what was reflected into it.
func (v *visit) twin(t twin, copies map[string]map[types.UID]*object) {
	home := v.world.byID[v.world.home]
	namespace, offloading := v.world.living[t.uid], home.get(resourceOffloadings, t.home+"/"+v1beta1.OffloadingName)
	v.judged[I3]++
	if says := v.unwanted(t, namespace, offloading); says != "" {
		v.found(I3, t.provider, resourceNamespaces, t.object, says)
		return
	}
	if namespace == nil || offloading == nil || leaving(namespace, t.object, offloading) {
		return
	}
	for _, kind := range kinds() {
		for _, src := range home.in(t.home, kind.resource) {
			v.copy(t, kind, src, copies[kind.resource][src.UID])
		}
	}
	v.endpoints(t)
}

// unwanted says why a twin should not be there any more; "" when it may be.
func (v *visit) unwanted(t twin, namespace, offloading *object) string {
	switch {
	case namespace == nil:
		if !v.late(v.world.died[t.uid]) && !v.ending(t.object) {
			return fmt.Sprintf("twin %s on %s has no namespace at home", t, t.provider.name)
		}
	case leaving(namespace, t.object):
	case offloading == nil:
		if !v.late(v.offloaded(namespace)) {
			return fmt.Sprintf("twin %s is on %s, and namespace %s is not offloaded", t, t.provider.name, t.home)
		}
	case v.deselected(offloading, t.provider):
		return fmt.Sprintf("twin %s is on %s, which is not selected for namespace %s", t, t.provider.name, t.home)
	}
	return ""
}

// leaving says whether one of the objects is being deleted.
func leaving(objects ...*object) bool {
	return slices.ContainsFunc(objects, func(o *object) bool { return o.DeletionTimestamp != nil })
}

// offloaded is when the offloading of a namespace was last heard of, or otherwise the namespace.
func (v *visit) offloaded(namespace *object) time.Time {
	if at, ok := v.world.ended[namespace.Name]; ok {
		return at
	}
	return namespace.asked
}

// kind is one whose copies are compared with their sources.
type kind struct {
	resource string
	// everywhere: each object has a copy in each twin, unless its user wants otherwise.
	everywhere bool
	differ     func(v *visit, src, dst *object) string
}

func kinds() []kind {
	return []kind{
		{resourceConfigMaps, true, comparing(ConfigMapsDiffer)},
		{resourceServices, true, comparing(ServicesDiffer)},
		{resourceSecrets, false, comparing(secretsDiffer)},
	}
}

func comparing[T any](differ func(home, away *T) string) func(*visit, *object, *object) string {
	return func(v *visit, src, dst *object) string {
		here, there := new(T), new(T)
		if !v.decode(src, here) || !v.decode(dst, there) {
			return ""
		}
		return differ(here, there)
	}
}

// copy is I9 for one object of home and its copy in one twin.
func (v *visit) copy(t twin, k kind, src, dst *object) {
	if v.late(src.asked) || v.late(t.CreationTimestamp.Time) || src.DeletionTimestamp != nil || stays(src) {
		return
	}
	v.judged[I9]++
	home := v.world.byID[v.world.home]
	switch {
	case dst != nil:
		if differs := k.differ(v, src, dst); differs != "" {
			v.found(I9, home, k.resource, src, fmt.Sprintf("%s %s and its copy on %s disagree: %s", k.resource, src,
				t.provider.name, differs))
		}
	case k.everywhere && t.provider.get(k.resource, t.Name+"/"+src.Name) == nil:
		// Else somebody else's object has the name.
		v.found(I9, home, k.resource, src, fmt.Sprintf("%s %s has no copy on %s", k.resource, src, t.provider.name))
	}
}

// stays says whether the user of an object wants it to stay at home.
func stays(o *object) bool {
	skip, ok := o.Annotations[v1beta1.AnnotationSkipReflection]
	return ok && skip != "false" || o.Namespace == "default" && o.Name == "kubernetes"
}

// endpoints is I9 for the endpoints of Services that find pods: the same in both places.
func (v *visit) endpoints(t twin) {
	home := v.world.byID[v.world.home]
	for _, o := range home.in(t.home, resourceServices) {
		var service corev1.Service
		if v.late(o.asked) || stays(o) || !v.decode(o, &service) || len(service.Spec.Selector) == 0 {
			continue
		}
		here, quietHere := v.slices(home, t.home, o.Name)
		there, quietThere := v.slices(t.provider, t.Name, o.Name)
		if !quietHere || !quietThere {
			continue
		}
		v.judged[I9]++
		if differs := endpointsDiffer(here, there); differs != "" {
			v.found(I9, t.provider, resourceServices, o, fmt.Sprintf("service %s has other endpoints on %s: %s", o,
				t.provider.name, differs))
		}
	}
}

// slices returns those of a Service, and whether they can be judged: they have not changed just now, and the cluster's
// own controller, which may take a minute for another attempt, has seen how its pods are.
func (v *visit) slices(c *cluster, namespace, service string) ([]discoveryv1.EndpointSlice, bool) {
	var out []discoveryv1.EndpointSlice
	for _, o := range c.in(namespace, resourceSlices) {
		if o.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		var slice discoveryv1.EndpointSlice
		if v.moving(o) || !v.decode(o, &slice) || !v.abreast(c, &slice) {
			return nil, false
		}
		out = append(out, slice)
	}
	return out, true
}

// abreast says whether a slice tells of the pods of its own cluster as they are.
func (v *visit) abreast(c *cluster, slice *discoveryv1.EndpointSlice) bool {
	if slice.Labels[discoveryv1.LabelManagedBy] == v1beta1.EndpointSliceManagedBy {
		return true // a reflection: its pods are elsewhere
	}
	for _, e := range slice.Endpoints {
		if e.TargetRef == nil || e.TargetRef.Kind != "Pod" {
			continue
		}
		var pod corev1.Pod
		o := c.get(resourcePods, slice.Namespace+"/"+e.TargetRef.Name)
		if o == nil || o.UID != e.TargetRef.UID || !v.decode(o, &pod) {
			return false
		}
		serves, ends := ptr.Deref(e.Conditions.Serving, true), ptr.Deref(e.Conditions.Terminating, false)
		if serves != isReady(&pod.Status) || ends != (pod.DeletionTimestamp != nil) {
			return false
		}
	}
	return true
}
