package history

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func auditLine(verb, name string) string {
	return fmt.Sprintf(`{"kind":"Event","stage":"ResponseComplete","verb":%q,`+
		`"objectRef":{"resource":"pods","name":%q},`+
		`"stageTimestamp":"2026-01-01T00:00:01.000000Z"}`+"\n", verb, name)
}

func TestAnAuditLogIsFollowedThroughItsRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	appendTo := func(path, text string) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(path, auditLine("create", "before"))
	var got []string
	log := newAuditLog("home", path, func(e Entry) {
		got = append(got, fmt.Sprint(e.At.Unix(), " ", e.Audit.Verb, " ", e.Audit.ObjectRef.Name))
	}, time.Now)
	if err := log.open(io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	reads := func(want ...string) {
		t.Helper()
		got = nil
		if err := log.more(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want,+got:\n%s", diff)
		}
	}
	reads()
	half := auditLine("patch", "b")
	reading := auditLine("get", "a") + auditLine("watch", "a") + auditLine("list", "a")
	appendTo(path, auditLine("create", "a")+reading+half[:30])
	reads("1767225601 create a")
	appendTo(path, half[30:])
	reads("1767225601 patch b")
	appendTo(path, auditLine("delete", "c"))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	reads("1767225601 delete c")
	appendTo(path+".1", auditLine("delete", "d"))
	appendTo(path, auditLine("delete", "e"))
	reads("1767225601 delete d", "1767225601 delete e")
	appendTo(path, "nonsense\n")
	if err := log.more(); err == nil || !strings.Contains(err.Error(), "read audit log of home") {
		t.Errorf("got %v", err)
	}
	if err := log.lines.file.Close(); err != nil {
		t.Error(err)
	}
}
