package reflection

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var widgets = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}

type fields = map[string]any

func everybody(*unstructured.Unstructured) bool { return true }
func nobody(*unstructured.Unstructured) bool    { return false }

func widget(more fields) *unstructured.Unstructured {
	obj := fields{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": fields{"name": "w"}}
	for key, value := range more {
		obj[key] = value
	}
	return &unstructured.Unstructured{Object: obj}
}

func TestWhatOfACustomResourceGoesAway(t *testing.T) {
	for name, c := range map[string]struct{ src, dst, want fields }{
		"a new copy has the spec and no status": {
			src:  fields{"spec": fields{"size": int64(3)}, "status": fields{"ready": true}},
			want: fields{"spec": fields{"size": int64(3)}},
		},
		"the spec is home's, the status the provider's": {
			src:  fields{"spec": fields{"size": int64(3)}, "status": fields{"ready": false}},
			dst:  fields{"spec": fields{"size": int64(1), "colour": "red"}, "status": fields{"ready": true}},
			want: fields{"spec": fields{"size": int64(3)}, "status": fields{"ready": true}},
		},
		"whatever a kind has beside a spec goes as well": {
			src:  fields{"data": fields{"a": "1"}, "rules": []any{"x", "y"}},
			dst:  fields{"rules": []any{"x"}},
			want: fields{"data": fields{"a": "1"}, "rules": []any{"x", "y"}},
		},
		"what home has no longer leaves": {
			src:  fields{"spec": fields{}},
			dst:  fields{"spec": fields{"a": "1"}, "old": "x"},
			want: fields{"spec": fields{}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := widget(c.src), widget(c.dst)
			before := src.DeepCopy()
			CustomResource(widgets, "Widget", everybody).mirror(dst, src)
			if diff := cmp.Diff(widget(c.want).Object, dst.Object); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
			if spec, has := dst.Object["spec"].(fields); has {
				spec["changed"] = "by an answer that is decoded into it"
			}
			if diff := cmp.Diff(before.Object, src.Object); diff != "" {
				t.Errorf("the home object changed (-want,+got)\n%s", diff)
			}
		})
	}
}

func TestTheStatusOfACustomResourceComesHome(t *testing.T) {
	for name, c := range map[string]struct {
		speaks        func(*unstructured.Unstructured) bool
		src, dst, out fields
	}{
		"it has one": {
			speaks: everybody,
			src:    fields{"spec": fields{"size": int64(9)}, "status": fields{"ready": true}},
			dst:    fields{"spec": fields{"size": int64(3)}, "status": fields{"ready": false, "old": "x"}},
			out:    fields{"spec": fields{"size": int64(3)}, "status": fields{"ready": true}},
		},
		"it has none yet": {
			speaks: everybody,
			src:    fields{},
			dst:    fields{"status": fields{"ready": false}},
			out:    fields{"status": fields{"ready": false}},
		},
		"another provider has the word": {
			speaks: nobody,
			src:    fields{"status": fields{"ready": true}},
			dst:    fields{"status": fields{"ready": false}},
			out:    fields{"status": fields{"ready": false}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dst := widget(c.dst)
			CustomResource(widgets, "Widget", c.speaks).feedback(dst, widget(c.src))
			if diff := cmp.Diff(widget(c.out).Object, dst.Object); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

// The rights to them are given namespace by namespace, whatever the scope.
func TestCustomResourcesAreWatchedWhereTheyMayBe(t *testing.T) {
	home, away := newWatchedCluster(t), newWatchedCluster(t)
	h := newHarness(t)
	h.m.opts.Home = NewSources(SourceOptions{Client: home, Scope: ScopeCluster})
	h.m.opts.Away = NewSources(SourceOptions{Client: away, Scope: ScopeCluster})
	r, err := newReflector(h.m, CustomResource(widgets, "Widget", everybody))
	if err != nil {
		t.Fatal(err)
	}
	defer r.queue.ShutDown()
	atHome := h.m.opts.Home.open(t.Context(), r.homeSubject(), testHome, &heard{})
	onProvider := h.m.opts.Away.open(t.Context(), r.awaySubject(), testAway, &heard{})
	home.expectWatches(t, testHome)
	away.expectWatches(t, testAway)
	if !ended(h.m.opts.Home.close(atHome)) || !ended(h.m.opts.Away.close(onProvider)) {
		t.Error("a watch does not end")
	}
}

func TestParseCustomResources(t *testing.T) {
	for name, c := range map[string]struct {
		texts []string
		want  []schema.GroupVersionResource
		err   string
	}{
		"one": {texts: []string{"widgets.v1.example.com"}, want: []schema.GroupVersionResource{widgets}},
		"a kind of Kubernetes that is a custom resource": {
			texts: []string{"httproutes.v1beta1.gateway.networking.k8s.io"},
			want: []schema.GroupVersionResource{
				{Group: "gateway.networking.k8s.io", Version: "v1beta1", Resource: "httproutes"},
			},
		},
		"none": {},
		"one that is said twice": {
			texts: []string{"widgets.v1.example.com", "widgets.v1.example.com"},
			want:  []schema.GroupVersionResource{widgets},
		},
		"two versions of one": {
			texts: []string{"widgets.v1.example.com", "widgets.v2.example.com"},
			err:   `"widgets.v2.example.com": version v1 is asked for, too; one of them is enough`,
		},
		"without a version": {
			texts: []string{"widgets.example.com"},
			err:   `"widgets.example.com": must be PLURAL.VERSION.GROUP, such as certificates.v1.cert-manager.io`,
		},
		"of the core":      {texts: []string{"pods.v1"}, err: "must be PLURAL.VERSION.GROUP"},
		"of a plain group": {texts: []string{"deployments.v1.apps"}, err: "must be PLURAL.VERSION.GROUP"},
		"a kind":           {texts: []string{"Widget.v1.example.com"}, err: "must be PLURAL.VERSION.GROUP"},
		"nothing":          {texts: []string{""}, err: "must be PLURAL.VERSION.GROUP"},
		"too long":         {texts: []string{"w.v1." + strings.Repeat("a.", 130) + "b"}, err: "must be PLURAL"},
		"of Kubernetes": {
			texts: []string{"ingresses.v1.networking.k8s.io"},
			err: `"ingresses.v1.networking.k8s.io": only custom resources can be reflected by name, not what group ` +
				`networking.k8s.io has`,
		},
		"rights":  {texts: []string{"roles.v1.rbac.authorization.k8s.io"}, err: "only custom resources"},
		"our own": {texts: []string{"virtualnodes.v1beta1.offloading.liqo.io"}, err: "only custom resources"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCustomResources(c.texts)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

// customRig is CustomResources with an API server that the test plays.
type customRig struct {
	c         *CustomResources
	serves    map[string][]metav1.APIResource // by group and version
	down      error
	reflected [][]string // resource kind, of each call
	refuse    error
	told      []string
}

func newCustomRig() *customRig {
	r := &customRig{serves: map[string][]metav1.APIResource{}}
	r.c = NewCustomResources(CustomResourcesOptions{
		Discover: func(gv string) (*metav1.APIResourceList, error) {
			if r.down != nil {
				return nil, r.down
			}
			if list, ok := r.serves[gv]; ok {
				return &metav1.APIResourceList{APIResources: list}, nil
			}
			return nil, apierrors.NewNotFound(schema.GroupResource{}, "")
		},
		Reflect: func(kinds ...Reflected) error {
			if r.refuse != nil {
				return r.refuse
			}
			names := []string{}
			for _, kind := range kinds {
				names = append(names, kind.resource+" "+kind.create().GetObjectKind().GroupVersionKind().Kind)
			}
			r.reflected = append(r.reflected, names)
			return nil
		},
		Speaks: everybody,
		Tell:   func(message string) { r.told = append(r.told, message) },
	})
	return r
}

// settle returns what was newly reflected, or nil, and when is looked again.
func (r *customRig) settle() ([]string, time.Duration) {
	r.reflected = nil
	next := r.c.settle(context.Background())
	if len(r.reflected) == 0 {
		return nil, next
	}
	return r.reflected[0], next
}

func TestCustomResourcesAreReflectedAsTheyBecomeKnown(t *testing.T) {
	r := newCustomRig()
	check := func(what string, want []string, wantNext time.Duration) {
		t.Helper()
		got, next := r.settle()
		if diff := cmp.Diff(want, got); diff != "" || next != wantNext {
			t.Errorf("%s, and again in %s (-want,+got)\n%s", what, next, diff)
		}
	}
	check("none is wanted", nil, kindKnown)

	r.c.Want([]string{"widgets.v1.example.com"})
	check("home does not know it: the engine tells", []string{"widgets.example.com widgets"}, kindMissing)
	check("nor a moment later", nil, kindMissing)
	r.serves["example.com/v1"] = []metav1.APIResource{{Name: "widgets/status", Kind: "Widget", Namespaced: true}}
	check("it has the group, but not the kind", nil, kindMissing)
	r.serves["example.com/v1"] = append(r.serves["example.com/v1"],
		metav1.APIResource{Name: "widgets", Kind: "Widget", Namespaced: true})
	check("now it has", []string{"widgets.example.com Widget"}, kindKnown)
	check("nothing is new", nil, kindKnown)

	r.down = errors.New("connection refused")
	check("home does not answer", nil, kindMissing)
	r.down = nil
	delete(r.serves, "example.com/v1")
	check("the definition was removed", nil, kindMissing)
	r.serves["example.com/v1"] = []metav1.APIResource{{Name: "widgets", Kind: "Gadget", Namespaced: true}}
	check("and made anew", []string{"widgets.example.com Gadget"}, kindKnown)

	r.c.Want(nil)
	check("none is wanted any more", []string{}, kindKnown)
	if len(r.told) > 0 {
		t.Errorf("told %q", r.told)
	}
}

func TestWhatIsWrongWithOneCustomResourceDoesNotKeepOthersBack(t *testing.T) {
	r := newCustomRig()
	r.serves["example.com/v1"] = []metav1.APIResource{
		{Name: "widgets", Kind: "Widget", Namespaced: true}, {Name: "worlds", Kind: "World"},
	}
	r.c.Want([]string{
		"worlds.v1.example.com", "widgets.v1.example.com", "widgets.v2.example.com", "nonsense",
		"widgets.v1.example.com",
	})
	for range 2 { // what is wrong is told once
		if got, _ := r.settle(); got != nil {
			if diff := cmp.Diff([]string{"widgets.example.com Widget"}, got); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		}
	}
	want := []string{
		`cannot be reflected: "nonsense": must be PLURAL.VERSION.GROUP, such as certificates.v1.cert-manager.io`,
		`cannot be reflected: "widgets.v2.example.com": another version is asked for, too; one of them is enough`,
		"cannot be reflected: worlds.example.com: it is a kind of objects that are not in namespaces",
	}
	if diff := cmp.Diff(want, r.told); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestCustomResourcesThatTheEngineRefusesAreToldAndTriedAgain(t *testing.T) {
	r := newCustomRig()
	r.serves["example.com/v1"] = []metav1.APIResource{{Name: "widgets", Kind: "Widget", Namespaced: true}}
	r.c.Want([]string{"widgets.v1.example.com"})
	r.refuse = errors.New("policy Referenced of widgets.example.com: nobody can say what refers to them")
	for range 2 {
		if _, next := r.settle(); next != kindMissing {
			t.Errorf("tried again in %s", next)
		}
	}
	if len(r.told) != 1 || !strings.Contains(r.told[0], "policy Referenced") {
		t.Errorf("told %q", r.told)
	}
	r.refuse = nil
	if got, _ := r.settle(); len(got) != 1 {
		t.Errorf("reflected %q", got)
	}
}

func TestCustomResourcesReactToWhatIsWanted(t *testing.T) {
	r := newCustomRig()
	r.serves["example.com/v1"] = []metav1.APIResource{{Name: "widgets", Kind: "Widget", Namespaced: true}}
	called := make(chan struct{}, 10)
	r.c.opts.Reflect = func(...Reflected) error { called <- struct{}{}; return nil }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.c.Start(ctx)
	}()
	for _, wanted := range [][]string{{"widgets.v1.example.com"}, nil} {
		r.c.Want(wanted)
		select {
		case <-called:
		case <-time.After(30 * time.Second):
			t.Fatalf("%q: nothing happens", wanted)
		}
	}
	cancel()
	<-ended
}
