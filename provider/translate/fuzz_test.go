package translate

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// seeds are pods as they come from users, from admission, and from those who try something. `go test` runs them all.
var seeds = map[string]string{
	"nothing": `{}`,
	"everything that is too much": "" +
		`{"spec":{"hostNetwork":true,"hostPID":true,"hostIPC":true,"serviceAccountName":"a","nodeName":"n",` +
		`"priority":2000001000,"priorityClassName":"system-node-critical","tolerations":[{` +
		`"operator":"Exists"},{"key":"virtual-node.liqo.io/not-allowed","operator":"Exists"}],"containers":[{` +
		`"name":"c","securityContext":{"privileged":true},"ports":[{"hostPort":1,"containerPort":1}]}]}}`,
	"forged marks": "" +
		`{"metadata":{"namespace":"shop","uid":"1","labels":{"offloading.liqo.io/origin":"x"},"annotations":{` +
		`"offloading.liqo.io/home-uid":"2","offloading.liqo.io/home-namespace":"kube-system"}}}`,
	"a disk of the host and a token": "" +
		`{"spec":{"volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t"}}]}},{` +
		`"name":"h","hostPath":{"path":"/"}}]}}`,
	"what home's admission adds": "" +
		`{"metadata":{"uid":"1"},"spec":{"serviceAccountName":"builder","containers":[{"name":"c",` +
		`"volumeMounts":[{"name":"kube-api-access-1","mountPath":"/var/run/secrets"}]}],"volumes":[{` +
		`"name":"kube-api-access-1","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{` +
		`"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{` +
		`"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{` +
		`"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}]}}]}}`,
	"the provider's API server": "" +
		`{"metadata":{"annotations":{"liqo.io/api-server-support":"remote",` +
		`"liqo.io/remote-service-account-name":"admin"}},"spec":{"serviceAccountName":"builder","volumes":[{` +
		`"name":"t","projected":{"sources":[{"serviceAccountToken":{"path":"t","audience":"vault"}},{` +
		`"podCertificate":{"signerName":"example.com/x"}},{"clusterTrustBundle":{"path":"x"}}]}}]}}`,
	"an API server of nobody": `{"metadata":{"annotations":{"liqo.io/api-server-support":"both"}}}`,
	"every token there is": "" +
		`{"metadata":{"annotations":{"liqo.io/api-server-support":"home"}},"spec":{"volumes":[{"name":"t",` +
		`"projected":{"sources":[{"serviceAccountToken":{"path":"a","expirationSeconds":-1}},{` +
		`"serviceAccountToken":{"path":"b","expirationSeconds":9223372036854775807}},{},{` +
		`"serviceAccountToken":{"path":"c","audience":"vault"}},{"secret":{"name":"mine"}}]}},{"name":"p",` +
		`"projected":null}]}}`,
	"anti-affinity against everybody": "" +
		`{"metadata":{"namespace":"shop","annotations":{"liqo.io/anti-affinity-preset":"propagate"}},"spec":{` +
		`"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{` +
		`"topologyKey":"kubernetes.io/hostname","labelSelector":{},"namespaceSelector":{}},{` +
		`"topologyKey":"zone","namespaces":["kube-system"]},{"topologyKey":"zone","namespaceSelector":{` +
		`"matchLabels":{"a":"b"}},"matchLabelKeys":["a"]}],` +
		`"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"podAffinityTerm":{"namespaces":[` +
		`"shop"]}}]}}}}`,
	"anti-affinity by our own marks": "" +
		`{"metadata":{"labels":{"offloading.liqo.io/origin":"x","app":"web"},"annotations":{` +
		`"liqo.io/anti-affinity-preset":"hard"}}}`,
	"environment of all kinds": "" +
		`{"spec":{"initContainers":[{"name":"i","envFrom":[{"configMapRef":{"name":"kube-root-ca.crt"}},{` +
		`"secretRef":{"name":"s"}},{}]}],"containers":[{"name":"c","env":[{"name":"A","valueFrom":{` +
		`"fieldRef":{"fieldPath":"spec.host"}}},{"name":"B","valueFrom":{"configMapKeyRef":{` +
		`"name":"kube-root-ca.crt","key":"ca.crt"}}},{"name":"C","valueFrom":{}},{` +
		`"name":"KUBERNETES_SERVICE_PORT","value":"1"},{"name":"D","valueFrom":{"resourceFieldRef":{` +
		`"resource":"limits.cpu"}}}]}],"ephemeralContainers":[{"name":"e","env":[{"name":"N","valueFrom":{` +
		`"fieldRef":{"fieldPath":"metadata.namespace"}}}]}],"volumes":[{"name":"d","downwardAPI":{"items":[{` +
		`"path":"u","fieldRef":{"fieldPath":"metadata.uid"}},{"path":"r"}]}},{"name":"e"}]}}`,
	"one that passes restricted": "" +
		`{"spec":{"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},` +
		`"containers":[{"name":"c","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{` +
		`"drop":["ALL"]}}}]}}`,
}

