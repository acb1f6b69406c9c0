package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// usageTTL is for how long an answer of the provider is used again: several collectors ask, each every few seconds,
	// and a provider's own figures are no newer.
	usageTTL = 10 * time.Second
	// usageLists is how many twins the provider is asked about at the same time.
	usageLists = 8
	// metricsAPI is where an API server serves resource metrics; whoever it knows may ask whether it does.
	metricsAPI = "/apis/metrics.k8s.io/v1beta1"
)

// Stats tells what the pods of our Nodes use, by what the provider's resource metrics API (metrics.k8s.io) says of
// their remote pods. It is what collectors such as metrics-server read of a kubelet, so that `kubectl top` and
// autoscalers work.
type Stats struct {
	pods *Pods
	away metricsclient.Interface

	mu sync.Mutex // held while the provider is asked: whoever else comes waits for the same answer
	// meter adds up what was used, for as long as this process lives.
	meter   *meter
	told    map[string]twinMetrics
	partial bool
	err     error
	asked   time.Time
}

// NewStats returns what tells of the pods; away acts as our identity at the provider.
func NewStats(pods *Pods, away metricsclient.Interface) *Stats {
	return &Stats{pods: pods, away: away, meter: newMeter(pods.opts.Clock.Now())}
}

// statsError is why there are no figures, and how HTTP says it.
type statsError struct {
	code     int
	sentence string
}

func (e *statsError) Error() string { return e.sentence }

// usage returns the figures of the pods that run now. What the provider says of them is at most usageTTL old; a pod
// that began since is there without figures, as it is on a kubelet.
func (s *Stats) usage(ctx context.Context) (usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.pods.opts.Clock.Since(s.asked)
	if s.asked.IsZero() || age < 0 || age >= usageTTL { // below 0: somebody has set the clock
		// The answer is for all who wait, whatever becomes of the one who came first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		s.told, s.partial, s.err = s.ask(ctx)
		s.asked = s.pods.opts.Clock.Now()
	}
	if s.err != nil {
		return usage{}, s.err
	}
	u := s.meter.read(s.pods.runningPods(), s.told, s.pods.nodeNames(), s.pods.opts.Clock.Now())
	u.partial = s.partial
	return u, nil
}

// ask returns what the provider says of the pods of each twin, and whether it left something out.
func (s *Stats) ask(ctx context.Context) (told map[string]twinMetrics, partial bool, err error) {
	if h := s.pods.opts.Health; h != nil {
		if err := h.Err(); err != nil {
			return nil, false, s.unavailable(err)
		}
	}
	if err := s.away.Discovery().RESTClient().Get().AbsPath(metricsAPI).Do(ctx).Error(); err != nil {
		return nil, false, s.trouble(err)
	}
	told, errs := s.measure(ctx, twinsOf(s.pods.runningPods()))
	for _, err := range errs { // what one twin does not tell hides nothing of the others
		log.FromContext(ctx).V(1).Info("Cannot read what pods use", "why", err.Error())
	}
	if len(errs) > 0 && len(told) == 0 {
		return nil, false, s.trouble(errs[0])
	}
	return told, len(errs) > 0, nil
}

// measure asks the provider about the pods of some twins. Twins that answered are in the result, if only empty.
func (s *Stats) measure(ctx context.Context, twins []string) (map[string]twinMetrics, []error) {
	answers, failures := make([]twinMetrics, len(twins)), make([]error, len(twins))
	var lists errgroup.Group
	lists.SetLimit(usageLists)
	for i, twin := range twins {
		lists.Go(func() error {
			list, err := s.away.MetricsV1beta1().PodMetricses(twin).List(ctx, metav1.ListOptions{})
			if err != nil {
				failures[i] = fmt.Errorf("read metrics of namespace %s: %w", twin, err)
				return nil
			}
			answers[i] = byName(list.Items)
			return nil
		})
	}
	_ = lists.Wait() // errors are kept apart, by twin
	told := map[string]twinMetrics{}
	for i, twin := range twins {
		if failures[i] == nil {
			told[twin] = answers[i]
		}
	}
	return told, slices.DeleteFunc(failures, func(err error) bool { return err == nil })
}

// twinMetrics is what the provider says of the pods of one twin, by name.
type twinMetrics map[string]metricsv1beta1.PodMetrics

func byName(items []metricsv1beta1.PodMetrics) twinMetrics {
	out := make(twinMetrics, len(items))
	for _, item := range items {
		out[item.Name] = item
	}
	return out
}

// trouble says what an answer of the provider means for whoever wants figures, and what to do about it.
func (s *Stats) trouble(err error) error {
	provider := s.pods.opts.Destination
	switch {
	case apierrors.IsNotFound(err):
		return &statsError{http.StatusNotImplemented, fmt.Sprintf(
			"provider %s serves no resource metrics (metrics.k8s.io): install metrics-server there", provider)}
	case apierrors.IsForbidden(err):
		return &statsError{http.StatusNotImplemented, fmt.Sprintf("provider %s does not let us read resource metrics "+
			"(metrics.k8s.io) in our twins: bring its role liqo-twin up to date by liqoctl peer", provider)}
	default:
		return s.unavailable(err)
	}
}

func (s *Stats) unavailable(err error) error {
	why := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		why = "no answer in time"
	}
	return &statsError{http.StatusServiceUnavailable, fmt.Sprintf(
		"provider %s does not tell what pods use: %s", s.pods.opts.Destination, why)}
}

// runningPod is a home pod on one of our Nodes, and the remote pod that runs for it.
type runningPod struct {
	node       string
	home, away *corev1.Pod
}

// runningPods returns the pods that run, in the order of their names.
func (p *Pods) runningPods() []runningPod {
	var out []runningPod
	for _, pod := range p.List(metav1.NamespaceAll) {
		k := key{Namespace: pod.Namespace, Name: pod.Name}
		away := p.shown(pod)
		if away == nil || away.Status.Phase != corev1.PodRunning {
			continue
		}
		if home, on, _ := p.homePod(k); home != nil && home.UID == pod.UID {
			out = append(out, runningPod{node: on.name, home: home, away: away})
		}
	}
	slices.SortFunc(out, func(a, b runningPod) int {
		return strings.Compare(a.home.Namespace+"/"+a.home.Name, b.home.Namespace+"/"+b.home.Name)
	})
	return out
}

// nodeNames returns the names of the Nodes that are served, sorted.
func (p *Pods) nodeNames() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for name := range p.nodes {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// twinsOf returns the namespaces at the provider in which pods run.
func twinsOf(pods []runningPod) []string {
	var out []string
	for _, pod := range pods {
		out = append(out, pod.away.Namespace)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
