package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	certutil "k8s.io/client-go/util/cert"
)

// routes are all that a kubelet is known to serve, those that we have and those that we have not.
var routes = []struct{ method, path string }{
	{"GET", "/"}, {"GET", "/pods"}, {"GET", "/runningpods/"}, {"GET", "/healthz"}, {"GET", "/metrics"},
	{"GET", "/metrics/resource"}, {"GET", "/metrics/cadvisor"}, {"GET", "/stats/summary"}, {"GET", "/configz"},
	{"GET", "/logs/"}, {"GET", "/debug/pprof/profile"}, {"GET", "/containerLogs/shop/web/app"},
	{"GET", "/exec/shop/web/app"}, {"POST", "/exec/shop/web/app"}, {"GET", "/attach/shop/web/app"},
	{"POST", "/attach/shop/web/app"}, {"GET", "/portForward/shop/web"}, {"POST", "/portForward/shop/web"},
	{"POST", "/run/shop/web/app"}, {"GET", "//pods"}, {"GET", "/pods/../containerLogs/shop/web/app"}, {"PUT", "/pods"},
}

// static knows one token, and allows what the test says.
type static struct {
	allow func(authorizer.Attributes) (authorizer.Decision, error)
	asked []string
}

func (s *static) auth() Auth { return Auth{authenticator: s, authorizer: s} }

func (s *static) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	switch r.Header.Get("Authorization") {
	case "Bearer good":
		return &authenticator.Response{User: &user.DefaultInfo{Name: "caller"}}, true, nil
	case "Bearer broken":
		return nil, false, errors.New("the API server does not answer")
	default:
		return nil, false, nil
	}
}

func (s *static) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	s.asked = append(s.asked, fmt.Sprintf("%s %s/%s %s", a.GetVerb(), a.GetResource(), a.GetSubresource(), a.GetName()))
	d, err := s.allow(a)
	return d, "", err
}

func TestNothingIsServedToStrangers(t *testing.T) {
	for name, tc := range map[string]struct {
		token string
		allow func(authorizer.Attributes) (authorizer.Decision, error)
		want  int
	}{
		"anonymous":              {"", nil, http.StatusUnauthorized},
		"an unknown token":       {"Bearer bad", nil, http.StatusUnauthorized},
		"nobody can tell":        {"Bearer broken", nil, http.StatusUnauthorized},
		"known, and not allowed": {"Bearer good", decision(authorizer.DecisionDeny, nil), http.StatusForbidden},
		"known, and no opinion":  {"Bearer good", decision(authorizer.DecisionNoOpinion, nil), http.StatusForbidden},
		"nobody can tell of what": {
			"Bearer good", decision(authorizer.DecisionNoOpinion, errors.New("no")), http.StatusInternalServerError,
		},
		"an error with an allow": {
			"Bearer good", decision(authorizer.DecisionAllow, errors.New("no")), http.StatusInternalServerError,
		},
	} {
		t.Run(name, func(t *testing.T) {
			handler := (&Server{Pods: NewPods(PodsOptions{}), Auth: (&static{allow: tc.allow}).auth()}).Handler()
			for _, route := range routes {
				r := httptest.NewRequest(route.method, route.path, nil)
				r.Header.Set("Authorization", tc.token)
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != tc.want {
					t.Errorf("%s %s: want %d, got %d", route.method, route.path, tc.want, w.Code)
				}
			}
		})
	}
}

func decision(d authorizer.Decision, err error) func(authorizer.Attributes) (authorizer.Decision, error) {
	return func(authorizer.Attributes) (authorizer.Decision, error) { return d, err }
}

func TestWhatIsNotThereSaysSo(t *testing.T) {
	handler := (&Server{Pods: NewPods(PodsOptions{}), Auth: (&static{allow: decision(authorizer.DecisionAllow,
		nil)}).auth()}).Handler()
	for route, want := range map[string]int{
		"/containerLogs/shop/web/app": http.StatusNotFound, "/exec/shop/web/app": http.StatusNotImplemented,
		"/attach/shop/web/app": http.StatusNotImplemented, "/portForward/shop/web": http.StatusNotImplemented,
		"/pods": http.StatusOK, "/runningpods/": http.StatusOK, "/stats/summary": http.StatusNotFound,
		"/debug/pprof/profile": http.StatusNotFound, "/metrics": http.StatusNotFound,
		"/containerLogs/shop/web/app?tailLines=x": http.StatusBadRequest,
	} {
		r := httptest.NewRequest(http.MethodGet, route, nil)
		r.Header.Set("Authorization", "Bearer good")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: want %d, got %d: %s", route, want, w.Code, w.Body)
		}
	}
}

