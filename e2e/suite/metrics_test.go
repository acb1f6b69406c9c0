package suite

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/twinspace/twinspace/e2e/build"
)

// O9, O10: figures that a provider measures reach `kubectl top` and an autoscaler at home, through the agent's endpoint
// under the certificate that the cluster signed for it. The two metrics-servers are played.
func TestWhatPodsUseIsSeenAtHomeAndScalesThem(t *testing.T) {
	w := newWorld(t, "busy")
	w.remote()
	w.create(build.Deployment("web").Namespace(w.ns).Replicas(1).PodSpec(func(spec *corev1.PodSpec) {
		spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	}).Obj())
	w.running(1)
	for _, cluster := range playground.Clusters() {
		w.Expect(cluster.ServeMetrics(w.ctx)).To(Succeed())
		t.Cleanup(func() {
			if err := cluster.StopMetrics(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	w.create(&autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{
				APIVersion: "apps/v1", Kind: "Deployment", Name: "web",
			},
			MinReplicas: ptr.To[int32](1), MaxReplicas: 3,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
					Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{
						Type: autoscalingv2.UtilizationMetricType, AverageUtilization: ptr.To[int32](100),
					},
				},
			}},
		},
	})

	// Each pod uses three times what it asks for, so the autoscaler wants three, and no more is allowed.
	servers := w.metricsServers("300m")
	w.Eventually(func(g Gomega) {
		g.Expect(servers.turn(w.ctx)).To(Succeed())
		pods, err := w.pods(w.home, w.ns)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pods).To(HaveLen(3))
	}).WithTimeout(2 * later).Should(Succeed())
	pods := w.running(3)
	w.Eventually(func(g Gomega) {
		g.Expect(servers.turn(w.ctx)).To(Succeed())
		out, err := w.top("pods")
		g.Expect(err).NotTo(HaveOccurred(), out)
		for _, pod := range pods {
			g.Expect(out).To(MatchRegexp(regexp.QuoteMeta(pod.Name)+` +(29\d|30\d)m +64Mi`), "kubectl top pods")
		}
		out, err = w.top("nodes")
		g.Expect(err).NotTo(HaveOccurred(), out)
		g.Expect(out).To(MatchRegexp(`provider-\d +\d+m +\d+% +\d+Mi`), "kubectl top nodes")
	}).Should(Succeed())
}

// top runs kubectl top at home, which fails as long as there are no figures.
func (w *world) top(what string) (string, error) {
	w.t.Helper()
	cmd := exec.CommandContext(w.ctx, filepath.Join(playground.Bin(), "playground"),
		"--kubeconfig", playground.Consumer().Kubeconfig, "--namespace", w.ns, "top", what)
	cmd.Args[0] = "kubectl" // by this name it is kubectl
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// metricsServers plays the metrics-server of each provider, which measures, and the one at home, which reads the
// agents' endpoints with the right that metrics-server has, and computes rates as it does.
type metricsServers struct {
	w       *world
	cpu     resource.Quantity
	clients map[string]client.Client
	scraper *http.Client
	token   string
	before  map[string]scrape
}

// scrape is one answer of /metrics/resource: each value under its name and labels, and when it was measured.
type scrape struct {
	values map[string]float64
	times  map[string]time.Time
}

func (w *world) metricsServers(cpu string) *metricsServers {
	w.t.Helper()
	m := &metricsServers{w: w, cpu: resource.MustParse(cpu), clients: map[string]client.Client{}}
	m.before = map[string]scrape{}
	scheme := runtime.NewScheme()
	w.Expect(metricsv1beta1.AddToScheme(scheme)).To(Succeed())
	for _, cluster := range playground.Clusters() {
		w.Eventually(func() error { // its kinds are not known at once
			c, err := client.New(cluster.Config(), client.Options{Scheme: scheme})
			m.clients[cluster.Name] = c
			return errors.Join(err, c.List(w.ctx, &metricsv1beta1.PodMetricsList{}))
		}).Should(Succeed())
	}
	w.create(
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "metrics-server"}},
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "metrics-server-" + w.ns},
			Rules: []rbacv1.PolicyRule{{
				APIGroups: []string{""}, Resources: []string{"nodes/metrics"}, Verbs: []string{"get"},
			}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "metrics-server-" + w.ns},
			RoleRef: rbacv1.RoleRef{
				APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "metrics-server-" + w.ns,
			},
			Subjects: []rbacv1.Subject{{
				Kind: rbacv1.ServiceAccountKind, Namespace: w.ns, Name: "metrics-server",
			}},
		},
	)
	var config *rest.Config
	w.Eventually(func() (err error) {
		config, err = playground.Consumer().ConfigFor(w.ctx, w.ns, "metrics-server")
		return err
	}).Should(Succeed())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.CAData)
	m.token = config.BearerToken
	m.scraper = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	w.t.Cleanup(m.scraper.CloseIdleConnections)
	return m
}

// turn lets all of them do their work once.
func (m *metricsServers) turn(ctx context.Context) error {
	var nodes corev1.NodeList
	if err := m.w.home.List(ctx, &nodes); err != nil {
		return err
	}
	var errs []error
	for _, provider := range providers() {
		errs = append(errs, m.measure(ctx, provider))
		for i := range nodes.Items {
			if nodes.Items[i].Name == provider {
				errs = append(errs, m.collect(ctx, &nodes.Items[i]))
			}
		}
	}
	return errors.Join(errs...)
}

