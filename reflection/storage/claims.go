package storage

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// provisioned says whether volumes of the claim are made where its pods run.
func provisioned(claim *corev1.PersistentVolumeClaim) bool {
	by := cmp.Or(claim.Annotations[v1beta1.AnnotationStorageProvisioner],
		claim.Annotations[v1beta1.AnnotationBetaStorageProvisioner])
	return by == v1beta1.StorageProvisioner
}

// chosen returns the Node that the scheduler has chosen for the claim's volume, "" while it has not.
func chosen(claim *corev1.PersistentVolumeClaim) string {
	if !provisioned(claim) {
		return ""
	}
	return claim.Annotations[v1beta1.AnnotationSelectedNode]
}

// volumeName is the name of the home volume that is made for a claim.
func volumeName(claim types.UID) string { return "pvc-" + string(claim) }

// handle says where the data of a volume are.
type handle struct{ provider, twin, claim string }

// String is the CSI handle.
func (h handle) String() string { return h.provider + "/" + h.twin + "/" + h.claim }

// handleOf reads the handle of one of our volumes.
func handleOf(pv *corev1.PersistentVolume) (handle, bool) {
	if pv.Spec.CSI == nil || pv.Spec.CSI.Driver != v1beta1.VolumeDriver || pv.Spec.ClaimRef == nil {
		return handle{}, false
	}
	parts := strings.Split(pv.Spec.CSI.VolumeHandle, "/")
	if len(parts) != 3 {
		return handle{}, false
	}
	return handle{parts[0], parts[1], parts[2]}, true
}

// volume is the home volume of a claim: as large and as accessible as the claim asks, and pinned to a virtual Node.
func volume(
	claim *corev1.PersistentVolumeClaim, node string, at handle, reclaim corev1.PersistentVolumeReclaimPolicy,
) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        volumeName(claim.UID),
			Labels:      map[string]string{v1beta1.LabelRemoteClusterID: at.provider},
			Annotations: map[string]string{v1beta1.AnnotationProvisionedBy: v1beta1.StorageProvisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{
				corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage],
			},
			AccessModes:                   slices.Clone(claim.Spec.AccessModes),
			VolumeMode:                    claim.Spec.VolumeMode,
			StorageClassName:              ptr.Deref(claim.Spec.StorageClassName, ""),
			PersistentVolumeReclaimPolicy: reclaim,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: v1beta1.VolumeDriver, VolumeHandle: at.String()},
			},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{
						Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
					}},
				}},
			}},
		},
	}
}

// Fill sets what we own of the copy of a claim. Of a copy that exists, the API server lets only the size be changed,
// and that not before it is bound.
func Fill(dst, src *corev1.PersistentVolumeClaim, class string) {
	if dst.UID == "" {
		dst.Spec = corev1.PersistentVolumeClaimSpec{
			AccessModes: accessModes(src), VolumeMode: src.Spec.VolumeMode, DataSource: src.Spec.DataSource.DeepCopy(),
			Resources: *src.Spec.Resources.DeepCopy(),
		}
		if class != "" { // otherwise the provider's API server sets its own default
			dst.Spec.StorageClassName = &class
		}
		return
	}
	size, asked := src.Spec.Resources.Requests[corev1.ResourceStorage]
	if has := dst.Spec.Resources.Requests[corev1.ResourceStorage]; asked && dst.Status.Phase == corev1.ClaimBound &&
		has.Cmp(size) != 0 {
		dst.Spec.Resources.Requests[corev1.ResourceStorage] = size
	}
}

func accessModes(src *corev1.PersistentVolumeClaim) []corev1.PersistentVolumeAccessMode {
	text, given := src.Annotations[v1beta1.AnnotationRemoteAccessModes]
	if !given {
		return slices.Clone(src.Spec.AccessModes)
	}
	var out []corev1.PersistentVolumeAccessMode
	for mode := range strings.SplitSeq(text, ",") {
		out = append(out, corev1.PersistentVolumeAccessMode(strings.TrimSpace(mode)))
	}
	return out
}

