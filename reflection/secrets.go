package reflection

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// helmRelease is the type of the Secrets in which Helm keeps its own state.
const helmRelease corev1.SecretType = "helm.sh/release.v1"

// errPodsUnknown: it cannot be said yet who refers to a Secret.
var errPodsUnknown = errors.New("the pods at home are not known yet")

// Secrets are reflected while something on the provider refers to them, a pod or a reflected Ingress: what nobody needs
// there is not shown there (SEC-10). Credentials of the home cluster itself leave it only if they are annotated to.
func Secrets(pods Pods, ourNode func(string) bool) Kind[*corev1.Secret] {
	return Kind[*corev1.Secret]{
		Resource:     "secrets",
		New:          func() *corev1.Secret { return &corev1.Secret{} },
		Policy:       PolicyReferenced,
		PerNamespace: true, // the right to watch all Secrets of home is more than any agent needs
		Confidential: true,
		Mirror: func(dst, src *corev1.Secret) {
			dst.Type, dst.Data, dst.Immutable = secretType(src), src.Data, src.Immutable
		},
		Referenced: func(namespace, name string) (bool, error) {
			all, known := pods.List(namespace)
			for _, pod := range all {
				if needs(pod, ourNode) && SecretsOf(&pod.Spec).Has(name) {
					return true, nil
				}
			}
			if !known {
				return false, errPodsUnknown
			}
			return false, nil
		},
		Stay: func(src *corev1.Secret) (string, error) {
			switch src.Type {
			case corev1.SecretTypeServiceAccountToken, corev1.SecretTypeBootstrapToken, helmRelease:
				return "Secrets of type " + string(src.Type) + " leave home only with annotation " +
					v1beta1.AnnotationAllowReflection, nil
			}
			return "", nil
		},
		// A pod that is replaced shall not cost two writes and a moment without its Secret; SEC-10 allows 30 s.
		Linger: 10 * time.Second,
		Replace: func(live, want *corev1.Secret) bool {
			same := equality.Semantic.DeepEqual(live.Data, want.Data)
			return live.Type != want.Type || frozen(live.Immutable, want.Immutable, same)
		},
		Watch: func(again func(namespace, name string)) {
			pods.OnChange(func(pod *corev1.Pod) {
				names := SecretsOf(&pod.Spec)
				if len(names) == 0 || !ourNode(pod.Spec.NodeName) {
					return
				}
				for name := range names {
					again(pod.Namespace, name)
				}
			})
		},
	}
}

// secretType is the type of the copy. The provider would take a token of a ServiceAccount for one of its own: it
// deletes one whose account it does not have, and fills in its own token where it has one of that name.
func secretType(src *corev1.Secret) corev1.SecretType {
	if src.Type == corev1.SecretTypeServiceAccountToken {
		return corev1.SecretTypeOpaque
	}
	return src.Type
}

// needs says whether a pod runs on the provider, or is going to.
func needs(pod *corev1.Pod, ourNode func(string) bool) bool {
	finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	return !finished && pod.Spec.NodeName != "" && ourNode(pod.Spec.NodeName)
}
