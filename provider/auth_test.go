package provider

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// needs says for every route which rights, of which one is enough, a request takes. It is written down once more here,
// so that a change of the endpoint's own table is noticed.
var needs = []struct {
	path    string
	methods []string
	rights  []string
}{
	{"/containerLogs/NS/web/app", get, []string{"get log", "get proxy"}},
	{"/exec/NS/web/app?command=id&output=1", every, []string{"create exec", "create proxy"}},
	{"/attach/NS/web/app?output=1", every, []string{"create attach", "create proxy"}},
	{"/portForward/NS/web", every, []string{"create portforward", "create proxy"}},
	{"/run/NS/web/app?cmd=id", every, []string{"create run", "create proxy"}},
	{"/pods", get, []string{"get pods", "get proxy"}},
	{"/runningpods/", get, []string{"get pods", "get proxy"}},
	{"/healthz", get, []string{"get healthz", "get proxy"}},
	{"/stats/summary", get, []string{"get stats"}},
	{"/metrics", get, []string{"get metrics"}},
	{"/metrics/resource", get, []string{"get metrics"}},
	{"/logs/", get, []string{"get log", "get proxy"}},
	{"/configz", get, []string{"get proxy"}},
	{"/debug/pprof/profile", get, []string{"get proxy"}},
	{"/", get, []string{"get proxy"}},
	{"/pods", []string{"POST"}, []string{"create pods", "create proxy"}},
	{"/", []string{"POST"}, []string{"create proxy"}},
	{"/checkpoint/NS/web/app", []string{"POST"}, []string{"create proxy"}},
}

var (
	get   = []string{"GET", "HEAD"}
	every = []string{"GET", "POST", "PUT", "DELETE", "OPTIONS"}
)

// gate is the endpoint as it is served, in front of a real API server that is asked about callers.
type gate struct {
	*shop
	address string
	admin   tls.Certificate
}

func (w *world) gate(t *testing.T, name string) *gate {
	t.Helper()
	g := &gate{shop: w.shop(t, name)}
	auth, err := DelegatedAuth(g.planes[0].Config())
	if err != nil {
		t.Fatal(err)
	}
	p, _ := g.agent(nil)
	streams, err := NewStreams(p, g.planes[1].Config(), 0)
	if err != nil {
		t.Fatal(err)
	}
	g.address = serveTLS(t, &Server{Pods: p, Auth: auth, Streams: streams})
	admin := g.planes[0].Config()
	if g.admin, err = tls.X509KeyPair(admin.CertData, admin.KeyData); err != nil {
		t.Fatal(err)
	}
	return g
}

// ask sends a request that would like to become a stream, and returns the answer's status.
func (g *gate) ask(method, path, bearer string, certificates ...tls.Certificate) int {
	g.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, Certificates: certificates, //nolint:gosec // its certificate is its own
	}}
	r, err := http.NewRequestWithContext(g.Context(), method,
		"https://"+g.address+strings.ReplaceAll(path, "NS", g.ns), nil)
	if err != nil {
		g.Fatal(err)
	}
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"},
		"X-Stream-Protocol-Version": {"v4.channel.k8s.io", "portforward.k8s.io"}}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		g.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// account makes a ServiceAccount that has one right on nodes, like "create exec", and returns its token.
func (g *gate) account(name, right string) string {
	g.Helper()
	must(g.T, g.home.CoreV1().ServiceAccounts(g.ns).Create,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}})
	out, err := g.home.CoreV1().ServiceAccounts(g.ns).CreateToken(g.Context(), name, &authenticationv1.TokenRequest{},
		metav1.CreateOptions{})
	if err != nil {
		g.Fatal(err)
	}
	verb, subresource, has := strings.Cut(right, " ")
	if !has {
		return out.Status.Token
	}
	unique := g.ns + "-" + name
	must(g.T, g.home.RbacV1().ClusterRoles().Create, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: unique}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""},
			Resources: []string{"nodes/" + subresource}, Verbs: []string{verb}}},
	})
	must(g.T, g.home.RbacV1().ClusterRoleBindings().Create, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: unique}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: unique},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: g.ns}},
	})
	g.eventually("the API server knows of the right", func() error {
		return mayDo(g.home, g, "system:serviceaccount:"+g.ns+":"+name, verb, subresource)
	})
	return out.Status.Token
}

// mayDo asks the API server itself, so that the endpoint, which remembers refusals, is not asked too early.
func mayDo(home kubernetes.Interface, g *gate, who, verb, subresource string) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who, Groups: []string{"system:serviceaccounts", "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Version: "v1", Resource: "nodes", Subresource: subresource, Name: g.node(),
		},
	}}
	out, err := home.AuthorizationV1().SubjectAccessReviews().Create(g.Context(), review, metav1.CreateOptions{})
	if err == nil && !out.Status.Allowed {
		err = errors.New("not yet")
	}
	return err
}

