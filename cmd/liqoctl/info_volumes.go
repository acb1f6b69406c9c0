package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/storage"
)

// claimsResource is the kind that volumes decide about.
const claimsResource = "persistentvolumeclaims"

// readVolumes reads the volumes that stand for data on providers.
func (h *homeContents) readVolumes(ctx context.Context) error {
	volumes, err := volumesElsewhere(ctx, h.home)
	switch {
	case apierrors.IsForbidden(err):
		h.unread[claimsResource] = mayNotListVolumes
	case err != nil:
		return err
	}
	h.volumes = map[string]*corev1.PersistentVolume{}
	for i := range volumes {
		h.volumes[volumes[i].Name] = &volumes[i]
	}
	return nil
}

// mayNotListVolumes tells whoever has no right to volumes.
const mayNotListVolumes = "you may not list persistentvolumes"

// volumesElsewhere returns the home volumes that stand for data on providers.
func volumesElsewhere(ctx context.Context, home client.Reader) ([]corev1.PersistentVolume, error) {
	var volumes corev1.PersistentVolumeList
	if err := home.List(ctx, &volumes, client.HasLabels{v1beta1.LabelRemoteClusterID}); err != nil {
		return nil, fmt.Errorf("list persistentvolumes: %w", err)
	}
	return volumes.Items, nil
}

// volumeView shows reflection the home volumes as the agent of one cluster sees them, and does nothing about any.
type volumeView struct{ *podView }

// Stay says why a claim has no copy on the cluster.
func (v volumeView) Stay(claim *corev1.PersistentVolumeClaim) string {
	if v.VolumeOf(claim) != nil {
		return ""
	}
	return storage.Elsewhere(claim, v.volumeOf(claim), v.ours)
}

// VolumeOf returns the volume that a claim is bound to, nil when it has none on the cluster.
func (v volumeView) VolumeOf(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	pv := v.volumeOf(claim)
	if pv == nil || storage.Another(claim, pv) != "" {
		return nil
	}
	return pv
}

// volumeOf is VolumeOf, whatever claim the data are of.
func (v volumeView) volumeOf(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	pv := v.of.volumes[claim.Spec.VolumeName]
	if pv == nil || pv.Labels[v1beta1.LabelRemoteClusterID] != v.clusterID {
		return nil
	}
	return pv
}

// Class is for what copies say, which nobody looks at here.
func (volumeView) Class(*corev1.PersistentVolumeClaim) string { return "" }

// Kept is for copies of claims that are gone, of which home knows nothing.
func (volumeView) Kept(string, string) (string, error) { return "", nil }

// OnChange does nothing: what is shown does not change.
func (volumeView) OnChange(func(namespace, name string)) {}
