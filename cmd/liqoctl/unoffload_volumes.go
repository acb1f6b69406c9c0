package main

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// lossOfData says which data go with the twins of a namespace; "" when there are none.
func lossOfData(ctx context.Context, home client.Reader, namespace string) (string, error) {
	volumes, err := volumesElsewhere(ctx, home)
	if apierrors.IsForbidden(err) {
		return " Whether volumes with data are among it is not known: " + mayNotListVolumes + ".", nil
	}
	if err != nil {
		return "", err
	}
	claims := claimsWithData(volumes, namespace)
	if len(claims) == 0 {
		return "", nil
	}
	return fmt.Sprintf(" The data of %s are lost with it, on the providers: %s.", counted(len(claims), "volume"),
		shortened(claims)), nil
}

// claimsWithData returns the claims of a namespace whose data are, or were last seen, in a twin.
func claimsWithData(volumes []corev1.PersistentVolume, namespace string) []string {
	var out []string
	for i := range volumes {
		pv := &volumes[i]
		ref := pv.Spec.ClaimRef
		ours := pv.Spec.CSI != nil && pv.Spec.CSI.Driver == v1beta1.VolumeDriver
		if !ours || ref == nil || ref.Namespace != namespace || pv.Annotations[v1beta1.AnnotationRemoteClaimUID] == "" {
			continue
		}
		out = append(out, fmt.Sprintf("%s (%s)", ref.Name, pv.Labels[v1beta1.LabelRemoteClusterID]))
	}
	slices.Sort(out)
	return out
}
