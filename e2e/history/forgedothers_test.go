package history_test

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/history"
)

func planted(kind history.NoteKind) history.Note {
	return history.Note{Kind: kind, Cluster: b, Resource: cm, Object: "shop-home/settings"}
}

func TestForeignObjectsAreLeftAlone(t *testing.T) { // I6
	const touched = "I6: foreign configmaps shop-home/settings on b was "
	theirs := func(value string) *corev1.ConfigMap {
		m := taken()
		m.Data["key"] = value
		return m
	}
	there := func() *forgery { return forge().at(1).offloaded().is(b, cm, theirs("1")) }
	lab := func() *forgery { return there().note(planted(history.Foreign)).at(10) }
	ref := auditv1.ObjectReference{Resource: cm, Namespace: "shop-home", Name: "settings"}
	forged{
		"nobody touches it":   {lab(), verdict{}},
		"somebody changes it": {lab().is(b, cm, theirs("2")), violates(touched + "changed")},
		"somebody deletes it": {lab().gone(b, cm, "shop-home/settings"), violates(touched + "deleted")},
		"somebody puts it back": {
			lab().gone(b, cm, "shop-home/settings").is(b, cm, theirs("1")), violates(touched + "deleted"),
		},
		"the lab takes it away": {
			lab().note(planted(history.Released)).at(11).gone(b, cm, "shop-home/settings"), verdict{},
		},
		"it is listed once more":   {listed(lab()), verdict{}},
		"the note comes before it": {forge().note(planted(history.Foreign)).at(5).is(b, cm, theirs("1")), verdict{}},
		"its namespace goes, and it with that": {
			lab().gone(b, cm, "shop-home/settings").at(11).gone(b, "namespaces", "/shop-home"), verdict{},
		},
		"its namespace goes, and is what was planted": {
			there().note(history.Note{Kind: history.Foreign, Cluster: b, Resource: "namespaces", Object: "theirs"}).
				is(b, "namespaces", build.Namespace("theirs").Obj()).at(10).gone(b, "namespaces", "/theirs"),
			violates("I6: foreign namespaces theirs on b was deleted"),
		},
		"our agent changes what nobody planted": {
			there().at(10).asked(b, agent, "patch", ref).is(b, cm, theirs("2")),
			violates(touched + "changed by " + agent),
		},
		"our agent deletes what nobody planted, which is heard first": {
			there().at(10).gone(b, cm, "shop-home/settings").at(11).asked(b, agent, "delete", ref),
			violates(touched + "deleted by " + agent),
		},
		"its owner changes it": {
			there().at(10).asked(b, "kubernetes-admin", "update", ref).is(b, cm, theirs("2")), verdict{},
		},
		"our agent asks, and is refused; its owner changes it": {
			refused(there().at(10).asked(b, agent, "patch", ref)).asked(b, "kubernetes-admin", "update", ref).
				is(b, cm, theirs("2")),
			verdict{},
		},
		"our agent changed what is ours": {
			there().is(b, cm, mirrored(settings("m", "1"))).is(home, cm, settings("m", "1")).
				at(10).asked(b, agent, "patch", ref).is(b, cm, mirrored(settings("m", "2"))),
			verdict{},
		},
		"our agent changed another at that time": {
			there().at(10).asked(b, agent, "patch", auditv1.ObjectReference{
				Resource: "secrets", Namespace: "shop-home", Name: "settings",
			}).is(b, cm, theirs("2")),
			verdict{},
		},
	}.check(t)
}

// listed is that everything is told again, as it was.
func listed(f *forgery) *forgery {
	for _, e := range f.entries {
		if e.Source == cm {
			f.write(e)
		}
	}
	return f
}

func refused(f *forgery) *forgery {
	f.entries[len(f.entries)-1].Audit.ResponseStatus.Code = 403
	return f
}

