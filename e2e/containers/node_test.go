package containers

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// traces returns what nodes have on this machine besides processes.
func traces(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(cgroups + "/*/twinspace-*")
	if err != nil {
		t.Fatal(err)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if strings.HasPrefix(i.Name, "twin") {
			found = append(found, i.Name)
		}
	}
	slices.Sort(found)
	return found
}

func TestANodeThatDoesNotStartSaysWhyAndLeavesNothing(t *testing.T) {
	if metal == nil {
		t.Skip(absent)
	}
	before := traces(t)
	if len(before) < 2 {
		t.Fatalf("the node that runs has left %v only: the test shows nothing", before)
	}
	dir := filepath.Join(t.TempDir(), "broken")
	program := filepath.Join(t.TempDir(), "playground")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no kubelet here; exit 3\n"), 0o700); err != nil { //nolint:gosec,lll // G306: a program
		t.Fatal(err)
	}
	began := time.Now()
	node, err := Join(t.Context(), playground.Cluster(provider), Options{
		Name: "broken", Dir: dir, Playground: program, Tools: metal.opts.Tools,
	})
	if node != nil || err == nil {
		t.Fatal("it joined")
	}
	for _, want := range []string{"join node broken", "its first process ended", "no kubelet here"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if took := time.Since(began); took > joinTimeout/2 {
		t.Errorf("it was waited for %s, though it had ended", took)
	}
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("there is %v, and was %v", after, before)
	}
}
