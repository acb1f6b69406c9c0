package manifests_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// TestStorageClass: the class brings what the code calls it, and keeps ordinary nodes out.
func TestStorageClass(t *testing.T) {
	for _, o := range objects(t, "base") {
		if o.GetKind() != "StorageClass" {
			continue
		}
		provisioner, _, _ := unstructured.NestedString(o.Object, "provisioner")
		mode, _, _ := unstructured.NestedString(o.Object, "volumeBindingMode")
		expands, _, _ := unstructured.NestedBool(o.Object, "allowVolumeExpansion")
		topologies, _, _ := unstructured.NestedSlice(o.Object, "allowedTopologies")
		if o.GetName() != v1beta1.StorageClass || provisioner != v1beta1.StorageProvisioner ||
			mode != "WaitForFirstConsumer" || !expands || len(topologies) != 1 {
			t.Errorf("got %v", o.Object)
		}
		return
	}
	t.Error("there is no StorageClass")
}

// storingAgent is the agent of provider b with the rights that we ship, in namespace shop alone.
func storingAgent(t *testing.T, home *env.Cluster) client.Client {
	t.Helper()
	user := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "liqo-tenant-b", Name: "virtual-kubelet"}}
	role := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	}
	nodes := metav1.ObjectMeta{Namespace: "liqo-tenant-b", Name: v1beta1.AgentNodesRole}
	for _, obj := range []client.Object{
		build.Namespace(nodes.Namespace).Obj(),
		&rbacv1.Role{ObjectMeta: nodes, Rules: []rbacv1.PolicyRule{{
			Verbs: []string{v1beta1.VerbServe}, APIGroups: []string{v1beta1.GroupVersion.Group},
			Resources: []string{"virtualnodes"}, ResourceNames: []string{"b"},
		}}},
		&rbacv1.RoleBinding{ObjectMeta: nodes, Subjects: user, RoleRef: rbacv1.RoleRef{
			APIGroup: rbacv1.GroupName, Kind: "Role", Name: nodes.Name,
		}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "storing"}, Subjects: user, RoleRef: role("liqo-virtual-kubelet"),
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "storing"}, Subjects: user,
			RoleRef: role("liqo-offloaded-namespace"),
		},
	} {
		if err := home.Client().Create(t.Context(), obj); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
	}
	config := home.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:liqo-tenant-b:virtual-kubelet"}
	return connect(t, config)
}

// ofProvider is a volume as an agent of provider b makes it.
func ofProvider(name string) *corev1.PersistentVolume {
	pv := build.Volume(name, "b")
	pv.Labels = map[string]string{v1beta1.LabelRemoteClusterID: "b"}
	pv.Spec.CSI.VolumeHandle = "b/shop-home/data"
	pv.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	pv.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	pv.Spec.StorageClassName, pv.Spec.PersistentVolumeReclaimPolicy = "liqo", corev1.PersistentVolumeReclaimDelete
	pv.Spec.ClaimRef = &corev1.ObjectReference{
		Kind: "PersistentVolumeClaim", Namespace: "shop", Name: "data", UID: "c1",
	}
	return pv
}

