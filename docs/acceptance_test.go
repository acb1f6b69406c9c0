package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// sources returns the text of all tests, by the folder that they are in.
func sources(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // G122: our own files
		folder, _ := filepath.Rel(root, filepath.Dir(path))
		out[folder] += string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// unfounded returns what a page names and the tests do not have: each `folder/TestName` and, after another slash, the
// subtest as it is written in the source.
func unfounded(page string, tests map[string]string) []string {
	var out []string
	named := regexp.MustCompile("`([a-z0-9/-]+)/((?:Test|Fuzz)\\w+)(?:/([^`]+))?`")
	for _, match := range named.FindAllStringSubmatch(page, -1) {
		text, name, sub := tests[match[1]], match[2], match[3]
		if !strings.Contains(text, "func "+name+"(") || sub != "" && !strings.Contains(text, `"`+sub+`"`) {
			out = append(out, match[0])
		}
	}
	return out
}

func TestAcceptanceNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("acceptance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range unfounded(string(page), sources(t, "..")) {
		t.Errorf("acceptance.md names %s, which does not exist", name)
	}
}

// Every promise about pods and reflection has its line, with a test or with the reason why there is none.
func TestAcceptanceLeavesNothingOut(t *testing.T) {
	page, err := os.ReadFile("acceptance.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| ([OIR]\d+) \|[^|]+\|(.*)\|$`)
	found := map[string]bool{}
	for _, match := range row.FindAllStringSubmatch(string(page), -1) {
		found[match[1]] = strings.Contains(match[2], "`") || strings.Contains(match[2], "not tested")
	}
	for kind, last := range map[string]int{"O": 13, "R": 13, "I": 11} {
		for n := 1; n <= last; n++ {
			if line := kind + strconv.Itoa(n); !found[line] {
				t.Errorf("acceptance.md has no line about %s that names a test", line)
			}
		}
	}
}

func TestUnfounded(t *testing.T) {
	tests := map[string]string{"provider": `func TestA(t *testing.T) { t.Run("a pod starts", f) }`}
	for page, want := range map[string]int{
		"`provider/TestA`":                                0,
		"`provider/TestA/a pod starts`":                   0,
		"`provider/TestA/a pod ends`":                     1,
		"`provider/TestB` and `elsewhere/TestA`":          2,
		"TestB without a folder, and `provider/other.go`": 0,
	} {
		if got := unfounded(page, tests); len(got) != want {
			t.Errorf("%s: unfounded are %v, want %d", page, got, want)
		}
	}
}
