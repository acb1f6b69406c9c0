package schedplugin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	schedulerv1 "k8s.io/kube-scheduler/config/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestArgsOf(t *testing.T) {
	given := func(policy v1beta1.SpreadPolicy, label string) *Args {
		return &Args{Spread: v1beta1.Spread{Policy: policy, WeightLabel: label}}
	}
	long := strings.Repeat("a", 64)
	for name, test := range map[string]struct {
		given   runtime.Object
		want    v1beta1.Spread
		wantErr []string
	}{
		"no arguments":       {nil, v1beta1.Spread{Policy: v1beta1.SpreadPreferHome}, nil},
		"no spread":          {&Args{}, v1beta1.Spread{Policy: v1beta1.SpreadPreferHome}, nil},
		"home first":         {given("PreferHome", ""), v1beta1.Spread{Policy: v1beta1.SpreadPreferHome}, nil},
		"evenly":             {given("Even", ""), v1beta1.Spread{Policy: v1beta1.SpreadEven}, nil},
		"left to the others": {given("None", ""), v1beta1.Spread{Policy: v1beta1.SpreadNone}, nil},
		"by a label": {
			given("Weighted", "example.com/cost"),
			v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: "example.com/cost"}, nil,
		},
		"unknown policy": {given("even", ""), v1beta1.Spread{}, []string{
			`args.spread.policy: Unsupported value: "even": supported values: "PreferHome", "Even", "Weighted", "None"`,
		}},
		"by a label, without one": {given("Weighted", ""), v1beta1.Spread{}, []string{
			"args.spread.weightLabel: Required value: must be set when policy is Weighted",
		}},
		"a label that nobody reads": {given("Even", "cost"), v1beta1.Spread{}, []string{
			"args.spread.weightLabel: Forbidden: may only be set when policy is Weighted",
		}},
		"a label without a policy": {given("", "cost"), v1beta1.Spread{}, []string{
			"args.spread.weightLabel: Forbidden: may only be set when policy is Weighted",
		}},
		"a label that no node can have": {given("Weighted", "example.com/"+long), v1beta1.Spread{}, []string{
			`args.spread.weightLabel: Invalid value: "example.com/` + long + `": must be a qualified label name: `,
			"no more than 63",
		}},
		"everything is wrong": {given("Odd", "a b"), v1beta1.Spread{}, []string{
			`args.spread.policy: Unsupported value: "Odd"`, `args.spread.weightLabel: Invalid value: "a b"`,
		}},
		"arguments of something else": {&runtime.Unknown{}, v1beta1.Spread{}, []string{
			"arguments are a *runtime.Unknown, not a NamespaceOffloadingArgs of kubescheduler.config.k8s.io/v1",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			args, err := argsOf(test.given)
			if (err != nil) != (test.wantErr != nil) {
				t.Fatalf("error %v, want %q", err, test.wantErr)
			}
			for _, want := range test.wantErr {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(test.want, args.Spread); diff != "" {
				t.Errorf("spread (-want,+got):\n%s", diff)
			}
		})
	}
}

// TestArgsInAScheme: arguments are decoded strictly, have their defaults, and convert to the version of programs.
func TestArgsInAScheme(t *testing.T) {
	scheme := runtime.NewScheme()
	AddToScheme(scheme)
	AddToScheme(scheme) // commands are made more than once
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	decode := func(spread string) (runtime.Object, error) {
		const head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: NamespaceOffloadingArgs\n"
		return runtime.Decode(codecs.UniversalDecoder(), []byte(head+spread))
	}
	for spread, want := range map[string]v1beta1.Spread{
		"":             {Policy: v1beta1.SpreadPreferHome},
		"spread: {}\n": {Policy: v1beta1.SpreadPreferHome},
		"spread: {policy: Weighted, weightLabel: cost}\n": {Policy: v1beta1.SpreadWeighted, WeightLabel: "cost"},
	} {
		obj, err := decode(spread)
		if err != nil {
			t.Fatalf("%q: %v", spread, err)
		}
		internal := schema.GroupVersion{Group: schedulerv1.GroupName, Version: runtime.APIVersionInternal}
		converted, err := scheme.ConvertToVersion(obj, internal)
		if err != nil {
			t.Fatalf("%q: %v", spread, err)
		}
		if diff := cmp.Diff(want, converted.(*Args).Spread); diff != "" {
			t.Errorf("%q (-want,+got):\n%s", spread, diff)
		}
	}
	for wrong, want := range map[string]string{
		"pods: {}\n": `unknown field "pods"`, "spread: {weight: x}\n": `unknown field "spread.weight"`,
		"spread: {}\nspread: {}\n": `key "spread" already set in map`,
	} {
		if _, err := decode(wrong); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", wrong, err, want)
		}
	}
}

func TestArgsAreCopied(t *testing.T) {
	args := &Args{
		TypeMeta: metav1.TypeMeta{Kind: ArgsKind, APIVersion: schedulerv1.SchemeGroupVersion.String()},
		Spread:   v1beta1.Spread{Policy: v1beta1.SpreadEven},
	}
	other := args.DeepCopyObject()
	args.Spread.Policy = v1beta1.SpreadNone
	if got := other.(*Args); got.Spread.Policy != v1beta1.SpreadEven || got.Kind != ArgsKind {
		t.Errorf("the copy is %+v", got)
	}
}
