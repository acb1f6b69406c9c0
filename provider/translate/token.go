package translate

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// How long a token of home lives that leaves home, in seconds: what the pod asks for within these bounds. The API
// server gives none that is shorter, and nobody should hold one that is longer.
const (
	minTokenSeconds = 600
	maxTokenSeconds = 3600
)

// tokenPrefix begins the names of the Secrets that hold tokens.
const tokenPrefix = "liqo-token-"

// The variables by which in-cluster clients find the API server.
const (
	envHost = "KUBERNETES_SERVICE_HOST"
	envPort = "KUBERNETES_SERVICE_PORT"
)

// Access is how remote pods reach an API server.
type Access struct {
	// Default is for pods that do not say it themselves: [v1beta1.APIServerSupportHome] or, also when it is empty,
	// [v1beta1.APIServerSupportDisabled].
	Default string
	// Host and Port are where a pod on the provider reaches home's API server. An empty Host means nowhere.
	Host, Port string
}

// Support returns which API server the credentials of a home pod are for.
func (a Access) Support(home *corev1.Pod) string {
	return cmp.Or(home.Annotations[v1beta1.AnnotationAPIServerSupport], a.Default, v1beta1.APIServerSupportDisabled)
}

func (a Access) refuse(home *corev1.Pod) string {
	switch support := a.Support(home); support {
	case v1beta1.APIServerSupportDisabled, v1beta1.APIServerSupportRemote:
		return ""
	case v1beta1.APIServerSupportHome:
		if a.Host != "" {
			return ""
		}
		return fmt.Sprintf("annotation %s is %s, and the agent does not know where a provider reaches home's API "+
			"server: run it with --home-api-server", v1beta1.AnnotationAPIServerSupport, support)
	default:
		return fmt.Sprintf("annotation %s: must be %s, %s or %s, not %q", v1beta1.AnnotationAPIServerSupport,
			v1beta1.APIServerSupportDisabled, v1beta1.APIServerSupportHome, v1beta1.APIServerSupportRemote, support)
	}
}

// point directs in-cluster clients to home's API server. A variable that the user has set is left alone.
func (a Access) point(s *corev1.PodSpec) {
	if a.Host == "" {
		return
	}
	eachContainer(s, func(c *corev1.Container) {
		// The first ones, so that later ones may refer to them. In reverse, as each goes before the others.
		for _, v := range []corev1.EnvVar{{Name: envPort, Value: a.Port}, {Name: envHost, Value: a.Host}} {
			if !slices.ContainsFunc(c.Env, func(has corev1.EnvVar) bool { return has.Name == v.Name }) {
				c.Env = slices.Insert(c.Env, 0, v)
			}
		}
	})
}

// Token is one token of home that a remote pod mounts.
type Token struct {
	// Key is where it is in the Secret that [TokenSecret] names.
	Key string
	// Audience is whom it is for; empty means home's API server.
	Audience string
	// Seconds is how long it shall live.
	Seconds int64
}

// Tokens returns the tokens of home that the remote pod of a home pod mounts.
func (a Access) Tokens(home *corev1.Pod) []Token {
	if a.Support(home) != v1beta1.APIServerSupportHome {
		return nil
	}
	var out tokens
	for _, v := range home.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.ServiceAccountToken != nil {
				out.key(source.ServiceAccountToken)
			}
		}
	}
	return out
}

// TokenSecret returns the name of the Secret in the twin that holds the tokens of a home pod. It is another one for
// each pod, also of the same name, so that nobody mounts a predecessor's.
func TokenSecret(home types.UID) string { return tokenPrefix + string(home) }

// tokens are in the order in which the volumes, which never change, mention them.
type tokens []Token

// key returns the key of a token, which is a new one unless an equal one is there.
func (t *tokens) key(p *corev1.ServiceAccountTokenProjection) string {
	seconds := min(max(ptr.Deref(p.ExpirationSeconds, maxTokenSeconds), minTokenSeconds), maxTokenSeconds)
	for _, has := range *t {
		if has.Audience == p.Audience && has.Seconds == seconds {
			return has.Key
		}
	}
	added := Token{Key: fmt.Sprintf("token-%d", len(*t)), Audience: p.Audience, Seconds: seconds}
	*t = append(*t, added)
	return added.Key
}

// mountTokens replaces each token that a kubelet would ask for by one that the agent asks home for.
func mountTokens(s *corev1.PodSpec, home types.UID) {
	var known tokens
	for _, v := range s.Volumes {
		if v.Projected == nil {
			continue
		}
		for i, source := range v.Projected.Sources {
			token := source.ServiceAccountToken
			if token == nil {
				continue
			}
			v.Projected.Sources[i] = corev1.VolumeProjection{Secret: &corev1.SecretProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: TokenSecret(home)},
				Items:                []corev1.KeyToPath{{Key: known.key(token), Path: token.Path}},
			}}
		}
	}
}
