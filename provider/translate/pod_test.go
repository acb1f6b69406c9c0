package translate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestPodCarriesOurMarks(t *testing.T) {
	home := pod(func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": "web", "secret": "x"}
		p.Annotations = map[string]string{
			"note": "n", "hidden": "y", corev1.LastAppliedConfigAnnotation: "{}", v1beta1.AnnotationHomeUID: "forged",
		}
		p.Finalizers = []string{"home.example/f"}
	})
	away := target(&v1beta1.OffloadingPatch{
		LabelsNotReflected: []string{"secret", v1beta1.LabelOrigin}, AnnotationsNotReflected: []string{"hidden"},
	}).Pod(home)
	want := pod(nil)
	want.Namespace, want.UID, want.Generation = "shop-home", "", 0
	want.Labels = map[string]string{
		"app": "web", v1beta1.LabelOrigin: "home", v1beta1.LabelDestination: "provider-1",
		v1beta1.LabelNodeName: "vn-1",
	}
	want.Annotations = map[string]string{
		"note": "n", v1beta1.AnnotationHomeUID: "uid-1", v1beta1.AnnotationHomeNamespace: "shop",
		v1beta1.AnnotationHomeServiceAccount: "",
	}
	want.Spec.AutomountServiceAccountToken = ptr.To(false)
	if diff := cmp.Diff(want, away); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if uid := HomeUID(away, "home"); uid != "uid-1" {
		t.Errorf("the remote pod is not recognised: owner %q", uid)
	}
	if uid := HomeUID(away, "another-home"); uid != "" {
		t.Errorf("another consumer's pod is taken for ours: owner %q", uid)
	}
}

func TestTolerations(t *testing.T) {
	exists, noExecute := corev1.TolerationOpExists, corev1.TaintEffectNoExecute
	own := corev1.Toleration{Key: "gpu", Operator: exists}
	for name, tc := range map[string]struct {
		home, patch, want []corev1.Toleration
	}{
		"the taint's own stays at home": {
			home: []corev1.Toleration{v1beta1.Toleration(), own}, want: []corev1.Toleration{own},
		},
		"one that tolerates everything stays": {home: []corev1.Toleration{{Operator: exists}}},
		"also with an effect":                 {home: []corev1.Toleration{{Operator: exists, Effect: noExecute}}},
		"home's default ones stay": {home: []corev1.Toleration{
			{Key: corev1.TaintNodeNotReady, Operator: exists, Effect: noExecute, TolerationSeconds: ptr.To[int64](300)},
			{Key: corev1.TaintNodeUnreachable, Operator: exists, Effect: noExecute,
				TolerationSeconds: ptr.To[int64](300)},
		}},
		"another number of seconds is the user's": {
			home: []corev1.Toleration{
				{Key: corev1.TaintNodeNotReady, Operator: exists, Effect: noExecute,
					TolerationSeconds: ptr.To[int64](5)}},
			want: []corev1.Toleration{
				{Key: corev1.TaintNodeNotReady, Operator: exists, Effect: noExecute,
					TolerationSeconds: ptr.To[int64](5)}},
		},
		"the patch adds": {patch: []corev1.Toleration{own}, want: []corev1.Toleration{own}},
		"the patch adds nothing twice": {
			home: []corev1.Toleration{own}, patch: []corev1.Toleration{own}, want: []corev1.Toleration{own},
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) { p.Spec.Tolerations = tc.home })
			got := target(&v1beta1.OffloadingPatch{Tolerations: tc.patch}).Pod(home).Spec.Tolerations
			if len(got)+len(tc.want) > 0 && !cmp.Equal(tc.want, got) {
				t.Errorf("-want,+got:\n%s", cmp.Diff(tc.want, got))
			}
		})
	}
}

func TestRuntimeClass(t *testing.T) {
	for name, tc := range map[string]struct {
		annotation, own, patch, want string
	}{
		"none":                       {},
		"own":                        {own: "kata", want: "kata"},
		"patch":                      {patch: "gvisor", want: "gvisor"},
		"own wins over patch":        {own: "kata", patch: "gvisor", want: "kata"},
		"annotation wins over own":   {annotation: "wasm", own: "kata", patch: "gvisor", want: "wasm"},
		"liqo is never sent":         {own: "liqo"},
		"liqo gives way to patch":    {own: "liqo", patch: "gvisor", want: "gvisor"},
		"not even by the annotation": {annotation: "liqo", own: "kata", want: "kata"},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) {
				p.Annotations = map[string]string{v1beta1.AnnotationRemoteRuntimeClass: tc.annotation}
				if tc.own != "" {
					p.Spec.RuntimeClassName = ptr.To(tc.own)
				}
				p.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: {}}
			})
			patch := &v1beta1.OffloadingPatch{}
			if tc.patch != "" {
				patch.RuntimeClassName = ptr.To(tc.patch)
			}
			away := target(patch).Pod(home)
			if got := ptr.Deref(away.Spec.RuntimeClassName, ""); got != tc.want {
				t.Errorf("want %q, got %q", tc.want, got)
			}
			if away.Spec.Overhead != nil {
				t.Error("the overhead of home's class is sent")
			}
		})
	}
}