func TestAnIdleSystemWritesNextToNothing(t *testing.T) { // I10
	node := auditv1.ObjectReference{Resource: "nodes", Subresource: "status", Name: b}
	idle := func(seconds int, then func(f *forgery)) *forgery {
		f := forge().at(10).note(history.Note{Kind: history.IdleBegin}).at(11)
		then(f)
		return f.at(10 + seconds).note(history.Note{Kind: history.IdleEnd})
	}
	writes := func(n int, user, verb string, ref auditv1.ObjectReference) func(*forgery) {
		return func(f *forgery) {
			for range n {
				f.asked(home, user, verb, ref)
			}
		}
	}
	const much = "I10: in 2m0s in which nobody did anything, our components wrote 3 times, which may be 2: " +
		"3 times home patch nodes/status"
	lease := auditv1.ObjectReference{Resource: "leases", APIGroup: "coordination.k8s.io", Name: b}
	review := auditv1.ObjectReference{Resource: "subjectaccessreviews", APIGroup: "authorization.k8s.io"}
	early := forge().at(1).asked(home, manager, "patch", node).asked(home, manager, "patch", node)
	forged{
		"nothing":                      {idle(120, func(*forgery) {}), verdict{}},
		"once a minute":                {idle(120, writes(2, manager, "patch", node)), verdict{}},
		"more often":                   {idle(120, writes(3, manager, "patch", node)), violates(much)},
		"leases only":                  {idle(120, writes(60, agent, "update", lease)), verdict{}},
		"reviews store nothing":        {idle(120, writes(60, agent, "create", review)), verdict{}},
		"reads":                        {idle(120, writes(60, agent, "get", node)), verdict{}},
		"others write":                 {idle(120, writes(60, "system:node:n", "patch", node)), verdict{}},
		"once in less than a minute":   {idle(20, writes(1, manager, "patch", node)), verdict{}},
		"before it was idle":           {ends(early.at(10).note(history.Note{Kind: history.IdleBegin})), verdict{}},
		"an end that has no beginning": {ends(forge().at(1).asked(home, manager, "patch", node)), verdict{}},
	}.check(t)
}

func ends(f *forgery) *forgery { return f.at(99).note(history.Note{Kind: history.IdleEnd}) }

func TestAThousandObjectsMoreMayBeWrittenOnceMore(t *testing.T) {
	f := forge()
	for i := range 1001 {
		m := settings("m", "1")
		m.Name += string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		f.is(b, cm, mirrored(m))
	}
	f.at(10).note(history.Note{Kind: history.IdleBegin})
	for range 2 {
		f.asked(b, agent, "patch", auditv1.ObjectReference{Resource: cm})
	}
	v := f.at(40).note(history.Note{Kind: history.IdleEnd}).check(t)
	if len(v.Violations) > 0 || v.Judged[history.I10] != 1 {
		t.Errorf("got %v, judged %v", v.Violations, v.Judged)
	}
}

func TestASecretShowsUpNowhere(t *testing.T) { // I11
	const bird = "cAnary-6f1d-tweet"
	based := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for what, test := range map[string]struct {
		file, text string
		want       []string
	}{
		"a log without it":        {"evidence/agent.log", "reflected secret shop/password", nil},
		"a log":                   {"evidence/agent.log", "wrote " + bird + "!", []string{"evidence/agent.log"}},
		"a command line":          {"evidence/arguments", "--password=" + bird, []string{"evidence/arguments"}},
		"in hexadecimal digits":   {"evidence/l", hex.EncodeToString([]byte("x" + bird)), []string{"evidence/l"}},
		"an object":               {"b/events.jsonl", line(bird), []string{"b/events.jsonl"}},
		"in base64":               {"evidence/l", based(bird), []string{"evidence/l"}},
		"in base64, one further":  {"evidence/l", based("k" + bird + "x"), []string{"evidence/l"}},
		"in base64, two further":  {"evidence/l", based("kk" + bird + "x"), []string{"evidence/l"}},
		"across two chunks":       {"evidence/l", strings.Repeat("c", 1<<20-5) + bird, []string{"evidence/l"}},
		"only its beginning":      {"evidence/l", bird[:len(bird)-1], nil},
		"in another letter case":  {"evidence/l", strings.ToUpper(bird), nil},
		"in the list of canaries": {"evidence/l", "", nil},
	} {
		t.Run(what, func(t *testing.T) {
			dir := forge().record(t)
			write(t, filepath.Join(dir, "canaries.jsonl"),
				map[string]string{"why": "Secret shop/password", "text": bird})
			path := filepath.Join(dir, test.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(test.text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			v, err := history.Check(dir)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, file := range test.want {
				want = append(want, "I11: the content of Secret shop/password is in "+file)
			}
			if diff := cmp.Diff(want, sentences(v.Violations)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
			if v.Judged[history.I11] != 1 {
				t.Errorf("judged %d canaries, want 1", v.Judged[history.I11])
			}
		})
	}
}

// line is an entry with an event that says something.
func line(says string) string {
	return `{"at":"` + moment(1).Format(time.RFC3339) + `","cluster":"b","source":"events","type":"ADDED","object":` +
		`{"metadata":{"namespace":"shop-home","name":"e"},"message":"` + says + `"}}`
}
