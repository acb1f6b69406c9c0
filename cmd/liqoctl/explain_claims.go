package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// claims adds the claims that a pod refers to. About one that may not be looked at in full nothing is said but that.
func (e *explainer) claims(ctx context.Context, facts *explanation.Facts, pod *corev1.Pod) error {
	facts.Claims = nil
	for _, name := range placement.ClaimNames(pod) {
		claim := &corev1.PersistentVolumeClaim{}
		key := client.ObjectKey{Namespace: pod.Namespace, Name: name}
		found, err := e.look(ctx, facts, explanation.Claims, key, claim)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		volume, class := &corev1.PersistentVolume{}, &storagev1.StorageClass{}
		if claim.Spec.VolumeName != "" {
			found, err = e.look(ctx, facts, explanation.Volumes, client.ObjectKey{Name: claim.Spec.VolumeName}, volume)
		} else if name := placement.ClassOf(claim); name != "" {
			found, err = e.look(ctx, facts, explanation.StorageClasses, client.ObjectKey{Name: name}, class)
		}
		if err != nil {
			return err
		}
		if !found && (facts.Unread[explanation.Volumes] != "" || facts.Unread[explanation.StorageClasses] != "") {
			continue
		}
		facts.Claims = append(facts.Claims, placement.ReadClaim(claim, volume, class.Provisioner))
	}
	return nil
}

// look reads one object, and says whether it is there and may be read.
func (e *explainer) look(
	ctx context.Context, facts *explanation.Facts, source explanation.Source, key client.ObjectKey, obj client.Object,
) (found bool, err error) {
	err = e.home.Get(ctx, key, obj)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if settled := settle(facts, source, err); settled != nil {
		return false, fmt.Errorf("read %s %s: %w", source, key.Name, settled)
	}
	return err == nil, nil
}
