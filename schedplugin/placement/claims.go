package placement

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Claim is what a decision depends on of a claim that the pod refers to.
type Claim struct {
	// Name is the claim's.
	Name string
	// Class is the name of its storage class, "" when it has none.
	Class string
	// Wanders says that volumes of the class are made where pods run.
	Wanders bool
	// Volume is the volume that it is bound to, "" while it is not.
	Volume string
	// Lost says that there is no such volume.
	Lost bool
	// Nodes are the virtual Nodes that can use the volume, none when it is one of home.
	Nodes []string
	// Stays says that an annotation keeps the claim at home.
	Stays bool
	// Refused has, by the names of virtual Nodes, why they cannot have the volume.
	Refused map[string]string
}

// ReadClaim reads a claim. The volume that it is bound to is nil or empty, and the provisioner of its class "", when
// nobody knows them.
func ReadClaim(claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume, provisioner string) Claim {
	c := Claim{
		Name: claim.Name, Volume: claim.Spec.VolumeName, Wanders: provisioner == v1beta1.StorageProvisioner,
		Class: cmp.Or(claim.Annotations[corev1.BetaStorageClassAnnotation], ClassOf(claim)),
	}
	if skip, ok := claim.Annotations[v1beta1.AnnotationSkipReflection]; ok && skip != "false" {
		c.Stays = true
	}
	c.Lost = c.Volume != "" && (volume == nil || volume.Name == "")
	if !c.Lost && volume != nil && volume.Spec.CSI != nil && volume.Spec.CSI.Driver == v1beta1.VolumeDriver {
		c.Nodes = nodesOf(volume)
	}
	if text := claim.Annotations[v1beta1.AnnotationVolumeRefused]; text != "" {
		if json.Unmarshal([]byte(text), &c.Refused) != nil {
			c.Refused = nil // what cannot be read says nothing
		}
	}
	return c
}

// ClassOf returns the name of a claim's storage class, "" when it has none.
func ClassOf(claim *corev1.PersistentVolumeClaim) string {
	if claim.Spec.StorageClassName == nil {
		return ""
	}
	return *claim.Spec.StorageClassName
}

// nodesOf returns the Nodes that a volume is pinned to.
func nodesOf(volume *corev1.PersistentVolume) []string {
	var nodes []string
	if volume.Spec.NodeAffinity == nil || volume.Spec.NodeAffinity.Required == nil {
		return nil
	}
	for _, term := range volume.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, r := range term.MatchExpressions {
			if r.Key == corev1.LabelHostname && r.Operator == corev1.NodeSelectorOpIn {
				nodes = append(nodes, r.Values...)
			}
		}
	}
	return nodes
}

// ClaimNames returns the names of the claims that a pod refers to, those of its ephemeral volumes included.
func ClaimNames(pod *corev1.Pod) []string {
	var names []string
	for i := range pod.Spec.Volumes {
		switch v := &pod.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			names = append(names, pod.Name+"-"+v.Name)
		}
	}
	return names
}

// home returns why a pod with the claim can go to no virtual node at all, "" when that depends on the node.
func (c *Claim) home() string {
	switch {
	case c.Lost:
		return fmt.Sprintf("claim %q is bound to volume %s, which does not exist at home", c.Name, c.Volume)
	case c.Volume != "" && len(c.Nodes) == 0:
		return fmt.Sprintf("claim %q is bound at home, to volume %s, and the pod stays with its data", c.Name, c.Volume)
	case c.Stays:
		return fmt.Sprintf("claim %q stays at home, as its annotation %s says", c.Name,
			v1beta1.AnnotationSkipReflection)
	case c.Volume == "" && c.Class == "":
		return fmt.Sprintf("claim %q has no storage class, so its volume can only be one of home", c.Name)
	case c.Volume == "" && !c.Wanders:
		return fmt.Sprintf("claim %q is of storage class %q, whose volumes are at home", c.Name, c.Class)
	}
	return ""
}

// atHome returns the verdict about virtual nodes that follows from claims alone.
func atHome(claims []Claim) (Verdict, bool) {
	for i := range claims {
		if why := claims[i].home(); why != "" {
			return refuse(ReasonVolumeAtHome, why), true
		}
	}
	return Verdict{}, false
}

// away returns the verdict about ordinary nodes that follows from claims alone.
func away(claims []Claim) (Verdict, bool) {
	for i := range claims {
		switch c := &claims[i]; {
		case c.Volume != "" && len(c.Nodes) > 0:
			return c.elsewhere(), true
		case c.Volume == "" && c.Wanders:
			return refuse(ReasonVolumeElsewhere, fmt.Sprintf("claim %q is of storage class %q, whose volumes are made "+
				"on virtual nodes", c.Name, c.Class)), true
		}
	}
	return Verdict{}, false
}

// elsewhere says where a volume is that is on a virtual Node.
func (c *Claim) elsewhere() Verdict {
	return refuse(ReasonVolumeElsewhere, fmt.Sprintf("the volume of claim %q is on virtual node %s, and the pod stays "+
		"with its data", c.Name, strings.Join(c.Nodes, ", ")))
}

// Volumes returns what keeps the pod off a virtual node because of its volumes; nothing when the policy alone decides.
func (r *Rule) Volumes(node *corev1.Node) []Verdict {
	if !IsVirtual(node) {
		return nil
	}
	var out []Verdict
	for i := range r.claims {
		switch c := &r.claims[i]; {
		case c.Volume != "" && !slices.Contains(c.Nodes, node.Name):
			out = append(out, c.elsewhere())
		case c.Volume == "" && c.Refused[node.Name] != "":
			out = append(out, wait(ReasonVolumeRefused, fmt.Sprintf("claim %q cannot have its volume on virtual node "+
				"%s: %s", c.Name, node.Name, c.Refused[node.Name])))
		}
	}
	return out
}
