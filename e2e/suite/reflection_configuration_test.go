package suite

import (
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// A pod that starts without an optional Secret runs without it for good.
func TestWhatPodsReferToIsThereBeforeThem(t *testing.T) {
	w := newWorld(t, "luggage")
	w.remote()
	audit, err := playground.Audit("provider-1")
	w.Expect(err).NotTo(HaveOccurred())
	const n = 100
	var sources []corev1.VolumeProjection
	for i := range n {
		name := fmt.Sprintf("part-%d", i)
		w.create(secret(w.ns, name, "value"))
		sources = append(sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: ptr.To(true),
			Items: []corev1.KeyToPath{{Key: "key", Path: name}},
		}})
	}
	w.create(build.Pod("web").Namespace(w.ns).NodeSelector(v1beta1.LabelRemoteClusterID, "provider-1").
		Spec(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "parts", VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: sources},
			}}}
		}).Obj())
	w.running(1)

	events, err := audit.Events()
	w.Expect(err).NotTo(HaveOccurred())
	before := 0
	for _, e := range events {
		if e.Verb != "create" || e.ResponseStatus.Code != 201 ||
			e.ObjectRef == nil || e.ObjectRef.Namespace != w.twin() {
			continue
		}
		if e.ObjectRef.Resource == "pods" {
			break
		}
		if e.ObjectRef.Resource == "secrets" {
			before++
		}
	}
	w.Expect(before).To(Equal(n), "Secrets that were there before the pod")
}

// SEC-10, and that the provider does not take a token of home for one of its own.
func TestCredentialsOfHomeLeaveOnlyWhenForced(t *testing.T) {
	w := newWorld(t, "credentials")
	w.remote()
	token := func(namespace string) *corev1.Secret {
		s := secret(namespace, "robot-token", "")
		s.Data, s.Type = nil, corev1.SecretTypeServiceAccountToken
		s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "robot"}
		return s
	}
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "robot"}},
		token(w.ns), secret(w.ns, "password", "value"))
	home := &corev1.Secret{}
	w.Eventually(func() (map[string][]byte, error) { return home.Data, w.get(w.home, w.ns, "robot-token", home) }).
		Should(HaveKey("token"))
	w.create(build.Pod("web").Namespace(w.ns).NodeSelector(v1beta1.LabelRemoteClusterID, "provider-1").
		Spec(func(s *corev1.PodSpec) {
			for _, name := range []string{"robot-token", "password"} {
				s.Volumes = append(s.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
					Secret: &corev1.SecretVolumeSource{SecretName: name},
				}})
			}
		}).Obj())

	there, copied := away("provider-1"), &corev1.Secret{}
	w.Eventually(func() error { return w.get(there, w.twin(), "password", copied) }).Should(Succeed())
	w.running(1)
	w.Expect(w.get(there, w.twin(), "robot-token", copied)).To(MatchError(notFound, "not found"))

	home.Annotations[v1beta1.AnnotationAllowReflection] = "true"
	w.Expect(w.home.Update(w.ctx, home)).To(Succeed())
	w.Eventually(func() error { return w.get(there, w.twin(), "robot-token", copied) }).Should(Succeed())
	w.Expect(copied.Type).To(Equal(corev1.SecretTypeOpaque))
	w.Expect(copied.Data).To(HaveKeyWithValue("token", home.Data["token"]))

	// The provider's controller has been at work when it has deleted a token of an account that it does not have.
	bait := token(w.twin())
	bait.Name = "bait"
	w.Expect(there.Create(w.ctx, bait)).To(Succeed())
	w.Eventually(func() error { return w.get(there, w.twin(), "bait", bait) }).Should(MatchError(notFound, "not found"))
	uid := copied.UID
	w.Expect(w.get(there, w.twin(), "robot-token", copied)).To(Succeed())
	w.Expect(copied.UID).To(Equal(uid))
	w.Expect(copied.Data).To(HaveKeyWithValue("token", home.Data["token"]))
}

// R1 for Ingresses, and that the certificate comes and leaves with them.
func TestAnIngressTakesItsCertificateAlong(t *testing.T) {
	w := newWorld(t, "entrance")
	offer := func(classes ...v1beta1.IngressType) {
		var node v1beta1.VirtualNode
		w.Expect(w.get(w.home, v1beta1.TenantNamespace("provider-1"), "provider-1", &node)).To(Succeed())
		before := node.DeepCopy()
		node.Spec.IngressClasses = classes
		w.Expect(w.home.Patch(w.ctx, &node, client.MergeFrom(before))).To(Succeed())
	}
	offer(v1beta1.IngressType{IngressClassName: "traefik", Default: true})
	w.remote()
	certificate := secret(w.ns, "certificate", "pem")
	ingress := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "shop"},
		Spec: networkingv1.IngressSpec{
			IngressClassName: ptr.To("nginx"),
			TLS: []networkingv1.IngressTLS{
				{Hosts: []string{"shop.example"}, SecretName: certificate.Name},
			},
			DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
				Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80},
			}},
		},
	}
	w.create(certificate, ingress)
	class := func(provider string) func() (string, error) {
		return func() (string, error) {
			var copied networkingv1.Ingress
			err := w.get(away(provider), w.twin(), "shop", &copied)
			return ptr.Deref(copied.Spec.IngressClassName, "none"), err
		}
	}
	w.Eventually(class("provider-1")).Should(Equal("traefik"))
	w.Eventually(class("provider-2")).Should(Equal("none"))
	for _, p := range providers() {
		w.Eventually(func() error { return w.get(away(p), w.twin(), "certificate", &corev1.Secret{}) }).
			Should(Succeed(), p)
	}
	offer(v1beta1.IngressType{IngressClassName: "haproxy", Default: true})
	w.Eventually(class("provider-1")).Should(Equal("haproxy"))
	offer()

	w.deleted(ingress)
	gone := time.Now()
	for _, p := range slices.Backward(providers()) {
		w.Eventually(func() error { return w.get(away(p), w.twin(), "certificate", &corev1.Secret{}) }, left).
			Should(MatchError(notFound, "not found"), p)
	}
	w.Expect(time.Since(gone)).To(BeNumerically("<", left))
}
