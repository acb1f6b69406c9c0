package env_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// It is a playground as the fault lab has them: everything of ours twice, and every link a gateway.
func TestOurComponentsWorkBehindGateways(t *testing.T) {
	e := env.Start(t, env.Options{
		Providers: 1, Nodes: 1, Peer: true, Gateways: true, Replicas: 2, Exec: true,
		ControllerManager: []string{"--node-monitor-grace-period=20s"},
	})
	home, away := e.Consumer(), e.Cluster(env.ProviderName(1))
	agents := e.Replicas(env.AgentOf(away.Name))

	t.Run("all replicas are well", func(t *testing.T) {
		for _, name := range append(agents, e.Replicas(env.Manager)...) {
			if _, err := home.Ask(t.Context(), name, "/readyz"); err != nil {
				t.Error(err)
			}
		}
		for _, s := range e.Status(t.Context()) {
			if s.Problem != "" {
				t.Errorf("%s of %s: %s", s.Component, s.Cluster, s.Problem)
			}
		}
	})
	if output, err := e.Liqoctl(t.Context(), "offload", "namespace", metav1.NamespaceDefault,
		"--pod-offloading-strategy=Remote", "--timeout=2m"); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	create(t, home, build.Pod("web").Obj())
	pod := phase(t, home, "web", corev1.PodRunning)
	if pod.Spec.NodeName != away.Name {
		t.Fatalf("it runs on %s", pod.Spec.NodeName)
	}

	// By the agent, which reaches the provider through its gateway, and as a person would.
	twin := metav1.NamespaceDefault + "-" + home.Name
	direct := away.Config()
	direct.Host = away.ProxiedServer()
	for name, at := range map[string]stream{
		"through the agent":   {home.Config(), metav1.NamespaceDefault},
		"through the gateway": {direct, twin},
	} {
		t.Run("streams pass "+name, func(t *testing.T) {
			at.exec(t)
			at.forward(t)
			at.follow(t, away)
		})
	}
	t.Run("requests of ours pass the link of home", func(t *testing.T) {
		setLink(t, e, home.Name, "cut")
		renewed := func(ctx context.Context) time.Time {
			var lease coordinationv1.Lease
			key := client.ObjectKey{Namespace: corev1.NamespaceNodeLease, Name: away.Name}
			if err := home.Client().Get(ctx, key, &lease); err != nil {
				t.Fatal(err)
			}
			return lease.Spec.RenewTime.Time
		}
		eventually(t, "the virtual node is not heard of", func(ctx context.Context) bool {
			return ready(ctx, home, away.Name) == corev1.ConditionUnknown
		})
		if age := time.Since(renewed(t.Context())); age < 15*time.Second {
			t.Errorf("its lease was renewed %s ago", age)
		}
		// Whose request passes no link sees nothing of it.
		create(t, home, build.Namespace("meanwhile").Obj())
		setLink(t, e, home.Name, "heal")
		eventually(t, "the virtual node is back", func(ctx context.Context) bool {
			return ready(ctx, home, away.Name) == corev1.ConditionTrue
		})
	})
	t.Run("what crashes is kept", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		said, ended := make(chan env.Restarted, 100), make(chan struct{})
		go func() {
			e.Keep(ctx, func(r env.Restarted) { said <- r })
			close(ended)
		}()
		defer func() { stop(); <-ended }()
		for _, name := range []string{env.Manager, agents[0], env.Scheduler} {
			well := func(ctx context.Context) bool {
				_, err := home.Ask(ctx, name, "/readyz")
				return err == nil
			}
			eventually(t, name+" is well", well)
			if err := e.Signal(home.Name, name, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for r := range said { // those that led while home was cut gave up and ended
				if r.Err != nil {
					t.Errorf("it says %+v", r)
				}
				if r.Component == name && r.How == "signal: killed" {
					break
				}
			}
			eventually(t, name+" is well again", well)
		}
		create(t, home, build.Pod("later").Obj())
		phase(t, home, "later", corev1.PodRunning)
	})
}

func ready(ctx context.Context, c *env.Cluster, node string) corev1.ConditionStatus {
	var n corev1.Node
	if err := c.Client().Get(ctx, client.ObjectKey{Name: node}, &n); err != nil {
		return ""
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status
		}
	}
	return ""
}

// stream is where pod web is reached.
type stream struct {
	config    *rest.Config
	namespace string
}

func (s stream) url(subresource string, options *corev1.PodExecOptions) *rest.Request {
	r := kubernetes.NewForConfigOrDie(s.config).CoreV1().RESTClient().Post().
		Resource("pods").Namespace(s.namespace).Name("web").SubResource(subresource)
	if options != nil {
		r = r.VersionedParams(options, scheme.ParameterCodec)
	}
	return r
}

func (s stream) exec(t *testing.T) {
	t.Helper()
	at := s.url("exec", &corev1.PodExecOptions{Command: []string{"cat"}, Stdin: true, Stdout: true}).URL()
	legacy, err := remotecommand.NewSPDYExecutor(s.config, http.MethodPost, at)
	if err != nil {
		t.Fatal(err)
	}
	modern, err := remotecommand.NewWebSocketExecutor(s.config, http.MethodGet, at.String())
	if err != nil {
		t.Fatal(err)
	}
	for name, executor := range map[string]remotecommand.Executor{"SPDY": legacy, "WebSocket": modern} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var heard strings.Builder
		out := output(func(text string) {
			if heard.WriteString(text); heard.Len() >= len("hello") {
				cancel() // the fake kubelet does not tell the program that its input ends
			}
		})
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{
			Stdin: strings.NewReader("hello"), Stdout: out,
		})
		cancel()
		if heard.String() != "hello" {
			t.Errorf("exec by %s: %q, %v", name, heard.String(), err)
		}
	}
}

type output func(text string)

func (o output) Write(text []byte) (int, error) {
	o(string(text))
	return len(text), nil
}

func (s stream) forward(t *testing.T) {
	t.Helper()
	transport, upgrader, err := spdy.RoundTripperFor(s.config)
	if err != nil {
		t.Fatal(err)
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost,
		s.url("portforward", nil).URL())
	stop, open := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.New(dialer, []string{"0:80"}, stop, open, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	defer func() { close(stop); <-ended }()
	select {
	case <-open:
	case err := <-ended:
		ended <- nil
		t.Errorf("forward a port: %v", err)
		return
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d", ports[0].Local))
	if err != nil {
		t.Errorf("ask at a forwarded port: %v", err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	if page, err := io.ReadAll(answer.Body); !strings.Contains(string(page), "hello from cluster") {
		t.Errorf("the page is %q, %v", page, err)
	}
}

// follow reads a log as far as it goes, and what comes then.
func (s stream) follow(t *testing.T, c *env.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request := kubernetes.NewForConfigOrDie(s.config).CoreV1().Pods(s.namespace).
		GetLogs("web", &corev1.PodLogOptions{Follow: true})
	log, err := request.Stream(ctx)
	if err != nil {
		t.Errorf("follow the log: %v", err)
		return
	}
	defer func() { _ = log.Close() }()
	lines := bufio.NewScanner(log)
	if !lines.Scan() || !strings.Contains(lines.Text(), "hello from cluster "+c.Name) {
		t.Errorf("the log begins with %q, %v", lines.Text(), lines.Err())
	}
}
