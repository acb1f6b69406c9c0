package docs

import (
	"os"
	"strings"
	"testing"

	"github.com/twinspace/twinspace/e2e/faults/nemesis"
)

// TestEveryFaultIsOnThePage: with what it does, and no fault is there that is gone.
func TestEveryFaultIsOnThePage(t *testing.T) {
	page, err := os.ReadFile("reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) == 6 && strings.HasPrefix(cells[0], " `") { // of the table of all faults
			rows[strings.Trim(cells[0], " `")] = strings.TrimSpace(cells[1])
		}
	}
	for _, f := range nemesis.Catalogue() {
		if rows[f.Name] != f.Does {
			t.Errorf("fault %s does %q, and the page says %q", f.Name, f.Does, rows[f.Name])
		}
		delete(rows, f.Name)
	}
	for name := range rows {
		t.Errorf("the page has fault %s, which is gone", name)
	}
}