// TestEachRightOpensItsOwnDoors is SEC-01: route by method by identity, with a real API server that knows who is who.
func TestEachRightOpensItsOwnDoors(t *testing.T) {
	t.Parallel()
	g := newWorld(t).gate(t, "doors")
	nobody := map[string]func(method, path string) int{
		"anonymous":      func(method, path string) int { return g.ask(method, path, "") },
		"a forged token": func(method, path string) int { return g.ask(method, path, "forged") },
		"a certificate of another authority": func(method, path string) int {
			return g.ask(method, path, "", selfMade(t))
		},
	}
	g.eventually("client certificates are known", func() error { // the authority is read in the background
		if got := g.ask(http.MethodGet, "/pods", "", g.admin); got == http.StatusUnauthorized {
			return errors.New("not yet")
		}
		return nil
	})
	for who, ask := range nobody {
		t.Run(who, func(t *testing.T) { everyDoor(t, ask, func([]string) int { return http.StatusUnauthorized }) })
	}
	t.Run("somebody without rights", func(t *testing.T) {
		token := g.account("stranger", "")
		everyDoor(t, func(method, path string) int { return g.ask(method, path, token) },
			func([]string) int { return http.StatusForbidden })
	})
	for _, verb := range []string{"get", "create"} {
		for _, subresource := range []string{
			"log", "exec", "attach", "portforward", "run", "pods", "healthz", "stats", "metrics", "proxy",
		} {
			right := verb + " " + subresource
			t.Run(right, func(t *testing.T) {
				token := g.account(verb+"-"+subresource, right)
				everyDoor(t, func(method, path string) int { return g.ask(method, path, token) },
					func(rights []string) int {
						if slices.Contains(rights, right) {
							return http.StatusOK // or whatever is found behind the door
						}
						return http.StatusForbidden
					})
			})
		}
	}
	t.Run("the administrator", func(t *testing.T) {
		everyDoor(t, func(method, path string) int { return g.ask(method, path, "", g.admin) },
			func([]string) int { return http.StatusOK })
	})
}

// everyDoor tries all routes. Wanting 200 means: neither 401 nor 403.
func everyDoor(t *testing.T, ask func(method, path string) int, want func(rights []string) int) {
	t.Helper()
	for _, door := range needs {
		for _, method := range door.methods {
			got, want := ask(method, door.path), want(door.rights)
			shut := got == http.StatusUnauthorized || got == http.StatusForbidden
			if want == http.StatusOK && shut || want != http.StatusOK && got != want {
				t.Errorf("%s %s: want %d, got %d", method, door.path, want, got)
			}
		}
	}
}

// TestNoDetourLeadsIntoAContainer: who may only list pods tries every spelling of another route.
func TestNoDetourLeadsIntoAContainer(t *testing.T) {
	t.Parallel()
	g := newWorld(t).gate(t, "detours")
	token := g.account("lister", "get pods")
	if got := g.ask(http.MethodGet, "/pods", token); got == http.StatusForbidden {
		t.Fatal("its own door is shut")
	}
	for _, path := range []string{
		"/pods/../exec/NS/web/app?command=id&output=1", "//exec/NS/web/app?command=id&output=1",
		"/%65xec/NS/web/app?command=id&output=1", "/pods/%2e%2e/exec/NS/web/app?command=id&output=1",
		"/./exec/NS/web/app?command=id&output=1", "/EXEC/NS/web/app?command=id&output=1",
		"/exec/NS/web/app/?command=id&output=1", "/pods/..%2fexec/NS/web/app?command=id&output=1",
		"/pods//exec/NS/web/app?command=id&output=1", "/runningpods/../portForward/NS/web",
	} {
		for _, method := range every {
			switch got := g.ask(method, path, token); {
			case got == http.StatusForbidden, got == http.StatusNotFound, got == http.StatusMethodNotAllowed:
			case got >= 300 && got < 400: // to another path, for which is asked anew
			default:
				t.Errorf("%s %s: %d", method, path, got)
			}
		}
	}
}

// selfMade is a certificate that calls itself the administrator's, and is signed by itself.
func selfMade(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// mute is an authorizer that never answers.
type mute struct{ static }

func (*mute) Authorize(ctx context.Context, _ authorizer.Attributes) (authorizer.Decision, string, error) {
	if _, limited := ctx.Deadline(); !limited {
		return authorizer.DecisionAllow, "", nil // rather than wait for ever, say what the test must not see
	}
	return authorizer.DecisionNoOpinion, "", context.DeadlineExceeded
}

func TestNobodyWaitsForEverToBeAllowed(t *testing.T) {
	auth := Auth{authenticator: &mute{}, authorizer: &mute{}}
	handler := (&Server{Pods: NewPods(PodsOptions{}), Auth: auth}).Handler()
	r := httptest.NewRequest(http.MethodGet, "/pods", nil)
	r.Header.Set("Authorization", "Bearer good")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError {
		t.Errorf("want 500, got %d", w.Code)
	}
}

// others is the budget of the agent's other work at home.
type others struct {
	flowcontrol.RateLimiter
	used atomic.Int32
}

func (o *others) Wait(ctx context.Context) error {
	o.used.Add(1)
	return o.RateLimiter.Wait(ctx)
}

func TestStrangersUseUpNobodysBudget(t *testing.T) {
	var asked atomic.Int32
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{}}`))
	}))
	defer home.Close()
	budget := &others{RateLimiter: flowcontrol.NewFakeAlwaysRateLimiter()}
	auth, err := DelegatedAuth(&rest.Config{Host: home.URL, QPS: 100, Burst: 100, RateLimiter: budget})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/pods", nil)
	r.Header.Set("Authorization", "Bearer stolen")
	w := httptest.NewRecorder()
	auth.require(http.NotFoundHandler(), func(string) []string { return nil }).ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized || asked.Load() == 0 {
		t.Errorf("want 401 after a question, got %d after %d", w.Code, asked.Load())
	}
	if used := budget.used.Load(); used != 0 {
		t.Errorf("%d requests of the agent's own budget went to a stranger", used)
	}
}
