package workload

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Unmet returns a sentence for everything that is not as it must be at rest; while users work, that is no fault.
// Providers that nobody looked at are left out.
func (e Expected) Unmet(seen Seen) []string {
	c := comparison{seen: seen}
	c.leftovers(e)
	for _, ns := range e.Namespaces {
		c.namespace(ns)
		c.away(ns)
	}
	slices.Sort(c.unmet)
	return c.unmet
}

// comparison collects what is not as it must be.
type comparison struct {
	seen  Seen
	unmet []string
}

func (c *comparison) say(format string, args ...any) {
	c.unmet = append(c.unmet, fmt.Sprintf(format, args...))
}

// index returns the objects of a namespace by their names.
func index[T any, P interface {
	*T
	client.Object
}](items []T, namespace string) map[string]P {
	out := map[string]P{}
	for i := range items {
		if p := P(&items[i]); p.GetNamespace() == namespace {
			out[p.GetName()] = p
		}
	}
	return out
}

// leftovers looks for namespaces and twins that must be gone.
func (c *comparison) leftovers(e Expected) {
	wanted := map[string]ExpectedNamespace{}
	for _, ns := range e.Namespaces {
		wanted[ns.Name] = ns
	}
	for _, ns := range c.seen.Home.Namespaces {
		if _, ok := wanted[ns.Name]; !ok && ns.Labels[Mark] == "true" {
			c.say("namespace %s is still there", ns.Name)
		}
	}
	for _, provider := range slices.Sorted(maps.Keys(c.seen.Away)) {
		for _, twin := range c.seen.Away[provider].Namespaces {
			home := twin.Annotations[v1beta1.AnnotationTwinHomeName]
			if home == "" {
				continue
			}
			want := wanted[home]
			if want.Twin != twin.Name || !slices.Contains(want.Clusters, provider) {
				c.say("%s still has twin %s of namespace %s", provider, twin.Name, home)
			}
		}
	}
}

// namespace looks at a namespace at home.
func (c *comparison) namespace(want ExpectedNamespace) {
	ns, ok := index(c.seen.Home.Namespaces, "")[want.Name]
	if !ok || ns.DeletionTimestamp != nil {
		c.say("namespace %s is missing or leaving", want.Name)
		return
	}
	c.offloading(want)
	c.configMaps("home", want, c.seen.Home, want.Name)
	pods := podsByApp(c.seen.Home, want.Name)
	for _, app := range want.Apps {
		c.app(want.Name, app, pods[app.Name])
		delete(pods, app.Name)
	}
	for _, app := range slices.Sorted(maps.Keys(pods)) {
		c.say("%d pods of %s/%s are still there", len(pods[app]), want.Name, app)
	}
	c.strays(want)
}

func (c *comparison) offloading(want ExpectedNamespace) {
	off, ok := index(c.seen.Home.Offloadings, want.Name)[v1beta1.OffloadingName]
	phase := v1beta1.PhaseReady
	if len(want.Clusters) == 0 {
		phase = v1beta1.PhaseNoClusterSelected
	}
	switch {
	case ok != want.Offloaded:
		c.say("namespace %s is offloaded: %t, not %t", want.Name, ok, want.Offloaded)
	case ok && (off.DeletionTimestamp != nil || off.Status.ObservedGeneration != off.Generation):
		c.say("the offloading of namespace %s is not processed", want.Name)
	case ok && off.Status.OffloadingPhase != phase:
		c.say("the offloading of namespace %s is %s, not %s", want.Name, off.Status.OffloadingPhase, phase)
	}
}

// configMaps compares those of the users with what they wrote last.
func (c *comparison) configMaps(where string, want ExpectedNamespace, view View, namespace string) {
	there := index(view.ConfigMaps, namespace)
	for _, name := range slices.Sorted(maps.Keys(want.ConfigMaps)) {
		got, ok := there[name]
		if !ok || !maps.Equal(got.Data, want.ConfigMaps[name]) {
			c.say("ConfigMap %s/%s (%s) is not %v", namespace, name, where, want.ConfigMaps[name])
		}
		delete(there, name)
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		c.say("ConfigMap %s/%s (%s) is still there", namespace, name, where)
	}
}

// strays looks for what makes pods and must be gone.
func (c *comparison) strays(want ExpectedNamespace) {
	wanted := map[string]bool{}
	for _, app := range want.Apps {
		wanted[app.Kind+" "+app.Name] = true
	}
	var there []string
	for name := range index(c.seen.Home.Deployments, want.Name) {
		there = append(there, "Deployment "+name)
	}
	for name := range index(c.seen.Home.StatefulSets, want.Name) {
		there = append(there, "StatefulSet "+name)
	}
	for name := range index(c.seen.Home.Jobs, want.Name) {
		there = append(there, "Job "+name)
	}
	slices.Sort(there)
	for _, what := range there {
		if !wanted[what] {
			c.say("%s of namespace %s is still there", what, want.Name)
		}
	}
}

// podsByApp returns the pods of a namespace that have not ended, by the app that they belong to.
func podsByApp(view View, namespace string) map[string][]*corev1.Pod {
	out := map[string][]*corev1.Pod{}
	for i := range view.Pods {
		p := &view.Pods[i]
		if p.Namespace == namespace && !finished(p) {
			out[p.Labels[labelApp]] = append(out[p.Labels[labelApp]], p)
		}
	}
	return out
}

