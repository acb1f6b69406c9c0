package workload

import (
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// Mark is the label, with value true, of all objects that a workload makes, their pods included.
const Mark = "workload.twinspace/made"

const (
	labelApp = "app"
	// Names of what every namespace has, and all its pods refer to.
	settingsName = "settings"
	passwordName = "password"
	// labelProvider is how the playground labels virtual nodes.
	labelProvider = "liqo.io/provider"
)

// Annotations that tell fake kubelets how pods end: e2e/env/stages.yaml.
const (
	annotationEnds     = "playground.twinspace/end"
	annotationTakes    = "playground.twinspace/takes"
	annotationRuns     = "playground.twinspace/runs"
	annotationFails    = "playground.twinspace/fails"
	annotationRestarts = "playground.twinspace/restarts"
)

// canary is in every Secret of a workload and nowhere else. Any 13 of its characters tell it, since dumps of binary
// messages break long strings up; its bare form is [Canary].
func (w *world) canary() string {
	unit, all := Canary(w.seed), ""
	for range 6 {
		all += unit
	}
	return all
}

// Canary returns what to look for where no Secret's content may be: it is in all that a workload of the seed makes, in
// plain text.
func Canary(seed uint64) string { return fmt.Sprintf("cAn%04x", seed&0xffff^seed>>16&0xffff^0xb12d) }

func (ns *namespace) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: ns.name, Name: name, Labels: map[string]string{Mark: "true"}}
}

func (ns *namespace) object() client.Object {
	return build.Namespace(ns.name).Label(Mark, "true").Obj()
}

func (ns *namespace) settingsMap() client.Object {
	return &corev1.ConfigMap{
		ObjectMeta: ns.meta(settingsName), Data: map[string]string{"version": strconv.Itoa(ns.settings)},
	}
}

func (ns *namespace) noteMap(n *note) client.Object {
	return &corev1.ConfigMap{ObjectMeta: ns.meta(n.name), Data: map[string]string{"version": strconv.Itoa(n.version)}}
}

func (ns *namespace) passwordSecret(canary string) client.Object {
	return &corev1.Secret{
		ObjectMeta: ns.meta(passwordName), Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"password": fmt.Appendf(nil, "%s %d", canary, ns.password)},
	}
}

// offloading returns the namespace's NamespaceOffloading. Of one that is not offloaded it has only the name.
func (ns *namespace) offloading() client.Object {
	off := &v1beta1.NamespaceOffloading{ObjectMeta: ns.meta(v1beta1.OffloadingName)}
	if ns.offload == nil {
		return off
	}
	off.Spec.NamespaceMappingStrategy = ns.offload.mapping
	off.Spec.PodOffloadingStrategy = ns.offload.strategy
	off.Spec.ClusterSelector = build.Selector(v1beta1.LabelNodeType, v1beta1.NodeTypeVirtual)
	if ns.offload.selects != nil {
		off.Spec.ClusterSelector = build.Selector(labelProvider, ns.offload.selects...)
	}
	if ns.offload.mapping == v1beta1.SelectedName {
		off.Spec.RemoteNamespaceName = ptr.To(ns.name + "-away")
	}
	return off
}

// objects returns what makes the app.
func (ns *namespace) objects(a *app) []client.Object {
	out := []client.Object{ns.controller(a)}
	if a.service > 0 {
		out = append(out, ns.serviceOf(a))
	}
	return out
}

// controller returns what makes the app's pods, or the pod itself.
func (ns *namespace) controller(a *app) client.Object {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{labelApp: a.name}}
	switch a.kind {
	case deployment:
		return &appsv1.Deployment{ObjectMeta: ns.meta(a.name), Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(a.pods), Paused: a.paused, Selector: selector, Template: ns.template(a),
			RevisionHistoryLimit: ptr.To[int32](2),
		}}
	case statefulSet:
		set := &appsv1.StatefulSet{ObjectMeta: ns.meta(a.name), Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To(a.pods), ServiceName: a.name, Selector: selector, Template: ns.template(a),
			PodManagementPolicy: appsv1.OrderedReadyPodManagement, RevisionHistoryLimit: ptr.To[int32](2),
		}}
		if a.parallel {
			set.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
		}
		return set
	case job:
		return ns.job(a)
	default:
		return ns.podOf(a)
	}
}

// job returns a Job to which disruptions do not count, so that it ends exactly as it was asked to, whatever happens to
// its pods.
func (ns *namespace) job(a *app) client.Object {
	j := &batchv1.Job{ObjectMeta: ns.meta(a.name), Spec: batchv1.JobSpec{
		Completions: ptr.To(a.completions), Parallelism: ptr.To(a.pods), Template: ns.template(a),
		CompletionMode: ptr.To(batchv1.NonIndexedCompletion),
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{
				Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			}},
		}}},
	}}
	if a.indexed {
		j.Spec.CompletionMode = ptr.To(batchv1.IndexedCompletion)
	}
	if a.fails != nil {
		j.Spec.BackoffLimitPerIndex = ptr.To[int32](0)
	}
	return j
}

func (ns *namespace) podOf(a *app) client.Object {
	template := ns.template(a)
	p := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	p.Namespace, p.Name = ns.name, a.name
	return p
}

// template returns the app's pods: all of them refer to the settings and the password of the namespace.
func (ns *namespace) template(a *app) corev1.PodTemplateSpec {
	p := build.Pod(a.name).Label(labelApp, a.name).Label(Mark, "true").Spec(func(s *corev1.PodSpec) {
		s.Containers[0].Image = fmt.Sprintf("registry.example/app:%d", a.version)
		s.Containers[0].Env = []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: passwordName}, Key: "password",
			},
		}}}
		s.Volumes = []corev1.Volume{{Name: settingsName, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: settingsName},
			},
		}}}
		s.TerminationGracePeriodSeconds = ptr.To[int64](10)
		if a.kind == job || a.kind == pod {
			s.RestartPolicy = corev1.RestartPolicyNever
		}
		if a.restarts > 0 {
			s.RestartPolicy = corev1.RestartPolicyAlways
		}
	})
	if a.away {
		p.RuntimeClass(v1beta1.RuntimeClass)
	}
	for key, value := range a.annotations() {
		p.Annotation(key, value)
	}
	out := p.Obj()
	out.Name, out.Namespace = "", ""
	return corev1.PodTemplateSpec{ObjectMeta: out.ObjectMeta, Spec: out.Spec}
}

func (a *app) annotations() map[string]string {
	out := map[string]string{}
	set := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	set(annotationTakes, a.takes)
	set(annotationRuns, a.runs)
	set(annotationEnds, a.ends)
	if a.kind == job {
		out[annotationEnds] = string(corev1.PodSucceeded)
	}
	if a.fails != nil {
		out[annotationFails] = fmt.Sprint(*a.fails)
	}
	if a.restarts > 0 {
		out[annotationRestarts] = fmt.Sprint(a.restarts)
	}
	return out
}

// serviceOf returns the Service in front of the app's pods; a StatefulSet's gives each of them a name.
func (ns *namespace) serviceOf(a *app) client.Object {
	s := build.Service(ns.name, a.name)
	s.ObjectMeta = ns.meta(a.name)
	s.Spec.Ports[0].Protocol = corev1.ProtocolTCP
	s.Spec.Ports[0].TargetPort = intstr.FromInt(8080 + a.service%3)
	s.Annotations = map[string]string{"workload.twinspace/version": strconv.Itoa(a.service)}
	if a.kind == statefulSet {
		s.Spec.ClusterIP = corev1.ClusterIPNone
	}
	return s
}
