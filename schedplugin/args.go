package schedplugin

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	schedulerv1 "k8s.io/kube-scheduler/config/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// ArgsKind is the kind of the plugin's arguments in configurations: kube-scheduler finds the defaults of a plugin that
// has none there by the plugin's name.
const ArgsKind = Name + "Args"

// Args are the arguments of plugin [Name] in the configuration of a scheduler, as kind [ArgsKind] of
// kubescheduler.config.k8s.io/v1.
type Args struct {
	metav1.TypeMeta `json:",inline"`

	// Spread is for the namespaces whose NamespaceOffloading has no spec.spread. Its policy defaults to PreferHome.
	Spread v1beta1.Spread `json:"spread,omitempty,omitzero"`
}

// DeepCopyObject implements [runtime.Object].
func (a *Args) DeepCopyObject() runtime.Object {
	out := *a
	return &out
}

// AddToScheme makes kube-scheduler read [Args] in its configuration, strictly, and fill in their defaults. It needs two
// schemes for that: the one that configurations are decoded with, and the one that it converts arguments with. There is
// one version so far, so the version that programs use is the same type.
func AddToScheme(schemes ...*runtime.Scheme) {
	versioned := schedulerv1.SchemeGroupVersion
	internal := schema.GroupVersion{Group: versioned.Group, Version: runtime.APIVersionInternal}
	for _, s := range schemes {
		s.AddKnownTypeWithName(versioned.WithKind(ArgsKind), &Args{})
		s.AddKnownTypeWithName(internal.WithKind(ArgsKind), &Args{})
		s.AddTypeDefaultingFunc(&Args{}, func(obj any) { obj.(*Args).setDefaults() })
	}
}

func (a *Args) setDefaults() {
	if a.Spread.Policy == "" {
		a.Spread.Policy = v1beta1.SpreadPreferHome
	}
}

// validate returns all that is wrong.
func (a *Args) validate() error {
	var errs field.ErrorList
	path := field.NewPath("args", "spread")
	policies := []v1beta1.SpreadPolicy{
		v1beta1.SpreadPreferHome, v1beta1.SpreadEven, v1beta1.SpreadWeighted, v1beta1.SpreadNone,
	}
	weighted, known := a.Spread.Policy == v1beta1.SpreadWeighted, false
	for _, policy := range policies {
		known = known || a.Spread.Policy == policy
	}
	if !known {
		errs = append(errs, field.NotSupported(path.Child("policy"), a.Spread.Policy, policies))
	}
	label, path := a.Spread.WeightLabel, path.Child("weightLabel")
	switch {
	case label == "" && weighted:
		errs = append(errs, field.Required(path, "must be set when policy is Weighted"))
	case label != "" && !weighted && known:
		errs = append(errs, field.Forbidden(path, "may only be set when policy is Weighted"))
	}
	if label != "" {
		for _, why := range validation.IsQualifiedName(label) {
			errs = append(errs, field.Invalid(path, label, "must be a qualified label name: "+why))
		}
	}
	return errs.ToAggregate()
}

// argsOf returns the arguments that the scheduler gives to the plugin's factory, nil when its configuration has none
// and nobody asked for their defaults.
func argsOf(obj runtime.Object) (Args, error) {
	var args Args
	switch given := obj.(type) {
	case nil:
	case *Args:
		args = *given
	default:
		return args, fmt.Errorf("arguments are a %T, not a %s of %s", obj, ArgsKind, schedulerv1.SchemeGroupVersion)
	}
	args.setDefaults()
	if err := args.validate(); err != nil {
		return args, fmt.Errorf("invalid arguments: %w", err)
	}
	return args, nil
}
