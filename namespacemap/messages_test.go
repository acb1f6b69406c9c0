package namespacemap

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestMessagesAreCutByWhatTheyTakeAsJSON(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"it fits":                         {"plain", 5, "plain"},
		"too long":                        {"plain words", 5, "plain"},
		"a quote takes two":               {`"a"`, 4, `"a`},
		"what HTML would read takes six":  {"<<", 11, "<"},
		"a control character takes six":   {"a\x01b", 6, "a"},
		"a broken character takes six":    {"\xff\xff", 11, "\xff"},
		"characters are never cut in two": {"añ", 2, "a"},
		"nothing":                         {"", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := bounded(test.text, test.limit); got != test.want {
				t.Errorf("bounded(%q, %d) = %q, want %q", test.text, test.limit, got, test.want)
			}
		})
	}
}

func TestNoTextTakesMoreThanItsBound(t *testing.T) {
	everything := strings.Builder{}
	for r := range rune(0x3000) {
		everything.WriteRune(r)
	}
	for at := 0; at+600 < everything.Len(); at += 97 {
		data, err := json.Marshal(bounded(everything.String()[at:], maxMessage))
		if err != nil {
			t.Fatal(err)
		}
		if size := len(data) - len(`""`); size > maxMessage {
			t.Fatalf("%d bytes from %d on: %s", size, at, data)
		}
	}
}

func TestMessagesAreShorterInACrowdedMap(t *testing.T) {
	for name, test := range map[string]struct {
		// asked are desired, leaving only answered, both both.
		asked, leaving, both int
		want                 int
	}{
		"all have their answer":                 {both: crowd, want: maxMessage},
		"one more":                              {both: crowd + 1, want: crowdedMessage},
		"nobody has an answer yet":              {asked: crowd + 1, want: crowdedMessage},
		"all are on their way out":              {leaving: crowd + 1, want: crowdedMessage},
		"some come, some go":                    {asked: crowd / 2, leaving: crowd/2 + 1, want: crowdedMessage},
		"some come, some go, and there is room": {asked: crowd / 2, leaving: crowd / 2, want: maxMessage},
	} {
		t.Run(name, func(t *testing.T) {
			m := build.Map("b")
			for i := range test.asked {
				m.Want(fmt.Sprint("asked-", i), "x")
			}
			for i := range test.leaving {
				m.Has(fmt.Sprint("leaving-", i), "x", v1beta1.MappingTerminating)
			}
			for i := range test.both {
				m.Want(fmt.Sprint("both-", i), "x").Has(fmt.Sprint("both-", i), "x", v1beta1.MappingAccepted)
			}
			if got := messageLimit(m.Obj()); got != test.want {
				t.Errorf("messages may have %d bytes, want %d", got, test.want)
			}
		})
	}
}

func TestWordsAreFewerInACrowdedMap(t *testing.T) {
	for name, test := range map[string]struct {
		others, want int
	}{
		"there is room": {0, maxMessage},
		"a crowd":       {crowd, crowdedMessage},
	} {
		t.Run(name, func(t *testing.T) {
			m := build.Map("b").Want("shop", "shop-a")
			for i := range test.others {
				m.Want(fmt.Sprint("ns-", i), "x")
			}
			a := newAgent(t, []client.Object{build.Namespace("shop").UID("uid-1").Obj(), m.Obj()})
			a.away.before = func(string, client.Object) error { return errors.New(strings.Repeat("m", 2000)) }
			if _, err := a.visit(t, "shop"); err == nil {
				t.Fatal("no error")
			}
			if got := len(a.entry(t).Message); got != test.want {
				t.Errorf("a message of %d bytes, want %d", got, test.want)
			}
			a.home.forget()
			_, _ = a.visit(t, "shop")
			if len(a.home.writes) > 0 {
				t.Errorf("the same was answered again: %v", a.home.writes)
			}
		})
	}
}
