package reflection_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/reflection"
)

func TestConfigurationBetweenAPIServers(t *testing.T) {
	t.Parallel()
	planes := env.Planes(t, 2)
	w := &world{t: t, home: planes[0], away: planes[1], pods: &pods{}, events: record.NewFakeRecorder(1000)}
	w.classes = []v1beta1.IngressType{{IngressClassName: "front", Default: true}}
	w.prepare()
	w.start()
	for _, story := range []struct {
		name string
		tell func(*world)
	}{
		{"Secrets come with what refers to them, and leave with it", (*world).references},
		{"an Ingress is carried, and its certificate with it", (*world).ingress},
		{"credentials of home leave it only when they are forced to", (*world).credentials},
		{"large Secrets are carried", (*world).largeSecrets},
		{"annotations at their limit are carried, or one word said", (*world).annotations},
		{"an object that only the copy is too large of is told of once", (*world).overfull},
		{"a Secret that cannot be changed is replaced", (*world).immutableSecret},
		{"Secrets may all go", (*world).denyList},
		{"Secrets may go by name only", (*world).allowList},
		{"kinds that are off are not looked at, and are there when they are on", (*world).moreKinds},
	} {
		t.Run(story.name, func(t *testing.T) {
			told := *w
			told.t = t
			story.tell(&told)
			w.stop, w.mirror, w.policies = told.stop, told.mirror, told.policies
		})
	}
	w.stop()
}

// under starts another Mirror under other policies, in place of the one that runs.
func (w *world) under(pairs string) {
	w.t.Helper()
	w.stop()
	policies, err := reflection.ParsePolicies(strings.Split(pairs, ","))
	if err != nil {
		w.t.Fatal(err)
	}
	w.policies = policies
	w.start()
}

func opaque(namespace, name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{"k": []byte("v")},
	}
}

// there says that anything is.
func there[T client.Object](T) bool { return true }

// absent is asked after a signal that what could have come has come.
func (w *world) absent(obj client.Object, namespace, name string) {
	w.t.Helper()
	if err := w.away.Client().Get(w.t.Context(), at(namespace, name), obj); !apierrors.IsNotFound(err) {
		w.t.Errorf("%s/%s is there: %v", namespace, name, err)
	}
}

// end lets a pod at home finish.
func (p *pods) end(namespace, name string) {
	p.mu.Lock()
	var ended *corev1.Pod
	for i, pod := range p.all {
		if pod.Namespace == namespace && pod.Name == name {
			ended = pod.DeepCopy()
			ended.Status.Phase = corev1.PodSucceeded
			p.all[i] = ended
		}
	}
	p.mu.Unlock()
	for _, f := range p.onEach {
		f(ended)
	}
}

func local(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

// referring refers to one Secret in each way.
func referring(namespace string) *corev1.Pod {
	from := func(name string) []corev1.EnvFromSource {
		return []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local(name)}}}
	}
	return build.Pod("web").Namespace(namespace).Node("vn-1").Spec(func(s *corev1.PodSpec) {
		s.ImagePullSecrets = []corev1.LocalObjectReference{local("pull")}
		s.Containers[0].EnvFrom = from("from")
		s.Containers[0].Env = []corev1.EnvVar{{Name: "E", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local("env"), Key: "k"},
		}}}
		s.InitContainers = []corev1.Container{{Name: "init", EnvFrom: from("init")}}
		s.EphemeralContainers = []corev1.EphemeralContainer{{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", EnvFrom: from("debug")},
		}}
		s.Volumes = []corev1.Volume{
			{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume"}}},
			{Name: "p", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{
					Secret: &corev1.SecretProjection{LocalObjectReference: local("projected")},
				}},
			}}},
		}
	}).Obj()
}

// leaving is for how long a Secret may stay after the last reference to it.
const leaving = 30 * time.Second

func (w *world) references() {
	home, away := w.offload("references")
	names := []string{"pull", "from", "env", "init", "debug", "volume", "projected"}
	for _, name := range append(names, "nobodys", "forced") {
		s := opaque(home, name)
		if name == "forced" {
			s.Annotations = map[string]string{v1beta1.AnnotationAllowReflection: ""}
		}
		w.create(w.home, s)
	}
	eventually(w, &corev1.Secret{}, at(away, "forced"), "created", holds("v"))
	for _, name := range append(names, "nobodys") {
		w.absent(&corev1.Secret{}, away, name)
	}
	w.pods.add(referring(home))
	for _, name := range names {
		eventually(w, &corev1.Secret{}, at(away, name), "created", holds("v"))
	}
	w.absent(&corev1.Secret{}, away, "nobodys")

	w.pods.end(home, "web")
	ended := time.Now()
	for _, name := range names {
		w.eventuallyGone(&corev1.Secret{}, away, name)
	}
	if took := time.Since(ended); took > leaving {
		w.t.Errorf("the Secrets left %s after the pod", took)
	}
	eventually(w, &corev1.Secret{}, at(away, "forced"), "kept", holds("v"))
}

