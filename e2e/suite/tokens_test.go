package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// homeAPIServer is what pods are pointed to. Their containers are played, so nobody goes there.
const homeAPIServer = "https://home.example:6443"

// tokens lets the agents ask for tokens in the namespace only. For all offloaded namespaces there is a component, which
// is tested in provider.
func (w *world) tokens() {
	w.t.Helper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "tokens"},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"},
		}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
	}
	for _, provider := range providers() {
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{
			Kind: rbacv1.ServiceAccountKind, Name: v1beta1.AgentServiceAccount,
			Namespace: v1beta1.TenantNamespace(provider),
		})
	}
	w.create(role, binding)
}

// SEC-11, beside a reflection that knows nothing of these Secrets.
func TestAPodSpeaksToHome(t *testing.T) {
	w := newWorld(t, "speaking")
	w.tokens()
	w.remote()
	w.create(build.Pod("web").Namespace(w.ns).
		Annotation(v1beta1.AnnotationAPIServerSupport, v1beta1.APIServerSupportHome).Obj())
	pod := w.running(1)[0]
	c := away(pod.Spec.NodeName)

	// What an in-cluster client needs is in the twin, and is home's.
	var secret corev1.Secret
	w.Expect(w.get(c, w.twin(), translate.TokenSecret(pod.UID), &secret)).To(Succeed())
	var home, reflected corev1.ConfigMap
	w.Expect(w.get(w.home, w.ns, "kube-root-ca.crt", &home)).To(Succeed())
	w.Eventually(func() error { return w.get(c, w.twin(), "kube-root-ca.crt.consumer", &reflected) }).Should(Succeed())
	w.Expect(reflected.Data).To(Equal(home.Data))
	remote, err := w.awayPod(&pod)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(remote.Spec.Containers[0].Env).To(ContainElements(
		corev1.EnvVar{Name: "KUBERNETES_SERVICE_HOST", Value: "home.example"},
		corev1.EnvVar{Name: "KUBERNETES_SERVICE_PORT", Value: "6443"}))

	whoami := func() (string, error) {
		config := rest.AnonymousClientConfig(playground.Consumer().Config())
		config.BearerToken = string(secret.Data["token-0"])
		raw, err := kubernetes.NewForConfig(config)
		if err != nil {
			return "", err
		}
		got, err := raw.AuthenticationV1().SelfSubjectReviews().Create(w.ctx,
			&authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			return "", err
		}
		return got.Status.UserInfo.Username, nil
	}
	w.Expect(whoami()).To(Equal("system:serviceaccount:" + w.ns + ":default"))

	// A reflected object that comes and goes has reflection look at what is in the twin. It leaves the token alone.
	w.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "later"}})
	w.Eventually(func() error { return w.get(c, w.twin(), "later", &corev1.ConfigMap{}) }).Should(Succeed())
	before := secret.ResourceVersion
	w.Expect(w.get(c, w.twin(), secret.Name, &secret)).To(Succeed())
	w.Expect(secret.ResourceVersion).To(Equal(before))

	w.deleted(&pod)
	w.Eventually(func() error { return w.get(c, w.twin(), secret.Name, &corev1.Secret{}) }).
		Should(MatchError(apierrors.IsNotFound, "not found"))
	w.Eventually(func() error {
		_, err := whoami()
		return err
	}).Should(MatchError(apierrors.IsUnauthorized, "unauthorized"))
}
