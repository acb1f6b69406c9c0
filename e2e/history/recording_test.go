package history_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/history"
)

// long is how long anything may take on a machine that has too much to do.
const long = 2 * time.Minute

func listenTo(e *env.Env, c *env.Cluster) history.Listened {
	return history.Listened{Name: c.Name, Config: c.Config(), Audit: filepath.Join(e.Dir(), c.Name, "audit.log")}
}

// A recording tells everything that happened on both clusters, also while an API server was dead; what is in Secrets it
// does not tell.
func TestARecordingOutlivesAnAPIServer(t *testing.T) {
	const bird = "cAnary-7e2b-whistle"
	e := env.Start(t, env.Options{Providers: 1, Bare: true})
	ctx, cancel := context.WithTimeout(t.Context(), 2*long)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "record")
	r, err := history.StartRecording(ctx, history.RecordingOptions{
		Dir: dir, Home: listenTo(e, e.Consumer()), Away: []history.Listened{listenTo(e, e.Providers()[0])},
	})
	if err != nil {
		t.Fatal(err)
	}
	home := e.Consumer().Client()
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	r.Canary("Secret shop/password", bird)
	do("create namespace", home.Create(ctx, build.Namespace("shop").Obj()))
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "password"}}
	secret.StringData = map[string]string{"key": bird}
	do("create secret", home.Create(ctx, secret))
	const times = 5
	early := settings("", "0")
	do("create", home.Create(ctx, early))
	for i := range times {
		early.Data["key"] = fmt.Sprint(i + 1)
		do("update", home.Update(ctx, early))
	}
	do("flush", r.Flush(ctx))
	r.Note(history.Note{Kind: history.Fault, Name: "kill", Object: env.APIServer})
	do("kill", e.Kill(ctx, env.Consumer, env.APIServer))
	do("start", e.Start(ctx, env.Consumer, env.APIServer))
	r.Note(history.Note{Kind: history.Heal, Name: "kill", Object: env.APIServer})
	late := settings("", "late")
	late.Name = "late"
	do("create", patiently(ctx, func() error { return home.Create(ctx, late) }))
	do("delete", home.Delete(ctx, early))
	do("flush", r.Flush(ctx))
	do("evidence", r.Evidence("logs/agent.log", strings.NewReader("nothing to see")))
	if err := r.Evidence("../agent.log", strings.NewReader("")); err == nil {
		t.Error("evidence may leave the record")
	}
	do("close", r.Close())

	told := tell(t, filepath.Join(dir, env.Consumer, "configmaps.jsonl"))
	for i := range times + 1 {
		if value := fmt.Sprintf("settings %d", i); told[value] == 0 {
			t.Errorf("nothing is told of %q: %v", value, told)
		}
	}
	if told["late late"] == 0 || told["DELETED settings"] != 1 {
		t.Errorf("not told: what happened after the API server had died: %v", told)
	}
	verdict, err := history.Check(dir)
	do("check", err)
	if !verdict.Kept() || verdict.Judged[history.I11] != 1 {
		t.Errorf("got %v, judged %v", verdict.Violations, verdict.Judged)
	}
	if _, err := history.StartRecording(ctx, history.RecordingOptions{Dir: dir}); err == nil ||
		!strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a record is written over: %v", err)
	}
	audited(t, filepath.Join(dir, env.Consumer, "audit.jsonl"))
}

// patiently tries again while an API server gets up.
func patiently(ctx context.Context, do func() error) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, long, true, func(context.Context) (bool, error) {
		err := do()
		return err == nil || apierrors.IsAlreadyExists(err), nil
	})
}

// entries calls f with each entry of a file.
func entries(t *testing.T, path string, f func(history.Entry)) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<22)
	last := time.Time{}
	for lines.Scan() {
		var e history.Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Audit == nil && e.At.Before(last) {
			t.Errorf("%s is not in order at %s", path, e.At)
		}
		last = e.At
		f(e)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// tell counts what is told of ConfigMaps: "name value", and "DELETED name".
func tell(t *testing.T, path string) map[string]int {
	t.Helper()
	told := map[string]int{}
	entries(t, path, func(e history.Entry) {
		if e.Object == nil {
			return
		}
		var o unstructured.Unstructured
		if err := o.UnmarshalJSON(e.Object); err != nil {
			t.Fatal(err)
		}
		if e.Type == watch.Deleted {
			told["DELETED "+o.GetName()]++
			return
		}
		value, _, _ := unstructured.NestedString(o.Object, "data", "key")
		told[o.GetName()+" "+value]++
	})
	return told
}

// audited checks that requests before and after the death of the API server are told, and only writes.
func audited(t *testing.T, path string) {
	t.Helper()
	created, deleted := 0, 0
	entries(t, path, func(e history.Entry) {
		switch a := e.Audit; {
		case a == nil:
			t.Errorf("the audit log has a gap: %v", e.Gap)
		case a.Verb == "get" || a.Verb == "list" || a.Verb == "watch":
			t.Errorf("a read is recorded: %s", a.RequestURI)
		case a.ObjectRef != nil && a.ObjectRef.Resource == cm && a.ObjectRef.Namespace == "shop":
			if a.Verb == "create" {
				created++
			}
			if a.Verb == "delete" {
				deleted++
			}
		}
	})
	if created < 2 || deleted != 1 {
		t.Errorf("%d creations and %d deletions are recorded, want 2 and 1", created, deleted)
	}
}