func entrance(namespace string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "shop", Annotations: map[string]string{"kubernetes.io/ingress.class": "nginx"},
		},
		Spec: networkingv1.IngressSpec{
			TLS: []networkingv1.IngressTLS{{Hosts: []string{"shop.example"}, SecretName: "tls"}},
			Rules: []networkingv1.IngressRule{{
				Host: "shop.example",
				IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
					Paths: []networkingv1.HTTPIngressPath{{
						Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix),
						Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
							Name: "web", Port: networkingv1.ServiceBackendPort{Name: "http"},
						}},
					}},
				}},
			}},
		},
	}
}

func (w *world) ingress() {
	home, away := w.offload("entrance")
	shop := entrance(home)
	w.create(w.home, opaque(home, "tls"), opaque(home, "renewed"), shop)
	eventually(w, &networkingv1.Ingress{}, at(away, "shop"), "created", func(i *networkingv1.Ingress) bool {
		return ptr.Deref(i.Spec.IngressClassName, "") == "front" && i.Spec.Rules[0].Host == "shop.example"
	})
	eventually(w, &corev1.Secret{}, at(away, "tls"), "created", holds("v"))
	w.absent(&corev1.Secret{}, away, "renewed")

	change(w, w.home, shop, func(i *networkingv1.Ingress) { i.Spec.TLS[0].SecretName = "renewed" })
	eventually(w, &corev1.Secret{}, at(away, "renewed"), "created", holds("v"))
	eventually(w, &networkingv1.Ingress{}, at(away, "shop"), "changed", func(i *networkingv1.Ingress) bool {
		return i.Spec.TLS[0].SecretName == "renewed"
	})
	w.eventuallyGone(&corev1.Secret{}, away, "tls")

	// What stays at home needs nothing there.
	change(w, w.home, shop, func(i *networkingv1.Ingress) { i.Annotations[v1beta1.AnnotationSkipReflection] = "true" })
	w.eventuallyGone(&networkingv1.Ingress{}, away, "shop")
	w.eventuallyGone(&corev1.Secret{}, away, "renewed")
	change(w, w.home, shop, func(i *networkingv1.Ingress) { delete(i.Annotations, v1beta1.AnnotationSkipReflection) })
	eventually(w, &corev1.Secret{}, at(away, "renewed"), "created again", holds("v"))
	w.delete(w.home, shop)
	gone := time.Now()
	w.eventuallyGone(&networkingv1.Ingress{}, away, "shop")
	w.eventuallyGone(&corev1.Secret{}, away, "renewed")
	if took := time.Since(gone); took > leaving {
		w.t.Errorf("the certificate left %s after the Ingress", took)
	}
}

// The fence of the provider refuses tokens of ServiceAccounts, so this is also about their type.
func (w *world) credentials() {
	home, away := w.offload("credentials")
	w.create(w.home, account(home, "robot"), opaque(home, "password"))
	kinds := map[string]corev1.SecretType{
		"token": corev1.SecretTypeServiceAccountToken, "bootstrap": corev1.SecretTypeBootstrapToken,
		"release": "helm.sh/release.v1",
	}
	pod := build.Pod("web").Namespace(home).Node("vn-1").Spec(func(s *corev1.PodSpec) {
		for _, name := range []string{"token", "bootstrap", "release", "password"} {
			s.ImagePullSecrets = append(s.ImagePullSecrets, local(name))
		}
	}).Obj()
	for name, kind := range kinds {
		s := opaque(home, name)
		s.Type, s.Annotations = kind, map[string]string{corev1.ServiceAccountNameKey: "robot"}
		w.create(w.home, s)
	}
	w.pods.add(pod)
	eventually(w, &corev1.Secret{}, at(away, "password"), "created", holds("v"))
	w.mirror.Refresh()
	w.settled()
	for name := range kinds {
		w.absent(&corev1.Secret{}, away, name)
		change(w, w.home, opaque(home, name), func(s *corev1.Secret) {
			s.Annotations[v1beta1.AnnotationAllowReflection] = "true"
		})
	}
	kinds["token"] = corev1.SecretTypeOpaque
	for name, kind := range kinds {
		eventually(w, &corev1.Secret{}, at(away, name), "created as "+string(kind), func(s *corev1.Secret) bool {
			return s.Type == kind && holds("v")(s)
		})
	}
	change(w, w.home, opaque(home, "token"), func(s *corev1.Secret) {
		s.Annotations = map[string]string{
			corev1.ServiceAccountNameKey: "robot",
		}
	})
	w.eventuallyGone(&corev1.Secret{}, away, "token")
}

