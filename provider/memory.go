package provider

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// key names a pod at home.
type key = types.NamespacedName

// record is what this process knows about one home pod before, or after, the watches show it. Losing it costs a read or
// a write, never a pod: everything in it can be found again on the API servers.
type record struct {
	home types.UID
	// away is the UID of the remote pod; empty when this process has not seen one.
	away types.UID
	// seen: the watch has shown the remote pod.
	seen bool
	// last is the remote pod as the watch saw it go.
	last *corev1.Pod
	// written is the home pod after our last write, until the watch shows it too.
	written *corev1.Pod
	// since is when this process first had something to tell about the pod; see settle.
	since time.Time
	// parting is the same about nothing but that home deletes it.
	parting time.Time
	// at is when this process created or found the remote pod.
	at time.Time
	// released: it was told that the pod is released.
	released bool
	// unmarked is the resource version of the remote pod when it was told that it has lost our labels.
	unmarked string
	// notBefore is when a refused creation is tried again.
	notBefore time.Time
	// baggage is when the pod began to wait for what it refers to.
	baggage time.Time
	// refused is the update that the provider refuses, and notUpdated when it is tried again.
	refused    string
	notUpdated time.Time
	// repaired is when labels or annotations of the remote pod were last put right, and pause how long they then stay.
	repaired time.Time
	pause    time.Duration
}

// memory holds the records of all pods.
type memory struct {
	mu      sync.Mutex
	records map[key]*record
	// buried are remote pods that the provider says are gone, whatever the watch shows.
	buried map[key]types.UID
}

func newMemory() *memory {
	return &memory{records: map[key]*record{}, buried: map[key]types.UID{}}
}

// with calls f on the record of a home pod, which is a new one when the name belonged to another pod before.
func (m *memory) with(k key, home types.UID, f func(*record)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[k]
	if r == nil || r.home != home {
		r = &record{home: home}
		m.records[k] = r
	}
	f(r)
}

// get returns a copy of the record of a home pod.
func (m *memory) get(k key, home types.UID) record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.records[k]; r != nil && r.home == home {
		return *r
	}
	return record{home: home}
}

func (m *memory) forget(k key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, k)
	delete(m.buried, k)
}

// bury notes that a remote pod is gone.
func (m *memory) bury(k key, away types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buried[k] = away
}

func (m *memory) isBuried(k key, away types.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.buried[k] == away
}

// created notes a remote pod that the watch is yet to show.
func (m *memory) created(k key, home, away types.UID, now time.Time) {
	m.with(k, home, func(r *record) {
		if r.away != away {
			r.away, r.seen, r.last, r.at = away, false, nil, now
		}
	})
}

// saw notes that the watch shows the remote pod.
func (m *memory) saw(k key, home, away types.UID) {
	m.with(k, home, func(r *record) { r.away, r.seen, r.last = away, true, nil })
}

// lostMark notes that a remote pod has lost our labels, and returns whether that is news.
func (m *memory) lostMark(k key, home types.UID, away *corev1.Pod) (news bool) {
	m.with(k, home, func(r *record) {
		if news = r.unmarked == ""; news {
			r.unmarked = away.ResourceVersion
		}
	})
	return news
}

// hasMark notes that the watch shows a remote pod with our labels. What it showed before they were lost does not count.
func (m *memory) hasMark(k key, home types.UID, away *corev1.Pod) {
	m.with(k, home, func(r *record) {
		if r.unmarked == "" {
			return
		}
		order, err := resourceversion.CompareResourceVersion(away.ResourceVersion, r.unmarked)
		if err == nil && order > 0 {
			r.unmarked = ""
		}
	})
}

// went notes the last state of a remote pod that the watch saw go. A late word about a predecessor changes nothing.
func (m *memory) went(k key, home types.UID, away *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[k]
	if r == nil {
		r = &record{home: home, away: away.UID}
		m.records[k] = r
	}
	if r.home == home && (r.away == "" || r.away == away.UID) {
		r.away, r.seen, r.last = away.UID, true, away
	}
}

// latest returns the newer of the home pod in the cache and the one that our last write returned, so that a slow watch
// does not make us write twice.
func (m *memory) latest(k key, cached *corev1.Pod) *corev1.Pod {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[k]
	if r == nil || r.written == nil || r.home != cached.UID {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(r.written.ResourceVersion, cached.ResourceVersion)
	if err != nil || order <= 0 {
		r.written = nil
		return cached
	}
	return r.written
}
