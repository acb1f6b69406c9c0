package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// textFormat is the content type of what Prometheus reads.
const textFormat = "text/plain; version=0.0.4; charset=utf-8"

// before serves the two paths of the kubelet API that tell of usage, and leaves the others to next. A nil Stats leaves
// all to it.
func (s *Stats) before(next http.Handler) http.Handler {
	if s == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimSuffix(r.URL.Path, "/") {
		case "/stats/summary":
			s.serve(w, r, "application/json", func(u usage) ([]byte, error) { return json.Marshal(u.summary()) })
		case "/metrics/resource":
			s.serve(w, r, textFormat, func(u usage) ([]byte, error) { return u.resource(), nil })
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Stats) serve(
	w http.ResponseWriter, r *http.Request, contentType string, form func(usage) ([]byte, error),
) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET is possible", http.StatusMethodNotAllowed)
		return
	}
	u, err := s.usage(r.Context())
	if err != nil {
		code, known := http.StatusInternalServerError, (*statsError)(nil)
		if errors.As(err, &known) {
			code = known.code
		}
		http.Error(w, err.Error(), code)
		return
	}
	body, err := form(u.of(askedNode(r.Host)))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	if _, err := w.Write(body); err != nil {
		log.FromContext(r.Context()).V(1).Info("Cannot send what pods use", "err", err.Error())
	}
}

// askedNode returns the host that a request names, which is a Node's when it was found by name and not by address.
func askedNode(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// of returns the figures of one Node, or all of them when the name is no Node's: by their address, which they share,
// Nodes cannot be told apart.
func (u usage) of(node string) usage {
	i := slices.IndexFunc(u.nodes, func(n nodeUsage) bool { return n.name == node })
	if i < 0 {
		return u
	}
	var pods []podUsage
	for _, pod := range u.pods {
		if pod.node == node {
			pods = append(pods, pod)
		}
	}
	u.nodes, u.pods = u.nodes[i:i+1], pods
	return u
}

// total is what all Nodes use together.
func (u usage) total() figures {
	sum := figures{at: u.at}
	for _, n := range u.nodes {
		sum = sum.plus(n.figures)
	}
	return sum
}

// total is what the containers that were measured use together; false if none was.
func (p podUsage) total() (figures, bool) {
	var sum figures
	for _, c := range p.containers {
		if c.measured {
			sum = sum.plus(c.figures)
		}
	}
	return sum, !sum.at.IsZero()
}

func (f figures) plus(other figures) figures {
	if other.at.After(f.at) {
		f.at = other.at
	}
	f.cores, f.bytes, f.seconds = f.cores+other.cores, f.bytes+other.bytes, f.seconds+other.seconds
	return f
}

// summary is the answer of /stats/summary. What a provider's metrics do not have (network, disks) is left out.
func (u usage) summary() *statsv1alpha1.Summary {
	out := &statsv1alpha1.Summary{Pods: []statsv1alpha1.PodStats{}}
	all := u.total()
	out.Node.StartTime = metav1.NewTime(u.since)
	out.Node.CPU, out.Node.Memory = all.stats()
	if len(u.nodes) > 0 {
		out.Node.NodeName = u.nodes[0].name
	}
	for _, pod := range u.pods {
		stats := statsv1alpha1.PodStats{
			PodRef:    statsv1alpha1.PodReference{Name: pod.name, Namespace: pod.namespace, UID: string(pod.uid)},
			StartTime: metav1.NewTime(pod.started), Containers: []statsv1alpha1.ContainerStats{},
		}
		if all, ok := pod.total(); ok {
			stats.CPU, stats.Memory = all.stats()
		}
		for _, c := range pod.containers {
			container := statsv1alpha1.ContainerStats{Name: c.name, StartTime: metav1.NewTime(c.started)}
			if c.measured {
				container.CPU, container.Memory = c.stats()
			}
			stats.Containers = append(stats.Containers, container)
		}
		out.Pods = append(out.Pods, stats)
	}
	return out
}

func (f figures) stats() (*statsv1alpha1.CPUStats, *statsv1alpha1.MemoryStats) {
	at := metav1.NewTime(f.at)
	nano := func(v float64) *uint64 { return ptr.To(uint64(v * 1e9)) }
	return &statsv1alpha1.CPUStats{Time: at, UsageNanoCores: nano(f.cores), UsageCoreNanoSeconds: nano(f.seconds)},
		&statsv1alpha1.MemoryStats{Time: at, WorkingSetBytes: ptr.To(uint64(f.bytes))}
}

// resource is the answer of /metrics/resource, with the names of a kubelet's metrics. A container that was not measured
// yet is there with the CPU time that was measured, none, which collectors take for what it is.
func (u usage) resource() []byte {
	var out bytes.Buffer
	all := u.total()
	out.Write(family("node_cpu_usage_seconds_total", "counter",
		"Cumulative cpu time consumed by the node in core-seconds", sample("", all.seconds, all.at)))
	out.Write(family("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes",
		sample("", all.bytes, all.at)))

	var podCPU, podMemory, cpu, memory, starts []string
	for _, pod := range u.pods {
		podLabels := fmt.Sprintf("namespace=%q,pod=%q", pod.namespace, pod.name)
		sum, measured := pod.total()
		podCPU = append(podCPU, sample(podLabels, sum.seconds, sum.at))
		if measured {
			podMemory = append(podMemory, sample(podLabels, sum.bytes, sum.at))
		}
		for _, c := range pod.containers {
			labels := fmt.Sprintf("%s,container=%q", podLabels, c.name)
			cpu = append(cpu, sample(labels, c.seconds, c.at))
			if c.measured {
				memory = append(memory, sample(labels, c.bytes, c.at))
			}
			starts = append(starts, sample(labels, float64(c.started.UnixMilli())/1e3, time.Time{}))
		}
	}
	out.Write(family("pod_cpu_usage_seconds_total", "counter",
		"Cumulative cpu time consumed by the pod in core-seconds", podCPU...))
	out.Write(family("pod_memory_working_set_bytes", "gauge",
		"Current working set of the pod in bytes", podMemory...))
	out.Write(family("container_cpu_usage_seconds_total", "counter",
		"Cumulative cpu time consumed by the container in core-seconds", cpu...))
	out.Write(family("container_memory_working_set_bytes", "gauge",
		"Current working set of the container in bytes", memory...))
	out.Write(family("container_start_time_seconds", "gauge",
		"Start time of the container since unix epoch in seconds", starts...))
	failed := 0.0
	if u.partial {
		failed = 1
	}
	out.Write(family("resource_scrape_error", "gauge",
		"1 if there was an error while getting container metrics, 0 otherwise", sample("", failed, time.Time{})))
	return out.Bytes()
}

// family is one metric in the text format; without samples it is nothing. Each sample begins after the name.
func family(name, kind, help string, samples ...string) []byte {
	if len(samples) == 0 {
		return nil
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	for _, sample := range samples {
		fmt.Fprintf(&out, "%s%s\n", name, sample)
	}
	return out.Bytes()
}

// sample is one value with its labels and, unless it is of now, its time.
func sample(labels string, value float64, at time.Time) string {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	number := strconv.FormatFloat(value, 'f', -1, 64)
	if at.IsZero() {
		return labels + " " + number
	}
	return fmt.Sprintf("%s %s %d", labels, number, at.UnixMilli())
}