// volumes asks what an agent may do to volumes and claims.
func volumes(t *testing.T, home *env.Cluster) {
	c := storingAgent(t, home)
	until(t, "the agent's rights", func(ctx context.Context) bool {
		return c.Create(ctx, ofProvider("probe"), client.DryRunAll) == nil
	})
	for name, change := range map[string]func(*corev1.PersistentVolume){
		"a directory of a node": func(v *corev1.PersistentVolume) {
			v.Spec.CSI, v.Spec.HostPath = nil, &corev1.HostPathVolumeSource{Path: "/"}
		},
		"another driver":          func(v *corev1.PersistentVolume) { v.Spec.CSI.Driver = "csi.example.com" },
		"another provider's data": func(v *corev1.PersistentVolume) { v.Spec.CSI.VolumeHandle = "c/shop-home/data" },
		"no label":                func(v *corev1.PersistentVolume) { v.Labels = nil },
		"another provider's label": func(v *corev1.PersistentVolume) {
			v.Labels[v1beta1.LabelRemoteClusterID] = "c"
		},
		"for whoever comes": func(v *corev1.PersistentVolume) { v.Spec.ClaimRef = nil },
		"for any claim":     func(v *corev1.PersistentVolume) { v.Spec.ClaimRef.UID = "" },
		"for every node":    func(v *corev1.PersistentVolume) { v.Spec.NodeAffinity = nil },
		"on another's node": func(v *corev1.PersistentVolume) {
			v.Spec.NodeAffinity = build.Volume("", "c").Spec.NodeAffinity
		},
		"on one of two nodes": func(v *corev1.PersistentVolume) {
			terms := &v.Spec.NodeAffinity.Required.NodeSelectorTerms
			*terms = append(*terms, build.Volume("", "c").Spec.NodeAffinity.Required.NodeSelectorTerms...)
		},
		"on all nodes but one": func(v *corev1.PersistentVolume) {
			v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Operator = corev1.NodeSelectorOpNotIn
		},
		"in another's house": func(v *corev1.PersistentVolume) { v.Spec.ClaimRef.Namespace = "default" },
	} {
		pv := ofProvider("hostile")
		change(pv)
		err := c.Create(t.Context(), pv, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "the agent of provider b may") {
			t.Errorf("a volume, %s: %v", name, err)
		}
	}
	changesOfVolumes(t, home, c)
	changesOfClaims(t, home, c)
}

func changesOfVolumes(t *testing.T, home *env.Cluster, c client.Client) {
	own, foreign := ofProvider("own"), build.Volume("foreign", "")
	foreign.Spec.Capacity, foreign.Spec.AccessModes = own.Spec.Capacity, own.Spec.AccessModes
	for _, pv := range []*corev1.PersistentVolume{own, foreign} {
		if err := home.Client().Create(t.Context(), pv); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		pv     *corev1.PersistentVolume
		change func(*corev1.PersistentVolume)
		ok     bool
	}{
		"the size": {own, func(v *corev1.PersistentVolume) {
			v.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("2Gi")
		}, true},
		"an annotation": {own, func(v *corev1.PersistentVolume) {
			v.Annotations = map[string]string{v1beta1.AnnotationRemoteClaimUID: "x"}
		}, true},
		"whose it is": {own, func(v *corev1.PersistentVolume) {
			v.Spec.ClaimRef.Name = "other"
		}, false},
		"what becomes of it": {own, func(v *corev1.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = "Retain"
		}, false},
		"what protects it": {own, func(v *corev1.PersistentVolume) {
			v.Finalizers = nil
		}, len(own.Finalizers) == 0},
		"how it is mounted": {own, func(v *corev1.PersistentVolume) {
			v.Spec.MountOptions = []string{"suid"}
		}, false},
		"its class": {own, func(v *corev1.PersistentVolume) { v.Spec.StorageClassName = "fast" }, false},
		"who can use it": {own, func(v *corev1.PersistentVolume) {
			v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, false},
		"an owner that is not there": {own, func(v *corev1.PersistentVolume) {
			v.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "u"}}
		}, false},
		"the label":                   {own, func(v *corev1.PersistentVolume) { v.Labels = nil }, false},
		"a volume of somebody else's": {foreign, func(v *corev1.PersistentVolume) { v.Labels = own.Labels }, false},
	} {
		changed := test.pv.DeepCopy()
		test.change(changed)
		err := c.Patch(t.Context(), changed, client.MergeFrom(test.pv), client.DryRunAll)
		if test.ok != (err == nil) {
			t.Errorf("change %s: %v", name, err)
		}
	}
	if err := c.Delete(t.Context(), own, client.DryRunAll); err == nil {
		t.Error("a volume that is in use may be deleted")
	}
	if err := c.Delete(t.Context(), foreign, client.DryRunAll); err == nil {
		t.Error("a volume of somebody else's may be deleted")
	}
	own.Status.Phase = corev1.VolumeReleased
	if err := home.Client().Status().Update(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), own, client.DryRunAll); err != nil {
		t.Errorf("delete a volume that is released: %v", err)
	}
}