// classFor returns the class of the copy of a claim, "" for the provider's default, or why there is none.
func classFor(claim *corev1.PersistentVolumeClaim, offered []v1beta1.StorageType) (class, why string) {
	asked := claim.Annotations[v1beta1.AnnotationRemoteStorageClass]
	var names []string
	for _, offer := range offered {
		names = append(names, offer.StorageClassName)
		if offer.Default && class == "" {
			class = offer.StorageClassName
		}
	}
	switch {
	case asked == "":
		return class, ""
	case len(offered) > 0 && !slices.Contains(names, asked):
		return "", fmt.Sprintf("annotation %s asks for class %q; there are %s", v1beta1.AnnotationRemoteStorageClass,
			asked, strings.Join(names, ", "))
	}
	return asked, ""
}

// unsupported says what a claim asks for that cannot be carried to a provider.
func unsupported(claim *corev1.PersistentVolumeClaim) string {
	if claim.Spec.Selector != nil {
		return "the claim has a selector, and volumes of the provider have no labels that home knows"
	}
	for _, source := range []*corev1.TypedLocalObjectReference{claim.Spec.DataSource, local(claim.Spec.DataSourceRef)} {
		if source != nil && source.Kind != "PersistentVolumeClaim" {
			return fmt.Sprintf("the claim is to be filled from %s %q, which is at home", source.Kind, source.Name)
		}
	}
	return ""
}

func local(ref *corev1.TypedObjectReference) *corev1.TypedLocalObjectReference {
	if ref == nil {
		return nil
	}
	kind := ref.Kind
	if ref.Namespace != nil {
		kind += " of namespace " + *ref.Namespace
	}
	return &corev1.TypedLocalObjectReference{APIGroup: ref.APIGroup, Kind: kind, Name: ref.Name}
}

// Refusals reads annotation offloading.liqo.io/volume-refused. What it cannot read says nothing.
func Refusals(claim *corev1.PersistentVolumeClaim) map[string]string {
	out := map[string]string{}
	if json.Unmarshal([]byte(claim.Annotations[v1beta1.AnnotationVolumeRefused]), &out) != nil {
		return map[string]string{}
	}
	return out
}

// refusedText writes what [Refusals] reads; nil, which removes the annotation, when there is nothing to say.
func refusedText(refused map[string]string) (any, error) {
	if len(refused) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(refused)
	if err != nil {
		return nil, fmt.Errorf("write annotation %s: %w", v1beta1.AnnotationVolumeRefused, err)
	}
	return string(text), nil
}

// refusedMessage says the same to people.
func refusedMessage(refused map[string]string) string {
	var all []string
	for _, node := range slices.Sorted(maps.Keys(refused)) {
		all = append(all, fmt.Sprintf("no volume on virtual node %s: %s", node, refused[node]))
	}
	return bounded(strings.Join(all, "; "))
}

// bounded keeps what a provider says within the length that conditions and events are to have.
func bounded(text string) string {
	return remote.Shown(text, 1024)
}

// withCondition returns conditions in which the given one is as said; a message of "" removes it.
func withCondition(
	all []corev1.PersistentVolumeClaimCondition, kind corev1.PersistentVolumeClaimConditionType, message string,
	since metav1.Time,
) []corev1.PersistentVolumeClaimCondition {
	out := slices.Clone(all)
	at := slices.IndexFunc(out, func(c corev1.PersistentVolumeClaimCondition) bool { return c.Type == kind })
	switch {
	case message == "" && at >= 0:
		return slices.Delete(out, at, at+1)
	case message == "":
		return out
	}
	condition := corev1.PersistentVolumeClaimCondition{
		Type: kind, Status: corev1.ConditionTrue, Reason: string(kind), Message: message, LastTransitionTime: since,
	}
	if at < 0 {
		return append(out, condition)
	}
	if out[at].Status == corev1.ConditionTrue {
		condition.LastTransitionTime = out[at].LastTransitionTime
	}
	out[at] = condition
	return out
}
