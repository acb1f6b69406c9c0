package reflection

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestDifference(t *testing.T) {
	for name, tc := range map[string]struct{ have, want, patch string }{
		"nothing changes":              {`{"a":1,"m":{"x":[1]}}`, `{"a":1,"m":{"x":[1]}}`, `{}`},
		"a value changes":              {`{"a":1,"b":2}`, `{"a":3,"b":2}`, `{"a":3}`},
		"a value is new":               {`{}`, `{"a":1}`, `{"a":1}`},
		"a value goes":                 {`{"a":1,"b":2}`, `{"b":2}`, `{"a":null}`},
		"inside an object":             {`{"m":{"x":1,"y":2,"z":3}}`, `{"m":{"x":1,"y":4}}`, `{"m":{"y":4,"z":null}}`},
		"a list is replaced":           {`{"l":[1,2]}`, `{"l":[1]}`, `{"l":[1]}`},
		"an object becomes a value":    {`{"m":{"x":1}}`, `{"m":1}`, `{"m":1}`},
		"a value becomes an object":    {`{"m":1}`, `{"m":{"x":1}}`, `{"m":{"x":1}}`},
		"an object that was not there": {`{}`, `{"m":{"x":1}}`, `{"m":{"x":1}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(difference(parse(t, tc.have), parse(t, tc.want)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.patch, string(got)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAPatchIsForOneObjectInOneState(t *testing.T) {
	live := secret("s")
	live.UID, live.ResourceVersion = "uid-1", "7"
	for name, tc := range map[string]struct {
		change func(obj client.Object)
		want   string
	}{
		"nothing changes": {
			func(client.Object) {}, `{"metadata":{"resourceVersion":"7","uid":"uid-1"}}`,
		},
		"a label is new": {
			func(o client.Object) { o.SetLabels(map[string]string{"a": "b"}) },
			`{"metadata":{"labels":{"a":"b"},"resourceVersion":"7","uid":"uid-1"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := live.DeepCopy()
			tc.change(want)
			patch, _, err := patchOf(live, want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := patch.Data(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}
