package env

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// T is the part of a test that this package uses.
type T interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	TempDir() string
}

// Start starts a playground for a test and ends it after the test, or when the test process dies. Without a Bin the
// programs are the repository's.
func Start(t T, opts Options) *Env {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = filepath.Join(t.TempDir(), "playground")
	}
	if err := opts.forTest(); err != nil {
		t.Fatalf("%v", err)
	}
	e, err := Up(context.Background(), opts)
	if err != nil {
		if downErr := Down(context.Background(), opts.Dir); downErr != nil {
			t.Logf("%v", downErr)
		}
		t.Fatalf("start playground: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", e.LogTails(20))
		}
		if err := e.Down(context.Background()); err != nil {
			t.Logf("stop playground: %v", err)
		}
	})
	return e
}

// Planes starts n API servers, each with an etcd and nothing else, for a test. The first is the consumer and serves our
// kinds.
func Planes(t T, n int) []*Cluster {
	t.Helper()
	return Start(t, Options{Providers: n - 1, Bare: true}).Clusters()
}

func (o *Options) forTest() error {
	root, err := RepositoryRoot()
	if err != nil {
		return err
	}
	o.Tied = true
	if o.Bin == "" {
		o.Bin = filepath.Join(root, "bin")
	}
	return nil
}

// LogTails returns the last lines of every component's log; of those of etcd and of API servers what they complain
// about, lest they drown what a test says.
func (e *Env) LogTails(lines int) string {
	var all strings.Builder
	for _, p := range e.Processes() {
		path, keep := e.Cluster(p.Cluster).logPath(p.Component), anyLine
		if p.Component == Etcd || p.Component == APIServer {
			keep = complaint
		}
		if end := tail(path, lines, keep); end != "" {
			fmt.Fprintf(&all, "--- %s of %s\n%s\n", p.Component, p.Cluster, end)
		}
	}
	return all.String()
}

func anyLine(string) bool { return true }

// An API server waits for its etcd by connecting and hanging up, of which etcd complains.
var (
	information = regexp.MustCompile(`^I\d{4} `)
	hungUp      = regexp.MustCompile(`"rejected connection on client endpoint".*"error":"EOF"`)
)

// complaint tells the lines of a control plane's log that are about trouble.
func complaint(line string) bool { return !information.MatchString(line) && !hungUp.MatchString(line) }