// measure writes a provider's figures.
func (m *metricsServers) measure(ctx context.Context, provider string) error {
	var pods corev1.PodList
	if err := away(provider).List(ctx, &pods, client.InNamespace(m.w.twin())); err != nil {
		return err
	}
	for i := range pods.Items {
		usage := corev1.ResourceList{corev1.ResourceCPU: m.cpu, corev1.ResourceMemory: resource.MustParse("64Mi")}
		if err := put(ctx, m.clients[provider], &pods.Items[i], time.Now(), usage); err != nil {
			return err
		}
	}
	return nil
}

// put writes the figures of a pod into a cluster's metrics API.
func put(ctx context.Context, c client.Client, pod *corev1.Pod, at time.Time, usage corev1.ResourceList) error {
	metrics := &metricsv1beta1.PodMetrics{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	_, err := controllerutil.CreateOrUpdate(ctx, c, metrics, func() error {
		metrics.Labels = pod.Labels
		metrics.Timestamp, metrics.Window = metav1.NewTime(at), metav1.Duration{Duration: 10 * time.Second}
		metrics.Containers = []metricsv1beta1.ContainerMetrics{{Name: pod.Spec.Containers[0].Name, Usage: usage}}
		return nil
	})
	return err
}

// collect reads an agent's endpoint, and writes at home what two readings together tell.
func (m *metricsServers) collect(ctx context.Context, node *corev1.Node) error {
	last, err := m.read(ctx, node)
	if err != nil {
		return err
	}
	before, known := m.before[node.Name]
	if known && !last.newer(before) {
		return nil // the agent gives the same answer for a while
	}
	m.before[node.Name] = last
	if !known {
		return nil
	}
	const nodeCPU = "node_cpu_usage_seconds_total"
	metrics := &metricsv1beta1.NodeMetrics{ObjectMeta: metav1.ObjectMeta{Name: node.Name}}
	if _, err := controllerutil.CreateOrUpdate(ctx, m.clients[playground.Consumer().Name], metrics, func() error {
		metrics.Timestamp = metav1.NewTime(last.times[nodeCPU])
		metrics.Window = metav1.Duration{Duration: 10 * time.Second}
		metrics.Usage = usageOf(last.rate(before, nodeCPU), last.values["node_memory_working_set_bytes"])
		return nil
	}); err != nil {
		return err
	}
	pods, err := m.w.pods(m.w.home, m.w.ns)
	if err != nil {
		return err
	}
	for i := range pods {
		labels := fmt.Sprintf(`{namespace=%q,pod=%q,container=%q}`, m.w.ns, pods[i].Name,
			pods[i].Spec.Containers[0].Name)
		cpu := "container_cpu_usage_seconds_total" + labels
		memory, measured := last.values["container_memory_working_set_bytes"+labels]
		if rate := last.rate(before, cpu); measured && rate > 0 {
			err := put(ctx, m.clients[playground.Consumer().Name], &pods[i], last.times[cpu], usageOf(rate, memory))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func usageOf(cores, bytes float64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(int64(cores*1000), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(int64(bytes), resource.BinarySI),
	}
}

var sampleLine = regexp.MustCompile(`^(\w+(?:\{[^}]*\})?) (\S+)(?: (\d+))?$`)

// read asks an agent, as metrics-server does: by the Node's address.
func (m *metricsServers) read(ctx context.Context, node *corev1.Node) (scrape, error) {
	address, port := "", strconv.Itoa(int(node.Status.DaemonEndpoints.KubeletEndpoint.Port))
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			address = a.Address
		}
	}
	url := "https://" + net.JoinHostPort(address, port) + "/metrics/resource"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return scrape{}, err
	}
	r.Header.Set("Authorization", "Bearer "+m.token)
	resp, err := m.scraper.Do(r)
	if err != nil {
		return scrape{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		return scrape{}, fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	out := scrape{values: map[string]float64{}, times: map[string]time.Time{}}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		found := sampleLine.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		if out.values[found[1]], err = strconv.ParseFloat(found[2], 64); err != nil {
			return scrape{}, err
		}
		if found[3] != "" {
			milliseconds, err := strconv.ParseInt(found[3], 10, 64)
			if err != nil {
				return scrape{}, err
			}
			out.times[found[1]] = time.UnixMilli(milliseconds)
		}
	}
	return out, nil
}

func (s scrape) newer(before scrape) bool {
	const nodeCPU = "node_cpu_usage_seconds_total"
	return s.times[nodeCPU].After(before.times[nodeCPU])
}

// rate returns how fast a counter has grown, 0 if that cannot be said.
func (s scrape) rate(before scrape, name string) float64 {
	last, ok := s.values[name]
	first, known := before.values[name]
	elapsed := s.times[name].Sub(before.times[name]).Seconds()
	if !ok || !known || first == 0 || elapsed <= 0 || before.times[name].IsZero() {
		return 0
	}
	return (last - first) / elapsed
}