func forced(s *corev1.Secret) *corev1.Secret {
	s.Annotations = map[string]string{v1beta1.AnnotationAllowReflection: "true"}
	return s
}

// R9 for Secrets.
func (w *world) largeSecrets() {
	home, away := w.offload("heavy")
	full, many := forced(opaque(home, strings.Repeat("n", 253))), forced(opaque(home, "keys"))
	full.Data["mib"] = make([]byte, 1<<20-1)
	full.Labels = map[string]string{strings.Repeat("l", 63): strings.Repeat("v", 63)}
	for i := range 30_000 {
		many.Data[fmt.Sprintf("key-%d", i)] = []byte("x")
	}
	w.create(w.home, full, many)
	eventually(w, &corev1.Secret{}, at(away, full.Name), "created", func(s *corev1.Secret) bool {
		return len(s.Data["mib"]) == 1<<20-1 && holds("v")(s) && len(s.Labels[strings.Repeat("l", 63)]) == 63
	})
	eventually(w, &corev1.Secret{}, at(away, "keys"), "created", func(s *corev1.Secret) bool {
		return len(s.Data) == 30_001
	})
}

// annotated has so many bytes of annotations.
func annotated(obj *corev1.ConfigMap, bytes int) *corev1.ConfigMap {
	obj.Annotations = map[string]string{"example.com/a": strings.Repeat("x", bytes-len("example.com/a"))}
	return obj
}