func TestIdentityStaysAtHome(t *testing.T) {
	token := corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}
	root := corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}
	projected := func(name string, sources ...corev1.VolumeProjection) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: sources}}}
	}
	mount := func(name string) corev1.VolumeMount { return corev1.VolumeMount{Name: name, MountPath: "/" + name} }
	for name, tc := range map[string]struct {
		volumes     []corev1.Volume
		mounts      []corev1.VolumeMount
		wantVolumes []corev1.Volume
		wantMounts  []corev1.VolumeMount
	}{
		"what admission mounted goes, with its mounts": {
			volumes: []corev1.Volume{projected("kube-api-access-x1", token, root), projected("mine", root)},
			mounts:  []corev1.VolumeMount{mount("kube-api-access-x1"), mount("mine")},

			wantVolumes: []corev1.Volume{projected("mine", root)}, wantMounts: []corev1.VolumeMount{mount("mine")},
		},
		"a user's volume of that name without a token stays": {
			volumes: []corev1.Volume{projected("kube-api-access-x1", root)},
			mounts:  []corev1.VolumeMount{mount("kube-api-access-x1")},

			wantVolumes: []corev1.Volume{projected("kube-api-access-x1", root)},
			wantMounts:  []corev1.VolumeMount{mount("kube-api-access-x1")},
		},
		"a user's token goes, and the rest of the volume stays": {
			volumes: []corev1.Volume{projected("mine", token, root)}, mounts: []corev1.VolumeMount{mount("mine")},
			wantVolumes: []corev1.Volume{projected("mine", root)}, wantMounts: []corev1.VolumeMount{mount("mine")},
		},
		"certificates go too": {
			volumes: []corev1.Volume{projected("mine", root,
				corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{}},
				corev1.VolumeProjection{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{}})},
			wantVolumes: []corev1.Volume{projected("mine", root)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) {
				p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = "builder", "builder"
				p.Spec.AutomountServiceAccountToken = ptr.To(true)
				p.Spec.Volumes = tc.volumes
				p.Spec.Containers[0].VolumeMounts = tc.mounts
				p.Spec.InitContainers = []corev1.Container{{Name: "init", VolumeMounts: tc.mounts}}
			})
			away := target(nil).Pod(home)
			want := pod(nil).Spec
			want.AutomountServiceAccountToken = ptr.To(false)
			want.Volumes = tc.wantVolumes
			want.Containers[0].VolumeMounts = tc.wantMounts
			want.InitContainers = []corev1.Container{{Name: "init", VolumeMounts: tc.wantMounts}}
			if !equality.Semantic.DeepEqual(want, away.Spec) {
				t.Errorf("-want,+got:\n%s", cmp.Diff(want, away.Spec))
			}
		})
	}
}

func TestSchedulingIsThePatchs(t *testing.T) {
	home := pod(func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual}
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{}}
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.DoNotSchedule, MinDomains: ptr.To[int32](3),
			MatchLabelKeys: []string{"pod-template-hash"},
		}}
	})
	affinity := &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
		{Weight: 1},
	}}
	away := target(&v1beta1.OffloadingPatch{
		NodeSelector: map[string]string{"tenant": "home"}, Affinity: &v1beta1.Affinity{NodeAffinity: affinity},
	}).Pod(home)
	want := pod(nil).Spec
	want.AutomountServiceAccountToken = ptr.To(false)
	want.NodeSelector = map[string]string{"tenant": "home"}
	want.Affinity = &corev1.Affinity{NodeAffinity: affinity}
	want.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.ScheduleAnyway,
	}}
	if diff := cmp.Diff(want, away.Spec); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestHostPorts(t *testing.T) {
	for name, tc := range map[string]struct {
		hostNetwork bool
		want        int32
	}{
		"set because of hostNetwork": {hostNetwork: true, want: 0},
		"chosen by the user":         {hostNetwork: false, want: 80},
	} {
		t.Run(name, func(t *testing.T) {
			away := target(nil).Pod(pod(func(p *corev1.Pod) {
				p.Spec.HostNetwork = tc.hostNetwork
				p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}}
			}))
			if got := away.Spec.Containers[0].Ports[0].HostPort; got != tc.want || away.Spec.HostNetwork {
				t.Errorf("want host port %d, got %d, host network %v", tc.want, got, away.Spec.HostNetwork)
			}
		})
	}
}
