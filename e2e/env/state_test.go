package env

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStateIsReadAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	want := state{
		Boot: "b", Ready: true, Settings: settings{Providers: 2, Nodes: 3, Peer: true},
		Ports:     map[string]map[string]int{Consumer: {Etcd: 20001}},
		Processes: []Process{{Consumer, Etcd, 42, 4711}},
		Environ:   map[string][]string{"consumer/etcd": {"A=b"}},
		Recipe:    recipe{NodeIP: "10.0.0.1", Exec: true, Agent: []string{"-v=4"}},
	}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, stateFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v (%v), want 0600", info.Mode(), err)
	}
}

func TestStateThatIsMissingOrBroken(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadState(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a file the error is %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *CorruptError
	if _, err := loadState(dir); !errors.As(err, &corrupt) {
		t.Errorf("with half a file the error is %v", err)
	}
}

func TestDownOfBrokenStateEndsTheMarkedProcesses(t *testing.T) {
	dir, err := canonicalDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, _ := sleeper(t, detached, mark+"="+dir)
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte("no json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("the process still runs")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestDownWhereNothingRunsDoesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	for range 2 {
		if err := Down(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("down made the directory: %v", err)
	}
}

func TestDownOfARemovedDirectoryEndsItsProcesses(t *testing.T) {
	dir, err := canonicalDir(filepath.Join(t.TempDir(), "removed"))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := sleeper(t, detached, mark+"="+dir)
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("the process still runs")
	}
}

func TestDownLeavesWhatIsNotThePlaygrounds(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"mine.txt", "consumer.kubeconfig", "provider-1.kubeconfig", "consumerism"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "provider-1", "pki"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (&state{}).save(dir); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"consumerism", "mine.txt"}, names(t, dir)); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestDownWithoutStateRemovesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, Consumer), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{Consumer}, names(t, dir)); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	slices.Sort(names)
	return names
}

func TestOnlyOneCommandHoldsTheLock(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := lock(impatient, dir); err == nil {
		t.Error("two commands hold the lock")
	}
	unlock()
	again, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestALockOnARemovedFileExcludesNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), lockFile)
	first, err := tryLock(path)
	if err != nil || first == nil {
		t.Fatalf("lock: %v, %v", first, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := tryLock(path)
	if err != nil || second == nil {
		t.Fatalf("lock the new file: %v, %v", second, err)
	}
	_, _ = first.Close(), second.Close()
}