// problem waits until the named object has one, or has none with "".
func (w *world) problem(home, name, reason string) (found v1beta1.ReflectionProblem) {
	w.t.Helper()
	until := time.NewTimer(patience)
	defer until.Stop()
	for {
		found = v1beta1.ReflectionProblem{}
		for _, p := range w.mirror.Problems(home) {
			if p.Name == name {
				found = p
			}
		}
		if found.Reason == reason {
			return found
		}
		select {
		case <-until.C:
			w.t.Fatalf("%s: want reason %q, got %+v", name, reason, found)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tried returns how often the peer has asked for a write of the named object.
func (w *world) tried(audit *env.Audit, name string) int {
	n := 0
	for _, did := range w.audited(audit, func(user string, write bool) bool { return user == peer && write }) {
		if strings.Contains(did, "/"+name+" ") {
			n++
		}
	}
	return n
}

func (w *world) annotations() {
	home, away := w.offload("notes")
	audit, err := w.away.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	const limit = 256 << 10
	room := limit - len(v1beta1.AnnotationHomeUID) - len("01234567-0123-0123-0123-0123456789ab")
	applied := configMap(home, "applied", one("a", "1"))
	applied.Annotations = map[string]string{
		corev1.LastAppliedConfigAnnotation: strings.Repeat("x", limit-len(corev1.LastAppliedConfigAnnotation)),
	}
	much := annotated(configMap(home, "much", one("a", "1")), room+1)
	w.create(w.home, annotated(configMap(home, "just", one("a", "1")), room), much, applied)
	eventually(w, &corev1.ConfigMap{}, at(away, "just"), "created", is("a", "1"))
	eventually(w, &corev1.ConfigMap{}, at(away, "applied"), "created without", func(c *corev1.ConfigMap) bool {
		_, copied := c.Annotations[corev1.LastAppliedConfigAnnotation]
		return !copied
	})
	says := w.problem(home, "much", v1beta1.ProblemRefused)
	if !strings.Contains(says.Message, "annotations") {
		w.t.Errorf("it is not said what is too much: %s", says.Message)
	}
	for range 3 {
		w.mirror.Refresh()
		w.settled()
	}
	if n := w.tried(audit, "much"); n != 1 {
		w.t.Errorf("it was tried %d times", n)
	}
	change(w, w.home, much, func(c *corev1.ConfigMap) { annotated(c, room) })
	eventually(w, &corev1.ConfigMap{}, at(away, "much"), "created", is("a", "1"))
	w.problem(home, "much", "")
}

// overfull makes an object that fills a request to home's etcd to the last byte. API servers leave out managedFields
// before they give up.
func (w *world) overfull() {
	home, away := w.offload("full")
	audit, err := w.away.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	keys := map[string]string{"value": strings.Repeat("x", 1<<20)}
	for i := range 1_500 {
		keys[fmt.Sprintf("%0250d", i)] = ""
	}
	fits, most := 0, 250<<10
	for most-fits > 1 {
		middle := (fits + most) / 2
		trial := annotated(configMap(home, "full", keys), max(middle, 20))
		trial.Annotations[v1beta1.AnnotationSkipReflection] = "true"
		switch err := w.home.Client().Create(w.t.Context(), trial); {
		case err == nil:
			fits = middle
			w.delete(w.home, trial)
		case strings.Contains(err.Error(), "too large"):
			most = middle
		default:
			w.t.Fatal(err)
		}
	}
	if fits == 0 || most == 250<<10 {
		w.t.Fatalf("the bound is not where it was looked for: %d", fits)
	}
	w.create(w.home, annotated(configMap(home, "full", keys), fits), configMap(home, "light", nil))
	eventually(w, &corev1.ConfigMap{}, at(away, "light"), "created", there)
	says := w.problem(home, "full", v1beta1.ProblemRefused)
	if !strings.Contains(says.Message, "too large") {
		w.t.Errorf("it is not said what is wrong: %s", says.Message)
	}
	w.mirror.Refresh()
	w.settled()
	if n := w.tried(audit, "full"); n != 1 {
		w.t.Errorf("it was tried %d times", n)
	}
	w.delete(w.home, configMap(home, "full", nil))
	w.problem(home, "full", "")
}

func (w *world) immutableSecret() {
	home, away := w.offload("sealed")
	first, copied := forced(opaque(home, "seal")), &corev1.Secret{}
	first.Immutable = ptr.To(true)
	w.create(w.home, first)
	eventually(w, copied, at(away, "seal"), "created", holds("v"))
	uid := copied.UID
	change(w, w.home, first, func(s *corev1.Secret) { s.Labels = one("tier", "db") })
	eventually(w, copied, at(away, "seal"), "relabelled", func(s *corev1.Secret) bool {
		return s.Labels["tier"] == "db"
	})
	if copied.UID != uid {
		w.t.Error("it was replaced for a label")
	}
	w.delete(w.home, first)
	second := forced(opaque(home, "seal"))
	second.Data, second.Type = map[string][]byte{"k": []byte("other")}, "example.com/other"
	w.create(w.home, second)
	eventually(w, copied, at(away, "seal"), "replaced", func(s *corev1.Secret) bool {
		return holds("other")(s) && s.Type == "example.com/other" && s.Immutable == nil
	})
}

func skipped(s *corev1.Secret) *corev1.Secret {
	s.Annotations = map[string]string{v1beta1.AnnotationSkipReflection: "true"}
	return s
}

func (w *world) denyList() {
	w.under("secrets=DenyList")
	home, away := w.offload("deny")
	release := opaque(home, "release")
	release.Type = "helm.sh/release.v1"
	w.create(w.home, release, skipped(opaque(home, "skipped")), opaque(home, "plain"))
	eventually(w, &corev1.Secret{}, at(away, "plain"), "created", holds("v"))
	w.settled()
	w.absent(&corev1.Secret{}, away, "release")
	w.absent(&corev1.Secret{}, away, "skipped")
}

func (w *world) allowList() {
	w.under("secrets=AllowList,configmaps=AllowList")
	home, away := w.offload("allow")
	settings := configMap(home, "settings", one("a", "1"))
	w.pods.add(build.Pod("web").Namespace(home).Node("vn-1").Spec(func(s *corev1.PodSpec) {
		s.ImagePullSecrets = []corev1.LocalObjectReference{local("plain")}
	}).Obj())
	w.create(w.home, opaque(home, "plain"), forced(opaque(home, "named")), settings, configMap(home, "other", nil))
	eventually(w, &corev1.Secret{}, at(away, "named"), "created", holds("v"))
	change(w, w.home, settings, func(c *corev1.ConfigMap) {
		c.Annotations = one(v1beta1.AnnotationAllowReflection, "")
	})
	eventually(w, &corev1.ConfigMap{}, at(away, "settings"), "created", is("a", "1"))
	w.settled()
	w.absent(&corev1.Secret{}, away, "plain")
	w.absent(&corev1.ConfigMap{}, away, "other")
	change(w, w.home, settings, func(c *corev1.ConfigMap) { c.Annotations = nil })
	w.eventuallyGone(&corev1.ConfigMap{}, away, "settings")
}