func finished(p *corev1.Pod) bool {
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	return ended && p.DeletionTimestamp == nil
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// app looks at what has pods, and at its pods.
func (c *comparison) app(namespace string, want ExpectedApp, pods []*corev1.Pod) {
	c.pods(namespace, want, pods)
	switch want.Kind {
	case string(deployment):
		c.deployment(namespace, want)
	case string(statefulSet):
		c.statefulSet(namespace, want)
	case string(job):
		c.job(namespace, want)
	}
	if want.Service && !want.Waits {
		c.endpoints("home", c.seen.Home, metav1.ObjectMeta{Namespace: namespace, Name: want.Name}, pods)
	}
}

// pods looks at those pods of an app that have not ended.
func (c *comparison) pods(namespace string, want ExpectedApp, pods []*corev1.Pod) {
	for _, p := range pods {
		switch {
		case p.DeletionTimestamp != nil:
			c.say("pod %s/%s is still leaving", namespace, p.Name)
		case !want.Waits && !isReady(p):
			c.say("pod %s/%s is %s and not ready", namespace, p.Name, p.Status.Phase)
		case !want.Waits && restarts(p) != want.Restarts:
			c.say("pod %s/%s was restarted %d times, not %d", namespace, p.Name, restarts(p), want.Restarts)
		}
	}
}

func restarts(p *corev1.Pod) int32 {
	if len(p.Status.ContainerStatuses) == 0 {
		return 0
	}
	return p.Status.ContainerStatuses[0].RestartCount
}

func (c *comparison) deployment(namespace string, want ExpectedApp) {
	d, ok := index(c.seen.Home.Deployments, namespace)[want.Name]
	switch {
	case !ok:
		c.say("Deployment %s/%s is missing", namespace, want.Name)
	case d.Status.ObservedGeneration != d.Generation || ptr.Deref(d.Spec.Replicas, 1) != want.Replicas:
		c.say("Deployment %s/%s is not at %d replicas yet", namespace, want.Name, want.Replicas)
	case imageOf(d.Spec.Template) != want.Image:
		c.say("Deployment %s/%s does not have image %s", namespace, want.Name, want.Image)
	case !want.Waits && !completed(d, want):
		c.say("Deployment %s/%s has %d pods, %d of the last image, %d available; not %d", namespace, want.Name,
			d.Status.Replicas, d.Status.UpdatedReplicas, d.Status.AvailableReplicas, want.Replicas)
	}
}

// completed says whether all pods of a Deployment are there. While it is paused, they may be of several images, and one
// more or less than were asked for.
func completed(d *appsv1.Deployment, want ExpectedApp) bool {
	s := d.Status
	if want.Paused {
		return s.AvailableReplicas >= want.Replicas-1 && s.UnavailableReplicas == 0
	}
	return s.Replicas == want.Replicas && s.UpdatedReplicas == want.Replicas && s.AvailableReplicas == want.Replicas
}

func (c *comparison) statefulSet(namespace string, want ExpectedApp) {
	s, ok := index(c.seen.Home.StatefulSets, namespace)[want.Name]
	switch {
	case !ok:
		c.say("StatefulSet %s/%s is missing", namespace, want.Name)
	case s.Status.ObservedGeneration != s.Generation || ptr.Deref(s.Spec.Replicas, 1) != want.Replicas:
		c.say("StatefulSet %s/%s is not at %d replicas yet", namespace, want.Name, want.Replicas)
	case imageOf(s.Spec.Template) != want.Image:
		c.say("StatefulSet %s/%s does not have image %s", namespace, want.Name, want.Image)
	case !want.Waits && (s.Status.ReadyReplicas != want.Replicas || s.Status.Replicas != want.Replicas ||
		s.Status.UpdateRevision != s.Status.CurrentRevision):
		c.say("StatefulSet %s/%s has %d pods, %d ready, %d of the last image; not %d", namespace, want.Name,
			s.Status.Replicas, s.Status.ReadyReplicas, s.Status.UpdatedReplicas, want.Replicas)
	}
}

func imageOf(t corev1.PodTemplateSpec) string { return t.Spec.Containers[0].Image }

// job wants an ended Job to have counted right, neither more nor less.
func (c *comparison) job(namespace string, want ExpectedApp) {
	j, ok := index(c.seen.Home.Jobs, namespace)[want.Name]
	if !ok {
		c.say("Job %s/%s is missing", namespace, want.Name)
		return
	}
	end := batchv1.JobComplete
	if want.FailedIndexes != "" {
		end = batchv1.JobFailed
	}
	ended := slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == end && c.Status == corev1.ConditionTrue
	})
	failed := ptr.Deref(j.Status.FailedIndexes, "")
	switch {
	case want.Waits && j.Status.Succeeded <= want.Succeeded:
	case !ended:
		c.say("Job %s/%s is not %s: %d succeeded, not %d", namespace, want.Name, end,
			j.Status.Succeeded, want.Succeeded)
	case j.Status.Succeeded != want.Succeeded || failed != want.FailedIndexes:
		c.say("Job %s/%s counts %d that succeeded and failed indexes %q; not %d and %q", namespace, want.Name,
			j.Status.Succeeded, failed, want.Succeeded, want.FailedIndexes)
	}
}
