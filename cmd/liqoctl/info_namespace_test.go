package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// reflectedShop is a namespace that has something of everything: what goes, what stays for every reason, and what
// fails.
func reflectedShop() []client.Object {
	off := build.Offloading("shop").Phase(v1beta1.PhaseReady).Obj()
	off.Status = offloadedOn(v1beta1.PhaseReady, map[string]v1beta1.ClusterCondition{"b": twinReady, "c": twinFailed})
	off.Status.RemoteNamespacesConditions["b"] = append(off.Status.RemoteNamespacesConditions["b"],
		v1beta1.ClusterCondition{Type: v1beta1.ConditionConflict, Status: "True", Message: "services/web: somebody"})
	m := build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj()
	m.Status.ReflectionPolicies = map[string]string{
		"services": "DenyList", "endpointslices": "DenyList", "configmaps": "AllowList", "secrets": "Referenced",
		"ingresses": "None", "persistentvolumeclaims": "DenyList",
	}
	m.Status.Reflection = map[string]v1beta1.ReflectionReport{"shop": {
		Problems: []v1beta1.ReflectionProblem{
			{Resource: "configmaps", Name: "taken", Reason: "NameTaken", Message: "an object of that name is not ours"},
			{Resource: "services", Name: "web", Reason: "Conflict", Message: "kubectl-edit keeps changing it"},
		}, More: 2,
	}}
	return []client.Object{
		build.Namespace("shop").Obj(), off, m, build.VirtualNode("b-1", "b"),
		build.Map("c").Want("shop", "shop-a").Obj(),
		build.Service("shop", "web"), annotatedService("hidden", v1beta1.AnnotationSkipReflection),
		build.EndpointSlice("shop", "web-1", "web", "worker", "10.9.0.1"),
		build.EndpointSlice("shop", "web-2", "web", "b-1", "10.9.0.2"),
		build.EndpointSlice("shop", "hidden-1", "hidden", "worker", "10.9.0.3"),
		allowed(setting("taken")), allowed(setting("wanted")), setting("one"), setting("two"), setting("three"),
		setting("four"),
		secret("used", corev1.SecretTypeOpaque), secret("token", corev1.SecretTypeServiceAccountToken),
		secret("unused", corev1.SecretTypeOpaque),
		build.Pod("web").Namespace("shop").Node("b-1").Spec(func(s *corev1.PodSpec) {
			s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "used"}, {Name: "token"}}
		}).Obj(),
		build.Pod("elsewhere").Namespace("shop").Node("worker").Spec(func(s *corev1.PodSpec) {
			s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "unused"}}
		}).Obj(),
		claim("data", "pv-b", ""), claim("far", "pv-c", ""), claim("new", "", ""), claim("chosen", "", "b-1"),
		claim("elsewhere", "", "worker"),
		refusedClaim("small", `{"b-1":"exceeded quota: storage"}`), volume("pv-b", "b"), volume("pv-c", "c"),
		// Of another namespace, and so of no interest.
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "settings"}},
	}
}

func setting(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
}

func allowed(c *corev1.ConfigMap) *corev1.ConfigMap {
	c.Annotations = map[string]string{v1beta1.AnnotationAllowReflection: "true"}
	return c
}

func secret(name string, kind corev1.SecretType) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Type: kind}
}

func claim(name, volume, node string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	c.Spec.VolumeName = volume
	if node != "" {
		c.Annotations = map[string]string{
			v1beta1.AnnotationSelectedNode:       node,
			v1beta1.AnnotationStorageProvisioner: v1beta1.StorageProvisioner,
		}
	}
	return c
}

func refusedClaim(name, why string) *corev1.PersistentVolumeClaim {
	c := claim(name, "", "")
	c.Annotations = map[string]string{v1beta1.AnnotationVolumeRefused: why}
	return c
}

func volume(name, clusterID string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{v1beta1.LabelRemoteClusterID: clusterID},
	}}
}

func annotatedService(name, key string) *corev1.Service {
	s := build.Service("shop", name)
	s.Annotations = map[string]string{key: ""}
	return s
}

func TestInfoNamespace(t *testing.T) {
	for name, args := range map[string][]string{
		"info-namespace.txt":  {"info", "namespace", "shop"},
		"info-namespace.yaml": {"info", "namespace", "shop", "-o", "yaml"},
		"info-namespace.json": {"info", "namespace", "shop", "--output", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := newStage(t, reflectedShop()...).run(args...)
			if code != exitDone || errOut != "" {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			golden(t, name, out)
		})
	}
}

