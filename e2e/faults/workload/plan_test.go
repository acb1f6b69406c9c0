package workload

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

var twoProviders = []string{"provider-1", "provider-2"}

// many is enough for everything that is rare to happen several times.
const many = 2500

func planOf(seed uint64) *Plan { return NewPlan(seed, twoProviders, Moderate()) }

func schemeOf(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme, err := env.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return scheme
}

// inFull writes down all that a step asks for.
func inFull(t *testing.T, scheme *runtime.Scheme, s Step) string {
	t.Helper()
	var out strings.Builder
	fmt.Fprintln(&out, s, s.Slot)
	for _, d := range s.Delete {
		nth := ptr.Deref(d.Nth, -1)
		fmt.Fprintf(&out, "delete %T %s %d %v\n", d.Object, client.ObjectKeyFromObject(d.Object), nth,
			ptr.Deref(d.Grace, -1))
	}
	for _, obj := range s.Apply {
		config, err := configuration(obj, scheme)
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(config.Object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "apply %s\n", text)
	}
	return out.String()
}

func TestTheSameSeedDecidesTheSame(t *testing.T) {
	one, same, other := planOf(11), NewPlan(11, []string{"provider-2", "provider-1"}, Moderate()), planOf(12)
	scheme, differs := schemeOf(t), false
	for range 300 {
		a, b, c := inFull(t, scheme, one.Next()), inFull(t, scheme, same.Next()), inFull(t, scheme, other.Next())
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("two plans of one seed (-one,+other):\n%s", diff)
		}
		differs = differs || a != c
	}
	if diff := cmp.Diff(one.world.expect(), same.world.expect()); diff != "" {
		t.Errorf("what is expected (-one,+other):\n%s", diff)
	}
	if !differs {
		t.Error("another seed decides the same")
	}
}

func TestEverythingHappensSoonerOrLater(t *testing.T) {
	p, seen := planOf(1), sets.New[string]()
	for range many {
		s := p.Next()
		seen.Insert(s.Does)
		for _, obj := range s.Apply {
			seen.Insert(traits(obj)...)
		}
		for _, d := range s.Delete {
			seen.Insert(fmt.Sprintf("grace %d", ptr.Deref(d.Grace, -1)))
		}
	}
	want := sets.New("grace -1", "grace 0", "grace 1", "DefaultName", "EnforceSameName", "SelectedName",
		"Local", "Remote", "LocalAndRemote", "nowhere", "provider-1", "provider-2", "virtual-node",
		annotationEnds, annotationFails, annotationRestarts, annotationRuns, annotationTakes)
	for _, c := range choices() {
		want.Insert(c.does)
	}
	if missing := want.Difference(seen); missing.Len() > 0 {
		t.Errorf("never happened in %d steps: %v", many, sets.List(missing))
	}
}

// traits names what is special about an object.
func traits(obj client.Object) []string {
	if o, ok := obj.(*v1beta1.NamespaceOffloading); ok {
		values := o.Spec.ClusterSelector.NodeSelectorTerms[0].MatchExpressions[0].Values
		return append(slices.Clone(values),
			string(o.Spec.NamespaceMappingStrategy), string(o.Spec.PodOffloadingStrategy))
	}
	return slices.Collect(maps.Keys(templateOf(obj).Annotations))
}

func TestTheLoadIsBounded(t *testing.T) {
	limits := Limits{Namespaces: 4, Pods: 15}
	p := NewPlan(3, twoProviders, limits)
	most := 0
	for range many {
		p.Next()
		pods := 0
		for _, ns := range p.world.slots {
			if ns == nil {
				continue
			}
			if len(ns.apps) > appsEach || len(ns.notes) > notesEach {
				t.Fatalf("namespace %s has %d apps and %d notes", ns.name, len(ns.apps), len(ns.notes))
			}
			for _, a := range ns.apps {
				pods += int(a.pods)
			}
		}
		most = max(most, pods)
	}
	if most > limits.Pods || most < limits.Pods/2 {
		t.Errorf("there were up to %d pods, of %d that may be", most, limits.Pods)
	}
	if len(p.world.slots) != limits.Namespaces {
		t.Errorf("there are %d places for namespaces", len(p.world.slots))
	}
}

