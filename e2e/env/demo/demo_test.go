package demo

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/twinspace/twinspace/docs/examples"
	"github.com/twinspace/twinspace/e2e/env"
)

// The story tells of objects by name, and of how many there are.
func TestTheStoryIsAboutTheExample(t *testing.T) {
	folder := t.TempDir()
	for range 2 { // it may be told again
		if err := unpack(examples.Shop, folder); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder, "shop", app+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kind: Deployment\nmetadata:\n  name: " + app + "\n", "replicas: 6\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	database, err := os.ReadFile(filepath.Join(folder, "shop", "db.yaml"))
	if err != nil || !strings.Contains(string(database), "kind: StatefulSet\nmetadata:\n  name: db\n") {
		t.Errorf("the pod of the database has another name: %v\n%s", err, database)
	}
	kustomization, err := os.ReadFile(filepath.Join(folder, "shop", "kustomization.yaml"))
	if err != nil || !strings.Contains(string(kustomization), "namespace: "+namespace+"\n") {
		t.Errorf("the kustomization is for another namespace: %v\n%s", err, kustomization)
	}
}

// down is a playground that is not there.
func down(t *testing.T, out io.Writer, colour bool) *Story {
	t.Helper()
	return &Story{Env: &env.Env{}, Out: out, Colour: colour, Playground: filepath.Join("bin", "playground")}
}

func TestColourIsForTerminals(t *testing.T) {
	cases := map[string]struct {
		colour bool
		want   string
	}{
		"a file":     {false, "\n== Title\n   why\n   and how\n\n$ do it\n"},
		"a terminal": {true, "\n\x1b[1m== Title\x1b[0m\n   why\n   and how\n\n\x1b[36m$ do it\x1b[0m\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			story := down(t, &out, tc.colour)
			story.title("Title", "why", "and how")
			story.command("do it")
			story.output("\n\n") // nothing was printed
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

func TestWaitingEndsWithAReason(t *testing.T) {
	story := down(t, io.Discard, false)
	ctx, cancel := context.WithCancel(t.Context())
	err := story.until(ctx, "pods", func(context.Context) (string, error) {
		cancel()
		return "5 of 6 pods are available", nil
	})
	if err == nil || !strings.Contains(err.Error(), "wait for pods (5 of 6 pods are available)") {
		t.Errorf("error is %v", err)
	}
	broken := errors.New("broken")
	err = story.until(t.Context(), "pods", func(context.Context) (string, error) { return "", broken })
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	looks := 0
	err = story.until(t.Context(), "pods", func(context.Context) (string, error) {
		switch looks++; looks {
		case 1:
			return "", apierrors.NewNotFound(schema.GroupResource{Resource: "deployments"}, app)
		case 2:
			return "not yet", nil
		}
		return "", nil
	})
	if err != nil || looks != 3 {
		t.Errorf("%d looks, error %v", looks, err)
	}
}
