package env_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// through returns a client that reaches the cluster through its link, on a connection of its own.
func through(t *testing.T, c *env.Cluster, cfg *rest.Config) *kubernetes.Clientset {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	cfg.Host, cfg.Timeout, cfg.QPS = c.ProxiedServer(), 30*time.Second, -1

	return kubernetes.NewForConfigOrDie(cfg)
}

// setLink sets the link until the end of the test.
func setLink(t *testing.T, e *env.Env, cluster, text string) {
	t.Helper()
	mode, err := env.ParseMode(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.SetLink(t.Context(), cluster, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.SetLink(context.Background(), cluster, env.Mode{Kind: env.Heal}); err != nil {
			t.Error(err)
		}
	})
}

func whoAmI(ctx context.Context, cs kubernetes.Interface) (authenticationv1.UserInfo, error) {
	review, err := cs.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{},
		metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

func TestAPIServersBehindGateways(t *testing.T) {
	e := env.Start(t, env.Options{
		Providers: 1, Bare: true, Gateways: true,
		APIServer: []string{"--default-not-ready-toleration-seconds=7"},
	})
	home, away := e.Consumer(), e.Cluster(env.ProviderName(1))

	t.Run("everybody is who he is, at home and away", func(t *testing.T) {
		for _, c := range e.Clusters() {
			create(t, c, build.Namespace("who").Obj(), &corev1.ServiceAccount{
				ObjectMeta: metav1.ObjectMeta{Namespace: "who", Name: "joe"},
			})
			joe, err := c.ConfigFor(t.Context(), "who", "joe")
			if err != nil {
				t.Fatal(err)
			}
			for name, cfg := range map[string]*rest.Config{
				"admin": c.Config(), "system:serviceaccount:who:joe": joe,
			} {
				direct, err := whoAmI(t.Context(), kubernetes.NewForConfigOrDie(cfg))
				if err != nil {
					t.Fatal(err)
				}
				got, err := whoAmI(t.Context(), through(t, c, cfg))
				if err != nil || got.Username != name || !slices.Equal(got.Groups, direct.Groups) {
					t.Errorf("%s is %v (%v) at %s, without a link %v", name, got, err, c.Name, direct)
				}
			}
		}
	})
	t.Run("watches hear at once what happens", func(t *testing.T) {
		cs := through(t, home, home.Config())
		watcher, err := cs.CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer watcher.Stop()
		create(t, home, build.Namespace("seen").Obj())
		heard(t, watcher, func(e watch.Event) bool {
			ns, ok := e.Object.(*corev1.Namespace)
			return ok && e.Type == watch.Added && ns.Name == "seen"
		})
	})
	t.Run("what is done may go unheard", func(t *testing.T) {
		setLink(t, e, away.Name, "commitcut=create namespaces")
		cs := through(t, away, away.Config())
		_, err := cs.CoreV1().Namespaces().Create(t.Context(), build.Namespace("unheard").Obj(), metav1.CreateOptions{})
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("it ends with %v, want a reset connection", err)
		}
		if _, err := cs.CoreV1().Namespaces().Get(t.Context(), "unheard", metav1.GetOptions{}); err != nil {
			t.Errorf("it was not done: %v", err)
		}
		if _, err := cs.CoreV1().ConfigMaps("unheard").Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: "other"},
		}, metav1.CreateOptions{}); err != nil {
			t.Errorf("something else: %v", err)
		}
	})
	t.Run("too many requests are refused", func(t *testing.T) {
		setLink(t, e, away.Name, "throttle=5")
		cfg := away.Config()
		cfg.Host = away.ProxiedServer()
		raw, err := rest.HTTPClientFor(cfg)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for range 20 {
			answer, err := raw.Get(away.ProxiedServer() + "/version")
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused == 0 {
			t.Error("none of 20 requests at once was refused")
		}
		// Clients wait as they are told.
		if _, err := whoAmI(t.Context(), through(t, away, away.Config())); err != nil {
			t.Error(err)
		}
	})
	t.Run("connections are reset", func(t *testing.T) {
		setLink(t, e, home.Name, "reset=100%")
		if _, err := whoAmI(t.Context(), through(t, home, home.Config())); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("it ends with %v, want a reset connection", err)
		}
		setLink(t, e, home.Name, "heal")
		if _, err := whoAmI(t.Context(), through(t, home, home.Config())); err != nil {
			t.Errorf("after healing: %v", err)
		}
	})
	t.Run("a server that was killed is as before when it is back", func(t *testing.T) {
		cs := through(t, home, home.Config())
		before := commandLine(t, e, home.Name, env.APIServer)
		if err := e.Kill(t.Context(), home.Name, env.APIServer); err != nil {
			t.Fatal(err)
		}
		_, err := whoAmI(t.Context(), cs)
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("while it is down: %v", err)
		}
		// Another command, which knows only what is written down.
		later, err := env.Open(e.Dir(), e.Bin())
		if err != nil {
			t.Fatal(err)
		}
		if err := later.Start(t.Context(), home.Name, env.APIServer); err != nil {
			t.Fatal(err)
		}
		after := commandLine(t, later, home.Name, env.APIServer)
		if before != after || !strings.Contains(after, "--default-not-ready-toleration-seconds=7") {
			t.Errorf("it was started as %s, and then as %s", before, after)
		}
		if _, err := whoAmI(t.Context(), cs); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("a link that was killed does what it did", func(t *testing.T) {
		setLink(t, e, away.Name, "cut")
		if err := errors.Join(e.Kill(t.Context(), away.Name, env.LinkProxy),
			e.Start(t.Context(), away.Name, env.LinkProxy)); err != nil {
			t.Fatal(err)
		}
		if _, err := whoAmI(t.Context(), through(t, away, away.Config())); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("it ends with %v, want a refusal", err)
		}
	})
}

