package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const generated = "../../manifests/crd/offloading.liqo.io_namespaceoffloadings.yaml"

func TestWhatIsMissingIsSaid(t *testing.T) {
	whole, err := os.ReadFile(generated)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ from, to, want string }{
		"nothing is missing":        {},
		"a list of requirements":    {"matchFields:", "matchOthers:", "no matchFields in {"},
		"a field of a requirement":  {"operator:", "operation:", "no properties.operator in {key, operation, values}"},
		"a level above all of them": {"nodeSelectorTerms:", "terms:", "nodeSelectorTerms in {terms}"},
		"the metadata":              {"metadata:\n            prop", "meta:\n            prop", "metadata in {"},
		"the schema":                {"openAPIV3Schema:", "schema3:", "no schema.openAPIV3Schema in {schema3}"},
		"the version":               {"versions:", "version:", "not one version"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			text := whole
			if tc.from != "" {
				text = bytes.ReplaceAll(whole, []byte(tc.from), []byte(tc.to))
				if bytes.Equal(text, whole) {
					t.Fatalf("there is no %q to take away", tc.from)
				}
			}
			file := filepath.Join(t.TempDir(), "crd.yaml")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			err := complete(file)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			after, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(after, text) { // what is complete stays, what is incomplete is not written
				t.Error("the file was changed")
			}
		})
	}
}
