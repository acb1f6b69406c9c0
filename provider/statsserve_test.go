package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"
	testclock "k8s.io/utils/clock/testing"
)

// figuresOfTwo is a usage of two pods on two Nodes; of one container nothing is measured yet.
func figuresOfTwo() usage {
	m := newMeter(statsBegan)
	web, db := podRunning("web", "vn-1", "app", "new"), podRunning("db", "vn-2", "app")
	told := podMetrics("web", afterBegan(10), "app", "500m")
	told["shop-home"]["db"] = podMetrics("db", afterBegan(20), "app", "2")["shop-home"]["db"]
	return m.read([]runningPod{db, web}, told, []string{"vn-1", "vn-2"}, afterBegan(20))
}

func TestResourceMetricsAreThoseOfAKubelet(t *testing.T) {
	const want = `# HELP node_cpu_usage_seconds_total Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 0.001 1767322820000
# HELP node_memory_working_set_bytes Current working set of the node in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 67108864 1767322820000
# HELP pod_cpu_usage_seconds_total Cumulative cpu time consumed by the pod in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web"} 5 1767322810000
# HELP pod_memory_working_set_bytes Current working set of the pod in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="shop",pod="web"} 67108864 1767322810000
# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{namespace="shop",pod="web",container="app"} 5 1767322810000
container_cpu_usage_seconds_total{namespace="shop",pod="web",container="new"} 0
# HELP container_memory_working_set_bytes Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{namespace="shop",pod="web",container="app"} 67108864 1767322810000
# HELP container_start_time_seconds Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{namespace="shop",pod="web",container="app"} 1767322800
container_start_time_seconds{namespace="shop",pod="web",container="new"} 1767322800
# HELP resource_scrape_error 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
`
	got := string(figuresOfTwo().of("vn-1").resource())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	half := figuresOfTwo()
	half.partial = true
	if got := string(half.resource()); !strings.Contains(got, "\nresource_scrape_error 1\n") {
		t.Errorf("what is missing is not told:\n%s", got)
	}
	got = string(usage{at: statsBegan}.resource())
	if strings.Contains(got, "pod") || !strings.Contains(got, "node_cpu") {
		t.Errorf("without pods:\n%s", got)
	}
}