func FuzzPod(f *testing.F) {
	for _, seed := range seeds {
		for _, support := range []string{"", v1beta1.APIServerSupportHome, v1beta1.APIServerSupportDisabled} {
			f.Add([]byte(seed), support)
		}
	}
	security, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, support string) {
		var home corev1.Pod
		if json.Unmarshal(data, &home) != nil {
			t.Skip()
		}
		to := target(&v1beta1.OffloadingPatch{Tolerations: []corev1.Toleration{{Key: "k",
			Operator: corev1.TolerationOpExists}}})
		to.Access = Access{Default: support, Host: "home.example", Port: "6443"}
		before := home.DeepCopy()
		_ = to.Refusal(&home)
		away, debug := to.Pod(&home), to.EphemeralContainers(&home)
		if !equality.Semantic.DeepEqual(before, &home) {
			t.Error("the home pod was changed")
		}
		if again := to.Pod(away); !equality.Semantic.DeepEqual(away.Spec, again.Spec) {
			t.Errorf("not idempotent:\n%s", cmp.Diff(away.Spec, again.Spec))
		}
		if diff := cmp.Diff(to.Wanted(&home).ObjectMeta, to.Update(&home).want.ObjectMeta); diff != "" {
			t.Errorf("as it is created, and as it is updated, by the record of its parts:\n%s", diff)
		}
		neverWider(t, &home, away, to.Access.Support(&home))
		neverReaches(t, &home, away, to.Access)
		containersAsSecure(t, &home, away, debug)
		for _, level := range []psaapi.Level{psaapi.LevelBaseline, psaapi.LevelRestricted} {
			passes := func(p *corev1.Pod) bool {
				at := psaapi.LevelVersion{Level: level, Version: psaapi.LatestVersion()}
				return policy.AggregateCheckResults(security.EvaluatePod(at, &p.ObjectMeta, &p.Spec)).Allowed
			}
			if passes(&home) && !passes(away) {
				t.Errorf("passes %s at home, and not over there", level)
			}
		}
	})
}

