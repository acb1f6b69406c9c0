// Package naming decides what a twin is called: a pure function of the home namespace, the naming strategy and the home
// cluster's id. It refuses, with a sentence that says what to do, every name that a provider could not or must not
// take, so that whoever asks (the controller, the agent, liqoctl) refuses alike and before anything is stored.
package naming

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// MaxLength is how long the name of a namespace may be.
const MaxLength = validation.DNS1123LabelMaxLength

// MaxClusterIDLength is how long a cluster id may be, so that its tenant namespace still has a legal name.
const MaxClusterIDLength = MaxLength - len(v1beta1.TenantNamespacePrefix)

// TooLongError refuses a name of more than [MaxLength] characters.
type TooLongError struct {
	// Name is the name that would be needed.
	Name string
}

// Error names the limit, the length and the way out.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("the twin's name %q would have %d characters, the limit is %d: use a shorter namespace name, "+
		"or the mapping strategy EnforceSameName or SelectedName", e.Name, len(e.Name), MaxLength)
}

// ReservedError refuses a name that belongs to the system or to another component.
type ReservedError struct {
	// Name is the name that would be needed.
	Name string
}

// Error says which name and the way out.
func (e *ReservedError) Error() string {
	return fmt.Sprintf("the twin's name %q is reserved: twins may not be called default, liqo, kube-* or %s*; "+
		"use another namespace, or the mapping strategy SelectedName", e.Name, v1beta1.TenantNamespacePrefix)
}

// InvalidError refuses a name that is missing or not a DNS label.
type InvalidError struct {
	// Name is the name that was given.
	Name string
	// Why is what is wrong with it.
	Why string
}

// Error says what is wrong.
func (e *InvalidError) Error() string {
	return fmt.Sprintf("the twin's name %q is not valid: %s", e.Name, e.Why)
}

// Twin returns the name of the twin of a home namespace, offloaded as spec says, of the home cluster with the given id.
func Twin(home string, spec v1beta1.NamespaceOffloadingSpec, homeClusterID string) (string, error) {
	name := home + "-" + homeClusterID
	switch spec.NamespaceMappingStrategy {
	case v1beta1.EnforceSameName:
		name = home
	case v1beta1.SelectedName:
		if spec.RemoteNamespaceName == nil {
			return "", &InvalidError{Why: "the mapping strategy SelectedName needs remoteNamespaceName"}
		}
		name = *spec.RemoteNamespaceName
	case v1beta1.DefaultName, "":
	default:
		return "", fmt.Errorf("mapping strategy %q is not known: use DefaultName, EnforceSameName or SelectedName",
			spec.NamespaceMappingStrategy)
	}
	return name, Check(name)
}

// Check refuses a twin name that no provider takes.
func Check(name string) error {
	if len(name) > MaxLength {
		return &TooLongError{Name: name}
	}
	if Reserved(name) {
		return &ReservedError{Name: name}
	}
	if why := validation.IsDNS1123Label(name); len(why) > 0 {
		return &InvalidError{Name: name, Why: strings.Join(why, "; ")}
	}
	return nil
}

// Reserved says whether a namespace of this name is the system's or ours, at home as on a provider.
func Reserved(name string) bool {
	return name == "default" || name == v1beta1.SystemNamespace || strings.HasPrefix(name, "kube-") ||
		strings.HasPrefix(name, v1beta1.TenantNamespacePrefix)
}

// CheckClusterID refuses a cluster id that cannot be part of the names made from it.
func CheckClusterID(id string) error {
	if len(id) > MaxClusterIDLength {
		return fmt.Errorf("cluster id %q has %d characters, the limit is %d", id, len(id), MaxClusterIDLength)
	}
	if why := validation.IsDNS1123Label(id); len(why) > 0 {
		return fmt.Errorf("cluster id %q is not valid: %s", id, strings.Join(why, "; "))
	}
	return nil
}
