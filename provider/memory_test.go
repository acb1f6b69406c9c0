package provider

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/e2e/build"
)

func TestMemory(t *testing.T) {
	k := key{Namespace: "shop", Name: "web"}
	at := time.Unix(1000, 0)
	away := build.Pod("web").UID("away-1").Obj()
	other := build.Pod("web").UID("away-0").Obj()
	for name, tc := range map[string]struct {
		happens func(*memory)
		want    record
	}{
		"nothing": {func(*memory) {}, record{home: "1"}},
		"created": {
			func(m *memory) { m.created(k, "1", "away-1", at) }, record{home: "1", away: "away-1", at: at},
		},
		"created, then seen": {
			func(m *memory) { m.created(k, "1", "away-1", at); m.saw(k, "1", "away-1") },
			record{home: "1", away: "away-1", at: at, seen: true},
		},
		"seen before the answer came": {
			func(m *memory) { m.saw(k, "1", "away-1"); m.created(k, "1", "away-1", at) },
			record{home: "1", away: "away-1", seen: true},
		},
		"gone": {
			func(m *memory) { m.saw(k, "1", "away-1"); m.went(k, "1", away) },
			record{home: "1", away: "away-1", seen: true, last: away},
		},
		"gone before it was looked at": {
			func(m *memory) { m.went(k, "1", away) }, record{home: "1", away: "away-1", seen: true, last: away},
		},
		"gone after something else was noted": {
			func(m *memory) { m.with(k, "1", func(r *record) { r.since = at }); m.went(k, "1", away) },
			record{home: "1", away: "away-1", seen: true, last: away, since: at},
		},
		"a late word about another remote pod": {
			func(m *memory) { m.saw(k, "1", "away-1"); m.went(k, "1", other) },
			record{home: "1", away: "away-1", seen: true},
		},
		"a late word about a predecessor's": {
			func(m *memory) { m.created(k, "1", "away-1", at); m.went(k, "0", other) },
			record{home: "1", away: "away-1", at: at},
		},
		"a successor begins anew": {
			func(m *memory) { m.saw(k, "0", "away-0"); m.with(k, "1", func(*record) {}) }, record{home: "1"},
		},
		"forgotten": {
			func(m *memory) { m.saw(k, "1", "away-1"); m.forget(k) }, record{home: "1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			tc.happens(m)
			if diff := cmp.Diff(tc.want, m.get(k, "1"), cmp.AllowUnexported(record{})); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestBuried(t *testing.T) {
	k := key{Namespace: "shop", Name: "web"}
	m := newMemory()
	if m.isBuried(k, "away-1") {
		t.Error("buried before it died")
	}
	m.bury(k, "away-1")
	if !m.isBuried(k, "away-1") || m.isBuried(k, "away-2") {
		t.Error("want exactly away-1 buried")
	}
	m.forget(k)
	if m.isBuried(k, "away-1") {
		t.Error("buried pods are remembered for ever")
	}
}

func TestLatest(t *testing.T) {
	k := key{Namespace: "shop", Name: "web"}
	at := func(uid, version string) *corev1.Pod {
		pod := build.Pod("web").UID(uid).Obj()
		pod.ResourceVersion = version
		return pod
	}
	for name, tc := range map[string]struct {
		written, cached *corev1.Pod
		want            string
	}{
		"nothing was written":       {nil, at("1", "5"), "5"},
		"the watch is late":         {at("1", "12"), at("1", "9"), "12"},
		"the watch has caught up":   {at("1", "12"), at("1", "12"), "12"},
		"the watch is further":      {at("1", "12"), at("1", "100"), "100"},
		"the write was of another":  {at("0", "12"), at("1", "9"), "9"},
		"versions that say nothing": {at("1", "x"), at("1", "9"), "9"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			if tc.written != nil {
				m.with(k, tc.written.UID, func(r *record) { r.written = tc.written })
			}
			if got := m.latest(k, tc.cached).ResourceVersion; got != tc.want {
				t.Errorf("want version %s, got %s", tc.want, got)
			}
		})
	}
}

func TestMemoryIsEmptyInTheEnd(t *testing.T) {
	m := newMemory()
	k := key{Namespace: "shop", Name: "web"}
	m.saw(k, "1", "away-1")
	m.forget(k)
	if n := len(m.records); n != 0 {
		t.Errorf("%d records of pods that are gone", n)
	}
}
