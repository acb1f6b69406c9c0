package translate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func asks(support string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations = map[string]string{v1beta1.AnnotationAPIServerSupport: support}
	}
}

var reachable = Access{Host: "home.example", Port: "6443"}

func TestWhichAPIServer(t *testing.T) {
	for name, tc := range map[string]struct {
		agent, pod, want string
		unreachable      bool
		wantRefusal      string
	}{
		"nobody says anything":           {want: "disabled"},
		"the pod asks for home's":        {pod: "home", want: "home"},
		"the agent gives home's":         {agent: "home", want: "home"},
		"the pod wants none":             {agent: "home", pod: "disabled", want: "disabled"},
		"the pod asks for the other one": {agent: "home", pod: "remote", want: "remote"},
		"home cannot be reached": {
			pod: "home", unreachable: true, want: "home", wantRefusal: "run it with --home-api-server",
		},
		"the other one needs no address": {pod: "remote", unreachable: true, want: "remote"},
		"a word that nobody knows": {
			pod: "both", want: "both",
			wantRefusal: `annotation liqo.io/api-server-support: must be disabled, home or remote, not "both"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := reachable
			if tc.unreachable {
				a = Access{}
			}
			a.Default = tc.agent
			home := pod(asks(tc.pod))
			if got := a.Support(home); got != tc.want {
				t.Errorf("want %s, got %s", tc.want, got)
			}
			to := target(nil)
			to.Access = a
			got := to.Refusal(home)
			if (got == "") != (tc.wantRefusal == "") || !strings.Contains(got, tc.wantRefusal) {
				t.Errorf("want refusal %q, got %q", tc.wantRefusal, got)
			}
		})
	}
}

// injected is the volume that home's admission adds, as an API server stores it.
func injected() corev1.Volume {
	return corev1.Volume{Name: "kube-api-access-x1", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{DefaultMode: ptr.To[int32](420), Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				ExpirationSeconds: ptr.To[int64](3607), Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path:     "namespace",
				FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		}}}}
}

func tokenSource(audience string, seconds *int64) corev1.VolumeProjection {
	return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
		Audience: audience, ExpirationSeconds: seconds, Path: "own"}}
}

func TestHomesTokenTakesThePlaceOfTheKubelets(t *testing.T) {
	mount := []corev1.VolumeMount{{Name: "kube-api-access-x1", MountPath: "/var/run/secrets/kubernetes.io"}}
	home := pod(asks(v1beta1.APIServerSupportHome))
	home.Spec.ServiceAccountName = "builder"
	home.Spec.Volumes = []corev1.Volume{injected()}
	home.Spec.Containers[0].VolumeMounts = mount
	home.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "URL", Value: "https://$(KUBERNETES_SERVICE_HOST)"}}
	to := target(nil)
	to.Access = reachable

	want := pod(nil).Spec
	want.AutomountServiceAccountToken = ptr.To(false)
	want.Containers[0].VolumeMounts = mount
	want.Containers[0].Env = []corev1.EnvVar{
		{Name: "KUBERNETES_SERVICE_HOST", Value: "home.example"}, {Name: "KUBERNETES_SERVICE_PORT", Value: "6443"},
		{Name: "URL", Value: "https://$(KUBERNETES_SERVICE_HOST)"},
	}
	volume := injected()
	volume.Projected.Sources[0] = corev1.VolumeProjection{Secret: &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: "liqo-token-uid-1"},
		Items:                []corev1.KeyToPath{{Key: "token-0", Path: "token"}},
	}}
	volume.Projected.Sources[1].ConfigMap.Name = "kube-root-ca.crt.home"
	volume.Projected.Sources[2].DownwardAPI.Items[0].FieldRef.FieldPath =
		"metadata.annotations['offloading.liqo.io/home-namespace']"
	want.Volumes = []corev1.Volume{volume}
	if diff := cmp.Diff(want, to.Pod(home).Spec); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if diff := cmp.Diff([]Token{{Key: "token-0", Seconds: 3600}}, to.Access.Tokens(home)); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestTokens(t *testing.T) {
	for name, tc := range map[string]struct {
		support string
		sources []corev1.VolumeProjection
		want    []Token
	}{
		"not asked for":  {sources: []corev1.VolumeProjection{tokenSource("", nil)}},
		"turned off":     {support: "disabled", sources: []corev1.VolumeProjection{tokenSource("", nil)}},
		"the provider's": {support: "remote", sources: []corev1.VolumeProjection{tokenSource("", nil)}},
		"none is mounted": {
			support: "home", sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{}}},
		},
		"an hour unless it says": {
			"home", []corev1.VolumeProjection{tokenSource("", nil)}, []Token{{"token-0", "", 3600}},
		},
		"as long as it says": {
			"home", []corev1.VolumeProjection{tokenSource("", ptr.To[int64](900))}, []Token{{"token-0", "", 900}},
		},
		"never more than an hour": {
			"home", []corev1.VolumeProjection{tokenSource("", ptr.To[int64](86400))}, []Token{{"token-0", "", 3600}},
		},
		"never less than home gives": {
			"home", []corev1.VolumeProjection{tokenSource("", ptr.To[int64](1))}, []Token{{"token-0", "", 600}},
		},
		"for whom it says": {
			"home", []corev1.VolumeProjection{tokenSource("", nil), tokenSource("vault", nil)},
			[]Token{{"token-0", "", 3600}, {"token-1", "vault", 3600}},
		},
		"equal ones are one": {
			"home", []corev1.VolumeProjection{tokenSource("vault", nil), tokenSource("vault", ptr.To[int64](3607))},
			[]Token{{"token-0", "vault", 3600}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(asks(tc.support))
			home.Spec.Volumes = []corev1.Volume{
				{Name: "other"},
				{Name: "own", VolumeSource: corev1.VolumeSource{
					Projected: &corev1.ProjectedVolumeSource{Sources: tc.sources}}},
			}
			if diff := cmp.Diff(tc.want, reachable.Tokens(home)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
			to := target(nil)
			to.Access = reachable
			var keys []string
			for _, source := range to.Pod(home).Spec.Volumes[1].Projected.Sources {
				if source.Secret != nil && source.Secret.Name == TokenSecret(home.UID) {
					keys = append(keys, source.Secret.Items[0].Key)
				}
			}
			for _, token := range tc.want {
				if !strings.Contains(strings.Join(keys, " "), token.Key) {
					t.Errorf("nobody mounts %s, only %v", token.Key, keys)
				}
			}
		})
	}
}

func TestTheProvidersIdentityIsAskedForAsItIs(t *testing.T) {
	for name, tc := range map[string]struct {
		account   string
		automount *bool
	}{
		"an account":           {account: "builder"},
		"the default one":      {},
		"without its token":    {account: "builder", automount: ptr.To(false)},
		"with it, as it wants": {account: "builder", automount: ptr.To(true)},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(asks(v1beta1.APIServerSupportRemote))
			home.Annotations[v1beta1.AnnotationRemoteServiceAccount] = tc.account
			home.Spec.ServiceAccountName, home.Spec.DeprecatedServiceAccount = "at-home", "at-home"
			home.Spec.AutomountServiceAccountToken = tc.automount
			own := corev1.Volume{Name: "own", VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					tokenSource("vault", nil), {PodCertificate: &corev1.PodCertificateProjection{}},
				}}}}
			home.Spec.Volumes = []corev1.Volume{injected(), own}
			home.Spec.Containers[0].Env = []corev1.EnvVar{field("NS", "metadata.namespace")}

			want := pod(nil).Spec
			want.ServiceAccountName, want.AutomountServiceAccountToken = tc.account, tc.automount
			kept := *own.DeepCopy()
			kept.Projected.Sources = kept.Projected.Sources[:1]
			want.Volumes = []corev1.Volume{kept}
			// It speaks to the provider's API server, so it is told what is true there.
			want.Containers[0].Env = []corev1.EnvVar{field("NS", "metadata.namespace")}
			to := target(nil)
			to.Access = reachable
			if diff := cmp.Diff(want, to.Pod(home).Spec); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestWhereHomeIs(t *testing.T) {
	host, port := corev1.EnvVar{Name: envHost, Value: "home.example"}, corev1.EnvVar{Name: envPort, Value: "6443"}
	mine := corev1.EnvVar{Name: envHost, Value: "mine"}
	for name, tc := range map[string]struct {
		access Access
		had    []corev1.EnvVar
		want   []corev1.EnvVar
	}{
		"told":                     {reachable, nil, []corev1.EnvVar{host, port}},
		"before what refers to it": {reachable, []corev1.EnvVar{{Name: "A"}}, []corev1.EnvVar{host, port, {Name: "A"}}},
		"what is set stays":        {reachable, []corev1.EnvVar{mine}, []corev1.EnvVar{port, mine}},
		"not known":                {Access{}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(asks(v1beta1.APIServerSupportHome))
			home.Spec.Containers[0].Env = tc.had
			home.Spec.InitContainers = []corev1.Container{{Name: "init", Env: tc.had}}
			home.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Env: tc.had}}}
			to := target(nil)
			to.Access = tc.access
			away := to.Pod(home)
			for where, got := range map[string][]corev1.EnvVar{
				"container": away.Spec.Containers[0].Env, "init container": away.Spec.InitContainers[0].Env,
				"ephemeral container": to.EphemeralContainers(home)[0].Env,
			} {
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s (-want,+got):\n%s", where, diff)
				}
			}
		})
	}
}
