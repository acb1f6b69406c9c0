package provider

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// How long answers of the API server are believed: a kubelet's own defaults.
const (
	authenticationTTL = 2 * time.Minute
	allowedTTL        = 5 * time.Minute
	deniedTTL         = 30 * time.Second
)

// Auth tells who calls and what they may do. Both are asked of home's API server.
type Auth struct {
	authenticator authenticator.Request
	authorizer    authorizer.Authorizer
	// runner keeps what the authenticator knows up to date; nil when there is nothing to keep.
	runner func(ctx context.Context)
}

// DelegatedAuth asks home's API server: client certificates are checked against its client CA, tokens by TokenReview,
// and rights by SubjectAccessReview. Nobody is anonymous. It has a budget of requests of its own: strangers make us ask
// as often as they like, and the leases of the Nodes must not wait for that.
func DelegatedAuth(config *rest.Config) (Auth, error) {
	config = rest.CopyConfig(config)
	config.RateLimiter = nil // it follows from QPS and Burst
	home, err := kubernetes.NewForConfig(config)
	if err != nil {
		return Auth{}, fmt.Errorf("make a client of home: %w", err)
	}
	ca := &clientCA{home: home, clock: clock.RealClock{}}
	backoff := &wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2, Steps: 3}
	authn, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient: home.AuthenticationV1(), TokenAccessReviewTimeout: callTimeout,
		WebhookRetryBackoff: backoff, CacheTTL: authenticationTTL, ClientCertificateCAContentProvider: ca,
	}.New()
	if err != nil {
		return Auth{}, fmt.Errorf("set up authentication: %w", err)
	}
	authz, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: home.AuthorizationV1(), AllowCacheTTL: allowedTTL, DenyCacheTTL: deniedTTL,
		WebhookRetryBackoff: backoff,
	}.New()
	if err != nil {
		return Auth{}, fmt.Errorf("set up authorization: %w", err)
	}
	return Auth{authenticator: authn, authorizer: authz, runner: ca.run}, nil
}

func (a Auth) run(ctx context.Context) {
	if a.runner != nil {
		a.runner(ctx)
	}
}

// require lets a request through to next when its caller is known, and may do this on every Node that it is about.
func (a Auth) require(next http.Handler, nodesFor func(path string) []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, ok, err := a.authenticator.AuthenticateRequest(r)
		if err != nil || !ok {
			if err != nil {
				log.FromContext(r.Context()).V(1).Info("Cannot authenticate", "err", err.Error())
			}
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		for _, node := range nodesFor(r.URL.Path) {
			allowed, err := a.allows(r, caller.User, node)
			if err != nil {
				log.FromContext(r.Context()).Error(err, "Cannot authorize", "user", caller.User.GetName())
				http.Error(w, "authorization is not available", http.StatusInternalServerError)
				return
			}
			if !allowed {
				verb, resources := access(r.Method, r.URL.Path)
				http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v, name=%s)",
					caller.User.GetName(), verb, resources, node), http.StatusForbidden)
				return
			}
		}
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	})
}

// allows asks for one subresource after the other: one that is allowed is enough. Unlike the authenticator, the
// authorizer would wait for ever.
func (a Auth) allows(r *http.Request, caller user.Info, node string) (bool, error) {
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	verb, subresources := access(r.Method, r.URL.Path)
	for _, subresource := range subresources {
		decision, _, err := a.authorizer.Authorize(ctx, authorizer.AttributesRecord{
			User: caller, Verb: verb, APIVersion: "v1", Resource: "nodes", Subresource: subresource, Name: node,
			ResourceRequest: true, Path: r.URL.Path,
		})
		if err != nil {
			return false, err
		}
		if decision == authorizer.DecisionAllow {
			return true, nil
		}
	}
	return false, nil
}

// access says what a request does to a Node: the fine-grained subresource first, and where kubelets take it, proxy,
// which stands for everything. What runs something is a creation, whatever the method: a WebSocket begins with GET.
func access(method, path string) (verb string, subresources []string) {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch strings.ToLower(first) {
	case "containerlogs", "logs":
		return verbOf(method), []string{"log", "proxy"}
	case "exec", "attach", "portforward", "run":
		return "create", []string{strings.ToLower(first), "proxy"}
	case "pods", "runningpods":
		return verbOf(method), []string{"pods", "proxy"}
	case "healthz":
		return verbOf(method), []string{"healthz", "proxy"}
	case "stats":
		return verbOf(method), []string{"stats"}
	case "metrics":
		return verbOf(method), []string{"metrics"}
	default:
		return verbOf(method), []string{"proxy"}
	}
}

func verbOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	default:
		return strings.ToLower(method)
	}
}
