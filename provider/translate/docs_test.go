package translate

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

var update = flag.Bool("update", false, "write the tables of docs/pods.md anew")

// docs/pods.md has each table between two such lines.
const (
	docs  = "../../docs/pods.md"
	begin = "<!-- %s: written by go test ./provider/translate -update -->\n"
	end   = "<!-- end -->\n"
)

func TestDocsSayWhatTheTablesSay(t *testing.T) {
	content, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for name, want := range map[string]string{
		"PodSpec":      fieldTable(reflect.TypeFor[corev1.PodSpec](), PodSpecFields()),
		"PodStatus":    fieldTable(reflect.TypeFor[corev1.PodStatus](), PodStatusFields()),
		"downward API": downwardTable(),
	} {
		before, rest, found := strings.Cut(text, fmt.Sprintf(begin, name))
		got, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no place for the table %s", docs, name)
		}
		if *update {
			text = before + fmt.Sprintf(begin, name) + want + end + after
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, table %s (-want,+got):\n%s", docs, name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(docs, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// fieldTable has the fields in the order of the type, under the names that users write.
func fieldTable(of reflect.Type, table map[string]Field) string {
	out := "| field | | |\n|---|---|---|\n"
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		line := table[of.Field(i).Name]
		out += fmt.Sprintf("| `%s` | %s | %s |\n", name, line.Treatment, line.Why)
	}
	return out
}

func downwardTable() string {
	fields := DownwardFields()
	out := "| field | whose truth | read from | |\n|---|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		from := ""
		if path := fields[name].Path; path != "" {
			from = "`" + path + "`"
		}
		out += fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, fields[name].Truth, from, fields[name].Why)
	}
	return out
}