// neverWider: what a remote pod is, its home pod was.
func neverWider(t *testing.T, home, away *corev1.Pod, support string) {
	t.Helper()
	s := away.Spec
	if s.HostNetwork || s.HostPID || s.HostIPC || s.NodeName != "" || s.Priority != nil || s.PriorityClassName != "" {
		t.Error("wider than it may be")
	}
	if !equality.Semantic.DeepEqual(s.SecurityContext, home.Spec.SecurityContext) ||
		len(s.Volumes) > len(home.Spec.Volumes) {
		t.Error("the security context or the volumes are not the home pod's")
	}
	if away.Annotations[v1beta1.AnnotationHomeUID] != string(home.UID) ||
		away.Annotations[v1beta1.AnnotationHomeNamespace] != home.Namespace ||
		away.Labels[v1beta1.LabelOrigin] != "home" {
		t.Error("it says that it is somebody else's")
	}
	for _, x := range s.Tolerations {
		if x.Key == "" || x.Key == v1beta1.TaintKey {
			t.Errorf("tolerates %v", x)
		}
	}
	lent := support == v1beta1.APIServerSupportRemote
	want := ""
	if lent {
		want = home.Annotations[v1beta1.AnnotationRemoteServiceAccount]
	}
	if s.ServiceAccountName != want || s.DeprecatedServiceAccount != "" ||
		!lent && (s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken) {
		t.Errorf("runs as %q, automount %v", s.ServiceAccountName, s.AutomountServiceAccountToken)
	}
	if s.Affinity != nil && s.Affinity.PodAffinity != nil {
		t.Error("chooses its neighbours")
	}
	for _, term := range terms(&s) {
		if len(term.Namespaces) > 0 || term.NamespaceSelector != nil {
			t.Errorf("keeps pods of other namespaces away: %v", term)
		}
	}
}

func terms(s *corev1.PodSpec) []corev1.PodAffinityTerm {
	if s.Affinity == nil || s.Affinity.PodAntiAffinity == nil {
		return nil
	}
	out := s.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	for _, w := range s.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		out = append(slices.Clone(out), w.PodAffinityTerm)
	}
	return out
}

// neverReaches: of Secrets and of tokens, a remote pod mounts what its home pod mounts.
func neverReaches(t *testing.T, home, away *corev1.Pod, access Access) {
	t.Helper()
	secrets := func(p *corev1.Pod) (out []string) {
		for _, v := range p.Spec.Volumes {
			eachSource(v, func(p *corev1.VolumeProjection) {
				if p.Secret != nil {
					out = append(out, p.Secret.Name)
				}
			})
		}
		return out
	}
	ours, had := TokenSecret(home.UID), secrets(home)
	for _, name := range secrets(away) {
		if name != ours && !slices.Contains(had, name) {
			t.Errorf("mounts Secret %s", name)
		}
	}
	mounts := slices.Contains(secrets(away), ours) && !slices.Contains(had, ours)
	if tokens := access.Tokens(home); mounts != (len(tokens) > 0) && !slices.Contains(had, ours) {
		t.Errorf("mounts tokens: %v, and they are %v", mounts, tokens)
	}
	for _, v := range away.Spec.Volumes {
		eachSource(v, func(p *corev1.VolumeProjection) {
			lent := access.Support(home) == v1beta1.APIServerSupportRemote
			if certifies(*p) || p.ServiceAccountToken != nil && !lent {
				t.Errorf("volume %s has a credential of the provider", v.Name)
			}
		})
	}
}

func containersAsSecure(t *testing.T, home, away *corev1.Pod, debug []corev1.EphemeralContainer) {
	t.Helper()
	check := func(had, has corev1.Container) {
		if !equality.Semantic.DeepEqual(has.SecurityContext, had.SecurityContext) ||
			len(has.VolumeMounts) > len(had.VolumeMounts) || has.Image != had.Image {
			t.Errorf("container %s is wider than home's", has.Name)
		}
	}
	for i, c := range away.Spec.InitContainers {
		check(home.Spec.InitContainers[i], c)
	}
	for i, c := range away.Spec.Containers {
		check(home.Spec.Containers[i], c)
	}
	for i, c := range debug {
		check(corev1.Container(home.Spec.EphemeralContainers[i].EphemeralContainerCommon),
			corev1.Container(c.EphemeralContainerCommon))
	}
	if len(debug) != len(home.Spec.EphemeralContainers) || len(away.Spec.EphemeralContainers) > 0 {
		t.Errorf("%d ephemeral containers, and %d at creation", len(debug), len(away.Spec.EphemeralContainers))
	}
}
