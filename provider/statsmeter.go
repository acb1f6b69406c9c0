package provider

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// leastSeconds is what something that runs has used at least: collectors take 0 for "not measured yet".
	leastSeconds = 0.001
	// mostCores and mostBytes are more than any container can use: a figure beyond is nonsense, whoever says it.
	mostCores = 1 << 16
	mostBytes = 1 << 50
)

// usage is what the pods of our Nodes use, at one moment. It never changes.
type usage struct {
	at time.Time
	// since is when the figures of the Nodes began to be added up.
	since time.Time
	nodes []nodeUsage
	pods  []podUsage
	// partial: some pods are missing because the provider did not tell of them.
	partial bool
}

// nodeUsage is what all pods of a Node use together.
type nodeUsage struct {
	name string
	figures
}

// podUsage is a pod that runs, by its name and UID at home.
type podUsage struct {
	node, namespace, name string
	uid                   types.UID
	started               time.Time
	containers            []containerUsage
}

// containerUsage is a container that runs. Without a measurement its figures are zero.
type containerUsage struct {
	name     string
	started  time.Time
	measured bool
	figures
}

// figures are a measurement, and what all measurements so far add up to.
type figures struct {
	// at is when it was measured.
	at time.Time
	// cores and bytes are used at that time, seconds of one core since the start.
	cores, bytes, seconds float64
}

// reading is what the provider says that a container uses.
type reading struct{ cores, bytes float64 }

// meter turns readings, which are rates, into what a kubelet has: CPU time that only grows. A restart of the agent
// begins from what the present rate makes of a container's life so far; collectors then skip one interval.
type meter struct {
	since      time.Time
	containers map[containerKey]measurement
	nodes      map[string]figures
}

type containerKey struct {
	pod  types.UID
	name string
}

// measurement is what is known of one life of a container.
type measurement struct {
	started time.Time
	figures
}

func newMeter(now time.Time) *meter {
	return &meter{since: now, containers: map[containerKey]measurement{}, nodes: map[string]figures{}}
}

// read takes in what the provider told, and returns what there is to tell. What does not run any more is forgotten.
func (m *meter) read(running []runningPod, told map[string]twinMetrics, nodes []string, now time.Time) usage {
	u := usage{at: now, since: m.since}
	next := map[containerKey]measurement{}
	sums := map[string]figures{}
	for _, pod := range running {
		readings, at := readingsOf(told[pod.away.Namespace][pod.away.Name], now)
		seen := podUsage{
			node: pod.node, namespace: pod.home.Namespace, name: pod.home.Name, uid: pod.home.UID,
			started: startOf(pod.away.Status.StartTime, pod.home.CreationTimestamp.Time),
		}
		for _, c := range runningContainers(pod) {
			k := containerKey{pod: pod.home.UID, name: c.name}
			if latest, ok := m.latest(k, c.started, readings, at); ok {
				next[k] = latest
				c.measured, c.figures = true, latest.figures
				sums[pod.node] = sums[pod.node].plus(latest.figures)
			}
			seen.containers = append(seen.containers, c)
		}
		u.pods = append(u.pods, seen)
	}
	m.containers = next
	u.nodes = m.readNodes(nodes, sums, now)
	return u
}

// latest returns what is known of a container after the readings of its pod; false if it was never measured.
func (m *meter) latest(
	k containerKey, started time.Time, readings map[string]reading, at time.Time,
) (measurement, bool) {
	last, known := m.containers[k]
	if known && !last.started.Equal(started) { // it was restarted
		last, known = measurement{}, false
	}
	last.started = started
	// What was measured before it began is another's, which had its name.
	if r, ok := readings[k.name]; ok && !at.Before(started) {
		return last.after(r, at), true
	}
	return last, known
}

// readNodes adds up what Nodes use. Their time is counted apart from their pods', which come and go.
func (m *meter) readNodes(names []string, sums map[string]figures, now time.Time) []nodeUsage {
	next := map[string]figures{}
	var out []nodeUsage
	for _, name := range names {
		before, known := m.nodes[name]
		if !known {
			before = figures{at: now}
		}
		next[name] = before.after(reading{cores: sums[name].cores, bytes: sums[name].bytes}, now)
		out = append(out, nodeUsage{name: name, figures: next[name]})
	}
	m.nodes = next
	return out
}

func (m measurement) after(r reading, at time.Time) measurement {
	if m.at.IsZero() { // the first one: so it has been since the start, as far as anybody can say
		m.at = at
		if !m.started.IsZero() {
			m.at = m.started
		}
	}
	m.figures = m.figures.after(r, at)
	return m
}

// after returns the figures after one more reading. An old one that comes again changes nothing.
func (f figures) after(r reading, at time.Time) figures {
	if at.After(f.at) {
		f.seconds += r.cores * at.Sub(f.at).Seconds()
		f.at = at
	}
	f.cores, f.bytes, f.seconds = r.cores, r.bytes, max(f.seconds, leastSeconds)
	return f
}