func TestAccess(t *testing.T) {
	for name, tc := range map[string]struct {
		method, path string
		want         []string
	}{
		"logs": {
			"GET", "/containerLogs/shop/web/app", []string{"get nodes/log", "get nodes/proxy"},
		},
		"exec by POST": {
			"POST", "/exec/shop/web/app", []string{"create nodes/exec", "create nodes/proxy"},
		},
		"exec by WebSocket": {
			"GET", "/exec/shop/web/app", []string{"create nodes/exec", "create nodes/proxy"},
		},
		"attach by WebSocket": {
			"GET", "/attach/shop/web/app", []string{"create nodes/attach", "create nodes/proxy"},
		},
		"port-forward by WebSocket": {
			"GET", "/portForward/shop/web", []string{"create nodes/portforward", "create nodes/proxy"},
		},
		"run":                        {"POST", "/run/shop/web/app", []string{"create nodes/run", "create nodes/proxy"}},
		"pods":                       {"GET", "/pods", []string{"get nodes/pods", "get nodes/proxy"}},
		"running pods":               {"GET", "/runningpods/", []string{"get nodes/pods", "get nodes/proxy"}},
		"stats":                      {"GET", "/stats/summary", []string{"get nodes/stats"}},
		"metrics":                    {"GET", "/metrics/resource", []string{"get nodes/metrics"}},
		"health":                     {"GET", "/healthz", []string{"get nodes/healthz", "get nodes/proxy"}},
		"anything else":              {"GET", "/debug/pprof", []string{"get nodes/proxy"}},
		"anything else by PUT":       {"PUT", "/", []string{"update nodes/proxy"}},
		"anything else by PATCH":     {"PATCH", "/", []string{"patch nodes/proxy"}},
		"anything else by DELETE":    {"DELETE", "/", []string{"delete nodes/proxy"}},
		"anything else by invention": {"BREW", "/", []string{"brew nodes/proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &static{allow: decision(authorizer.DecisionNoOpinion, nil)}
			p := NewPods(PodsOptions{})
			p.Serve("vn-1", nil)
			r := httptest.NewRequest(tc.method, tc.path, nil)
			r.Header.Set("Authorization", "Bearer good")
			(&Server{Pods: p, Auth: s.auth()}).Handler().ServeHTTP(httptest.NewRecorder(), r)
			var want []string
			for _, w := range tc.want {
				want = append(want, w+" vn-1")
			}
			if diff := cmp.Diff(want, s.asked); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

// What names no pod of ours is about every Node that we serve, and without any about all there are.
func TestEveryNodeIsAskedFor(t *testing.T) {
	for name, tc := range map[string]struct {
		nodes, want []string
	}{
		"none": {nil, []string{"get nodes/pods "}},
		"two":  {[]string{"vn-2", "vn-1"}, []string{"get nodes/pods vn-1", "get nodes/pods vn-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &static{allow: decision(authorizer.DecisionAllow, nil)}
			p := NewPods(PodsOptions{})
			for _, n := range tc.nodes {
				p.Serve(n, nil)
			}
			r := httptest.NewRequest(http.MethodGet, "/pods", nil)
			r.Header.Set("Authorization", "Bearer good")
			(&Server{Pods: p, Auth: s.auth()}).Handler().ServeHTTP(httptest.NewRecorder(), r)
			if diff := cmp.Diff(tc.want, s.asked); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

// serveTLS starts the endpoint and returns its address.
func serveTLS(t *testing.T, s *Server) string {
	t.Helper()
	address, _ := serve(t, s)
	return address
}

// serve is serveTLS for tests that stop the endpoint themselves.
func serve(t *testing.T, s *Server) (at string, stop func()) {
	t.Helper()
	address := make(chan string, 1)
	s.IP, s.Listening = "127.0.0.1", func(a net.Addr) { address <- a.String() }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case a := <-address:
		return a, stop
	case err := <-done:
		t.Fatal(err)
		return "", nil
	}
}

func TestOnlyTLSIsSpoken(t *testing.T) {
	address := serveTLS(t, &Server{Pods: NewPods(PodsOptions{}), Auth: (&static{}).auth()})
	insecure := func(maximum uint16) *http.Client {
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10,
				MaxVersion: maximum}}} //nolint:gosec // that is the test
	}
	if resp, err := insecure(tls.VersionTLS11).Get("https://" + address + "/pods"); err == nil {
		t.Errorf("TLS 1.1 is spoken: %s", resp.Status)
	}
	resp, err := insecure(0).Get("https://" + address + "/pods")
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("want 401, got %v, %v", resp, err)
	}
	if resp, err := http.Get("http://" + address + "/pods"); err == nil && resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is spoken: %s", resp.Status)
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func(host string) {
		t.Helper()
		c, k, err := certutil.GenerateSelfSignedCertKey(host, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(key, k, 0o600), os.WriteFile(cert, c, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("first.example")
	address := serveTLS(t, &Server{Pods: NewPods(PodsOptions{}), Auth: (&static{}).auth(), CertFile: cert,
		KeyFile: key})
	serves := func(host string) bool {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // read below
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].VerifyHostname(host) == nil
	}
	if !serves("first.example") {
		t.Fatal("the certificate of the file is not served")
	}
	write("second.example")
	deadline := time.After(converges)
	for !serves("second.example") {
		select {
		case <-deadline:
			t.Fatal("the new certificate is not served")
		case <-time.After(poll):
		}
	}
	missing := &Server{Pods: NewPods(PodsOptions{}), Auth: (&static{}).auth(), CertFile: filepath.Join(dir, "none"),
		KeyFile: key}
	if err := missing.Start(t.Context()); err == nil {
		t.Error("a missing certificate is not told")
	}
}

// TestDelegatedAuth asks a real API server, as the agent does.
func TestDelegatedAuth(t *testing.T) {
	w := newWorld(t)
	s := w.shop(t, "shop")
	auth, err := DelegatedAuth(s.planes[0].Config())
	if err != nil {
		t.Fatal(err)
	}
	token := func(account string) string {
		must(t, s.home.CoreV1().ServiceAccounts(s.ns).Create,
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}})
		out, err := s.home.CoreV1().ServiceAccounts(s.ns).CreateToken(t.Context(), account,
			&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return out.Status.Token
	}
	allowed, stranger := token("reader"), token("stranger")
	must(t, s.home.RbacV1().ClusterRoles().Create, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes/log"},
			Verbs: []string{"get"}}},
	})
	must(t, s.home.RbacV1().ClusterRoleBindings().Create, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reader", Namespace: s.ns}},
	})
	p, _ := s.agent(nil)
	address := serveTLS(t, &Server{Pods: p, Auth: auth})

	config := tls.Config{InsecureSkipVerify: true} //nolint:gosec // its certificate is its own
	admin := s.planes[0].Config()
	if len(admin.CertData) > 0 {
		pair, err := tls.X509KeyPair(admin.CertData, admin.KeyData)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	ask := func(path, bearer string, certificate bool) (int, string) {
		t.Helper()
		c := config.Clone()
		if !certificate {
			c.Certificates = nil
		}
		transport := &http.Transport{TLSClientConfig: c}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	logs := "/containerLogs/" + s.ns + "/web/app"
	for _, tc := range []struct {
		who, path, bearer string
		certificate       bool
		want              int
	}{
		{"anonymous", logs, "", false, http.StatusUnauthorized},
		{"a forged token", logs, "forged", false, http.StatusUnauthorized},
		{"a stranger", logs, stranger, false, http.StatusForbidden},
		{"who may read logs, of a pod that is not there", logs, allowed, false, http.StatusNotFound},
		{"who may read logs, of pods", "/pods", allowed, false, http.StatusForbidden},
		{"who may read logs, of metrics", "/metrics", allowed, false, http.StatusForbidden},
	} {
		if got, body := ask(tc.path, tc.bearer, tc.certificate); got != tc.want {
			t.Errorf("%s: want %d, got %d: %s", tc.who, tc.want, got, body)
		}
	}
	if len(config.Certificates) == 0 {
		t.Fatal("the admin of a plane has no client certificate: the way of kube-apiserver is not covered")
	}
	s.eventually("a client certificate is accepted", func() error { // the CA is read in the background
		if got, body := ask(logs, "", true); got != http.StatusNotFound {
			return fmt.Errorf("%d: %s", got, strings.TrimSpace(body))
		}
		return nil
	})
}