// collapsed is a text without the spaces that align it.
func collapsed(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestInfoNamespaceSaysWhatItCannotSay(t *testing.T) {
	off := build.Offloading("shop").Obj()
	off.Status = offloadedOn(v1beta1.PhaseReady, map[string]v1beta1.ClusterCondition{"b": twinReady})
	silent := build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj()
	newer := silent.DeepCopy()
	newer.Status.ReflectionPolicies = map[string]string{"hovercrafts": "DenyList", "widgets.example.com": "DenyList"}
	namespace := build.Namespace("shop").Obj()
	tests := map[string]struct {
		objects []client.Object
		code    int
		want    []string
	}{
		"there is no such namespace": {nil, exitFailed, []string{`there is no namespace "shop"`}},
		"it is not offloaded": {
			[]client.Object{namespace}, exitDone,
			[]string{"Namespace shop is not offloaded: liqoctl offload namespace shop does that."},
		},
		"nobody has looked at it": {
			[]client.Object{namespace, build.Offloading("shop").Obj()}, exitDone, []string{"phase Pending."},
		},
		"the agent says nothing": {
			[]client.Object{namespace, off, silent}, exitDone,
			[]string{"the agent of cluster b has not said yet what it reflects: is it running?"},
		},
		"the agent knows more kinds than liqoctl, and than the cluster": {
			[]client.Object{namespace, off, newer}, exitDone, []string{
				"the agent reflects hovercrafts, which this liqoctl does not know",
				"widgets.example.com DenyList ? this cluster does not know the kind",
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := newStage(t, tc.objects...).run("info", "namespace", "shop")
			if code != tc.code {
				t.Errorf("exit code %d", code)
			}
			for _, want := range tc.want {
				if !strings.Contains(collapsed(out+errOut), want) {
					t.Errorf("%q is not in\n%s%s", want, out, errOut)
				}
			}
		})
	}
	code, _, errOut := newStage(t).run("info", "namespace", "shop", "-o", "xml")
	if code != exitUsage || !strings.Contains(errOut, `unknown output format "xml": use yaml or json`) {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

// What may not be read is named with its right, and never taken for something that is not there.
func TestInfoNamespaceWithFewRights(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	for right, tc := range map[string]struct {
		list client.ObjectList
		want []string
	}{
		"list namespacemaps.offloading.liqo.io": {&v1beta1.NamespaceMapList{}, []string{
			"Cluster b: twin shop-a, ready Conflict: services/web: somebody",
		}},
		"list virtualnodes.offloading.liqo.io": {&v1beta1.VirtualNodeList{}, []string{
			"Cluster b: twin shop-a, ready not as they should be:", // whose the nodes are decides what goes
		}},
		"list secrets": {&corev1.SecretList{}, []string{
			"secrets Referenced ? you may not list secrets",
		}},
		"list persistentvolumes": {&corev1.PersistentVolumeList{}, []string{
			"persistentvolumeclaims DenyList ? you may not list persistentvolumes",
		}},
		"list pods": {&corev1.PodList{}, []string{
			"secrets Referenced ? the pods at home are not known",
		}},
	} {
		t.Run(right, func(t *testing.T) {
			s := newStage(t, reflectedShop()...)
			s.client = failing(s.client, forbidden, nil, tc.list)
			code, out, errOut := s.run("info", "namespace", "shop")
			if code != exitDone || errOut != "" {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			for _, want := range append(tc.want, "you may not "+right) {
				if !strings.Contains(collapsed(out), want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
			}
		})
	}
	s := newStage(t, reflectedShop()...)
	s.client = failing(s.client, apierrors.NewInternalError(forbidden), nil, &corev1.SecretList{})
	code, _, errOut := s.run("info", "namespace", "shop")
	if code != exitFailed || !strings.Contains(errOut, "list secrets") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestInfoSaysThatNotAllIsReflected(t *testing.T) {
	_, out, _ := newStage(t, reflectedShop()...).run("info")
	want := "of namespace shop not all is reflected as it should be: Conflict on b; " +
		"liqoctl info namespace shop tells more"
	if !strings.Contains(out, want) {
		t.Errorf("%q is not in\n%s", want, out)
	}
}