func TestAStepStaysInItsNamespace(t *testing.T) {
	p := planOf(5)
	for range many {
		before := p.world.names
		s := p.Next()
		home := p.world.names[s.Slot]
		for _, obj := range slices.Concat(s.Apply, deleted(s)) {
			namespace := obj.GetNamespace()
			if _, ok := obj.(*corev1.Namespace); ok {
				namespace = obj.GetName()
			}
			if namespace != home || obj.GetLabels()[Mark] != "true" {
				t.Fatalf("%s in %s is about %T %s, labels %v; names %v", s, home, obj, client.ObjectKeyFromObject(obj),
					obj.GetLabels(), before)
			}
		}
		if len(s.Apply)+len(s.Delete) == 0 {
			t.Fatalf("%s does nothing", s)
		}
	}
}

// A namespace would wait for such a Job, and the Job for a pod that the namespace does not let in any more.
func TestJobsThatReplacePodsByIndexGoBeforeTheirNamespace(t *testing.T) {
	p, gone := planOf(5), 0
	for range many {
		before := slices.Clone(p.world.slots)
		s := p.Next()
		var want []string
		for _, obj := range deleted(s) {
			if _, ok := obj.(*corev1.Namespace); ok {
				for _, a := range before[s.Slot].apps {
					if a.fails != nil {
						want = append(want, "*v1.Job "+a.name)
					}
				}
				want = append(want, "*v1.Namespace "+obj.GetName())
			}
		}
		if len(want) == 0 {
			continue
		}
		var got []string
		for _, obj := range deleted(s) {
			got = append(got, fmt.Sprintf("%T %s", obj, obj.GetName()))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s deletes (-want,+got):\n%s", s, diff)
		}
		gone += len(want) - 1
	}
	if gone == 0 {
		t.Error("no such Job was there when its namespace was deleted")
	}
}

func deleted(s Step) []client.Object {
	var out []client.Object
	for _, d := range s.Delete {
		out = append(out, d.Object)
	}
	return out
}

// The fields that only servers fill, and names that they refuse, would be noticed on a cluster, but late.
func TestWhatIsAskedForIsLegal(t *testing.T) {
	p := planOf(8)
	for range many {
		for _, obj := range p.Next().Apply {
			if why := validation.IsDNS1123Label(obj.GetName()); len(why) > 0 {
				t.Fatalf("%T is called %s: %v", obj, obj.GetName(), why)
			}
			spec := templateOf(obj).Spec
			if len(spec.Containers) == 0 {
				continue
			}
			ends := templateOf(obj).Annotations[annotationEnds] != ""
			if ends && spec.RestartPolicy != corev1.RestartPolicyNever {
				t.Fatalf("%s ends, with restart policy %q", obj.GetName(), spec.RestartPolicy)
			}
		}
	}
}

func TestOnlySecretsHaveTheCanary(t *testing.T) {
	p, canary, secrets := planOf(9), Canary(9), 0
	if Canary(9) == Canary(10) || len(canary) < 7 {
		t.Fatalf("canaries are %s and %s", canary, Canary(10))
	}
	scheme := schemeOf(t)
	for range 500 {
		s := p.Next()
		for _, obj := range s.Apply {
			if secret, ok := obj.(*corev1.Secret); ok {
				secrets++
				if strings.Count(string(secret.Data["password"]), canary) < 6 {
					t.Fatalf("Secret %s has no canary", secret.Name)
				}
				secret.Data = nil
			}
		}
		if strings.Contains(inFull(t, scheme, s), canary) {
			t.Fatalf("%s shows the canary", s)
		}
	}
	if secrets < 20 {
		t.Errorf("only %d Secrets were written", secrets)
	}
}

// Every image is another one, or a change would change nothing.
func TestAChangeOfAnImageIsOne(t *testing.T) {
	p, last := planOf(10), map[string]string{}
	for range many {
		s := p.Next()
		for _, obj := range s.Apply {
			spec := templateOf(obj).Spec
			if len(spec.Containers) == 0 {
				continue
			}
			key, image := client.ObjectKeyFromObject(obj).String(), spec.Containers[0].Image
			if s.Does == "change the image of" && last[key] == image {
				t.Fatalf("%s: %s again", s, image)
			}
			last[key] = image
		}
	}
	if len(last) < 100 {
		t.Errorf("only %d apps came", len(last))
	}
}

// templateOf returns the pods of what has any.
func templateOf(obj client.Object) corev1.PodTemplateSpec {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		return o.Spec.Template
	case *appsv1.StatefulSet:
		return o.Spec.Template
	case *batchv1.Job:
		return o.Spec.Template
	case *corev1.Pod:
		return corev1.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
	}
	return corev1.PodTemplateSpec{}
}