func changesOfClaims(t *testing.T, home *env.Cluster, c client.Client) {
	claim := build.Claim("data").Label("a", "b").Annotation("x", "y").Placed("b").Obj()
	if err := home.Client().Create(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*corev1.PersistentVolumeClaim)
		ok     bool
	}{
		"who refuses it": {func(p *corev1.PersistentVolumeClaim) {
			p.Annotations[v1beta1.AnnotationVolumeRefused] = "{}"
		}, true},
		"the choice of a node, taken back": {func(p *corev1.PersistentVolumeClaim) {
			delete(p.Annotations, v1beta1.AnnotationSelectedNode)
		}, true},
		"the choice of a node": {func(p *corev1.PersistentVolumeClaim) {
			p.Annotations[v1beta1.AnnotationSelectedNode] = "worker-1"
		}, false},
		"the provisioner": {func(p *corev1.PersistentVolumeClaim) {
			p.Annotations[v1beta1.AnnotationStorageProvisioner] = "x"
		}, false},
		"a user's annotation":        {func(p *corev1.PersistentVolumeClaim) { p.Annotations["x"] = "z" }, false},
		"a user's annotation, taken": {func(p *corev1.PersistentVolumeClaim) { delete(p.Annotations, "x") }, false},
		"a label":                    {func(p *corev1.PersistentVolumeClaim) { p.Labels["a"] = "c" }, false},
		"the volume":                 {func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeName = "own" }, false},
		"what protects it":           {func(p *corev1.PersistentVolumeClaim) { p.Finalizers = []string{"a/b"} }, false},
		"its owner": {func(p *corev1.PersistentVolumeClaim) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u"}}
		}, false},
	} {
		changed := claim.DeepCopy()
		test.change(changed)
		err := c.Patch(t.Context(), changed, client.MergeFrom(claim), client.DryRunAll)
		if test.ok != (err == nil) {
			t.Errorf("change of a claim %s: %v", name, err)
		}
	}
	changed := claim.DeepCopy()
	changed.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: "VolumeLost", Status: "True"}}
	if err := c.Status().Patch(t.Context(), changed, client.MergeFrom(claim), client.DryRunAll); err != nil {
		t.Errorf("the status of a claim: %v", err)
	}
	changed.Labels = nil
	if err := c.Status().Patch(t.Context(), changed, client.MergeFrom(claim), client.DryRunAll); err == nil {
		t.Error("with the status, the labels of a claim may be changed")
	}
	sizesOfClaims(t, home, c)
}

// sizesOfClaims: of claims that are not on the agent's nodes it writes nothing by which others go.
func sizesOfClaims(t *testing.T, home *env.Cluster, c client.Client) {
	large := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Ti")}
	grow := func(p *corev1.PersistentVolumeClaim) { p.Status.Capacity = large }
	lose := func(p *corev1.PersistentVolumeClaim) { p.Status.Phase = corev1.ClaimLost }
	release := func(p *corev1.PersistentVolumeClaim) { delete(p.Annotations, v1beta1.AnnotationSelectedNode) }
	for name, test := range map[string]struct {
		claim    *build.ClaimBuilder
		change   func(*corev1.PersistentVolumeClaim)
		statusOf bool
		ok       bool
	}{
		"the size of a claim on its node":   {build.Claim("c1").Placed("b"), grow, true, true},
		"the size of a claim elsewhere":     {build.Claim("c2").Placed("worker"), grow, true, false},
		"the size of a claim bound by hand": {build.Claim("c3"), grow, true, true},
		"the size of a claim of another storage": {
			build.Claim("c4").Annotation(v1beta1.AnnotationStorageProvisioner, "csi.example.com"), grow, true, false,
		},
		"that a claim on its node is lost":       {build.Claim("c5").Placed("b"), lose, true, false},
		"that a claim elsewhere is lost":         {build.Claim("c6").Placed("worker"), lose, true, false},
		"taking back the choice of its node":     {build.Claim("c7").Placed("b"), release, false, true},
		"taking back the choice of another node": {build.Claim("c8").Placed("worker"), release, false, false},
	} {
		claim := test.claim.Obj()
		if err := home.Client().Create(t.Context(), claim); err != nil {
			t.Fatal(err)
		}
		changed := claim.DeepCopy()
		test.change(changed)
		err := c.Patch(t.Context(), changed.DeepCopy(), client.MergeFrom(claim), client.DryRunAll)
		if test.statusOf {
			err = c.Status().Patch(t.Context(), changed, client.MergeFrom(claim), client.DryRunAll)
		}
		if test.ok != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