func TestSummaryIsThatOfAKubelet(t *testing.T) {
	raw, err := json.Marshal(figuresOfTwo().summary())
	if err != nil {
		t.Fatal(err)
	}
	var got statsv1alpha1.Summary
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Node.NodeName != "vn-1" || *got.Node.CPU.UsageNanoCores != 2.5e9 ||
		*got.Node.Memory.WorkingSetBytes != 128<<20 {
		t.Errorf("node is %s", raw)
	}
	var lines []string
	for _, pod := range got.Pods {
		lines = append(lines, fmt.Sprintf("%s/%s %s since %s", pod.PodRef.Namespace, pod.PodRef.Name, pod.PodRef.UID,
			pod.StartTime.UTC().Format(time.TimeOnly)))
		for _, c := range pod.Containers {
			line := c.Name + " not measured"
			if c.CPU != nil && c.Memory != nil {
				line = fmt.Sprintf("%s %d %d %d", c.Name, *c.CPU.UsageNanoCores, *c.CPU.UsageCoreNanoSeconds,
					*c.Memory.WorkingSetBytes)
			}
			lines = append(lines, line)
		}
	}
	want := []string{
		"shop/db uid-db since 03:00:00", "app 2000000000 40000000000 67108864",
		"shop/web uid-web since 03:00:00", "app 500000000 5000000000 67108864", "new not measured",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if empty := (usage{}).summary(); empty.Pods == nil {
		t.Error("no pods are a list too, or clients stumble")
	}
}

func TestNodesAreToldApartByName(t *testing.T) {
	for host, want := range map[string][]string{
		"vn-1": {"web"}, "vn-2:10250": {"db"}, "192.0.2.1:10250": {"db", "web"}, "[2001:db8::1]:10250": {"db", "web"},
		"vn-3": {"db", "web"}, "": {"db", "web"},
	} {
		var got []string
		for _, pod := range figuresOfTwo().of(askedNode(host)).pods {
			got = append(got, pod.name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want,+got:\n%s", host, diff)
		}
	}
}

// provided is a provider's API server that answers as the test says, and counts.
type provided struct {
	*httptest.Server
	asked atomic.Int32
}

func answering(t *testing.T, code int, body string) *provided {
	t.Helper()
	p := &provided{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(p.Close)
	return p
}

func apiStatus(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`,
		code, reason, message)
}

func statsOf(t *testing.T, url string, change func(*PodsOptions)) *Stats {
	t.Helper()
	away, err := metricsclient.NewForConfig(&rest.Config{Host: url})
	if err != nil {
		t.Fatal(err)
	}
	o := PodsOptions{Destination: "milan"}
	if change != nil {
		change(&o)
	}
	return NewStats(NewPods(o), away)
}

func fetchStats(s *Stats, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	s.before(next).ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestNoFiguresAreSaidPlainly(t *testing.T) {
	for name, tc := range map[string]struct {
		code     int
		body     string
		health   error
		wantCode int
		want     string
	}{
		"a provider without metrics": {
			code: 404, body: apiStatus(404, "NotFound", "the server could not find the requested resource"),
			wantCode: http.StatusNotImplemented,
			want:     "provider milan serves no resource metrics (metrics.k8s.io): install metrics-server there",
		},
		"a provider whose metrics server is down": {
			code:     503,
			body:     apiStatus(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
			wantCode: http.StatusServiceUnavailable,
			want: "provider milan does not tell what pods use: " +
				"the server is currently unable to handle the request",
		},
		"a peering from before there were metrics": {
			code: 403, body: apiStatus(403, "Forbidden", `cannot list resource "pods" in API group "metrics.k8s.io"`),
			wantCode: http.StatusNotImplemented,
			want: "provider milan does not let us read resource metrics (metrics.k8s.io) in our twins: " +
				"bring its role liqo-twin up to date by liqoctl peer",
		},
		"a provider that cannot be reached": {
			health: fmt.Errorf("the provider's API server cannot be reached: no answer in time"), code: 200,
			wantCode: http.StatusServiceUnavailable,
			want: "provider milan does not tell what pods use: " +
				"the provider's API server cannot be reached: no answer in time",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := answering(t, tc.code, tc.body)
			s := statsOf(t, server.URL, func(o *PodsOptions) {
				if tc.health != nil {
					o.Health = &fakeHealth{err: tc.health}
				}
			})
			for _, path := range []string{"/stats/summary", "/metrics/resource", "/stats/summary/"} {
				w := fetchStats(s, http.MethodGet, path)
				if w.Code != tc.wantCode {
					t.Errorf("%s: code %d, want %d", path, w.Code, tc.wantCode)
				}
				if diff := cmp.Diff(tc.want+"\n", w.Body.String()); diff != "" {
					t.Errorf("%s: -want,+got:\n%s", path, diff)
				}
			}
			if tc.health != nil && server.asked.Load() > 0 {
				t.Error("a provider that cannot be reached was asked")
			}
		})
	}
}

func TestAnAnswerIsUsedAgain(t *testing.T) {
	server := answering(t, 200, `{"kind":"APIResourceList","apiVersion":"v1","resources":[]}`)
	clock := testclock.NewFakeClock(statsBegan)
	s := statsOf(t, server.URL, func(o *PodsOptions) { o.Clock = clock })
	asked := func(want int32) {
		t.Helper()
		if w := fetchStats(s, http.MethodGet, "/metrics/resource"); w.Code != http.StatusOK {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		if got := server.asked.Load(); got != want {
			t.Errorf("asked %d times, want %d", got, want)
		}
	}
	asked(1)
	clock.Step(usageTTL - time.Second)
	asked(1)
	clock.Step(time.Second)
	asked(2)
	clock.Step(-time.Hour) // somebody has set the clock
	asked(3)
}

func TestWhoeverGivesUpLeavesTheAnswerToOthers(t *testing.T) {
	server := answering(t, 200, `{}`)
	s := statsOf(t, server.URL, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.usage(ctx); err != nil {
		t.Errorf("one who has gone spoils it for the others: %v", err)
	}
}

func TestOtherPathsAreOthers(t *testing.T) {
	s := statsOf(t, answering(t, 200, `{}`).URL, nil)
	for _, tc := range []struct {
		s            *Stats
		method, path string
		want         int
	}{
		{s, "GET", "/pods", http.StatusTeapot}, {s, "GET", "/metrics", http.StatusTeapot},
		{s, "GET", "/stats", http.StatusTeapot}, {s, "GET", "/metrics/cadvisor", http.StatusTeapot},
		{s, "POST", "/stats/summary", http.StatusMethodNotAllowed}, {s, "HEAD", "/metrics/resource", http.StatusOK},
		{nil, "GET", "/stats/summary", http.StatusTeapot},
	} {
		if w := fetchStats(tc.s, tc.method, tc.path); w.Code != tc.want {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.path, w.Code, tc.want)
		}
	}
}