// heard waits for an event.
func heard(t *testing.T, watcher watch.Interface, want func(watch.Event) bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case event, open := <-watcher.ResultChan():
			if !open {
				t.Fatal("the watch ended")
			}
			if want(event) {
				return
			}
		case <-deadline:
			t.Fatal("it was not heard of")
		}
	}
}

// commandLine returns how a component's process was started.
func commandLine(t *testing.T, e *env.Env, cluster, component string) string {
	t.Helper()
	for _, p := range e.Processes() {
		if p.Cluster == cluster && p.Component == component {
			raw, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/cmdline")
			if err != nil {
				t.Fatal(err)
			}
			return strings.ReplaceAll(string(raw), "\x00", " ")
		}
	}
	t.Fatalf("%s of %s was never started", component, cluster)
	return ""
}

func TestCompactedRevisionsAreGone(t *testing.T) {
	e := env.Start(t, env.Options{Bare: true})
	home := e.Consumer()
	maps := kubernetes.NewForConfigOrDie(home.Config()).CoreV1().ConfigMaps(metav1.NamespaceDefault)
	for _, name := range []string{"a", "b", "c"} {
		meta := metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}
		create(t, home, &corev1.ConfigMap{ObjectMeta: meta})
	}
	page, err := maps.List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil || page.Continue == "" {
		t.Fatalf("there is one page only (%v)", err)
	}
	create(t, home, build.Namespace("later").Obj())

	if err := e.Compact(t.Context(), home.Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second page is gone", func(ctx context.Context) bool {
		_, err = maps.List(ctx, metav1.ListOptions{Limit: 1, Continue: page.Continue})
		return apierrors.IsResourceExpired(err)
	})
	// Again, without a change in between; and etcd that was killed has everything when it is back.
	for _, step := range []func() error{
		func() error { return e.Compact(t.Context(), home.Name) },
		func() error { return e.Kill(t.Context(), home.Name, env.Etcd) },
		func() error { return e.Start(t.Context(), home.Name, env.Etcd) },
		func() error { return e.Restart(t.Context(), home.Name, env.APIServer) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := home.Client().Get(t.Context(), client.ObjectKey{Name: "later"}, &corev1.Namespace{}); err != nil {
		t.Errorf("after a crash of etcd: %v", err)
	}
	watcher, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: page.ResourceVersion})
	if err == nil {
		defer watcher.Stop()
		event, open := <-watcher.ResultChan()
		err = apierrors.FromObject(event.Object)
		if !open || event.Type != watch.Error {
			t.Errorf("the watch goes on with %v", event)
		}
	}
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("a watch from before: %v, want 410", err)
	}

	var usage *env.UsageError
	if err := e.Compact(t.Context(), "nowhere"); !errors.As(err, &usage) {
		t.Errorf("error is %v", err)
	}
}
