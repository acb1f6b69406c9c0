package schedplugin

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

// claims are the claims at home, and what they refer to, as the scheduler watches them anyway for VolumeBinding.
type claims struct {
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
}

func newClaims(factory informers.SharedInformerFactory) claims {
	return claims{
		claims:  factory.Core().V1().PersistentVolumeClaims().Lister(),
		volumes: factory.Core().V1().PersistentVolumes().Lister(),
		classes: factory.Storage().V1().StorageClasses().Lister(),
	}
}

// of returns the claims that a pod refers to and that exist. About others VolumeBinding has something to say.
func (c claims) of(pod *corev1.Pod) []placement.Claim {
	var out []placement.Claim
	for _, name := range placement.ClaimNames(pod) {
		claim, err := c.claims.PersistentVolumeClaims(pod.Namespace).Get(name)
		if err != nil { // the only error of listers is that the cache lacks the object
			continue
		}
		volume, err := c.volumes.Get(claim.Spec.VolumeName)
		if err != nil {
			volume = nil
		}
		var provisioner string
		if class, err := c.classes.Get(placement.ClassOf(claim)); err == nil {
			provisioner = class.Provisioner
		}
		out = append(out, placement.ReadClaim(claim, volume, provisioner))
	}
	return out
}

// claimEvents are what can end a refusal because of volumes.
func (p *policies) claimEvents() []fwk.ClusterEventWithHint {
	change := fwk.Add | fwk.Update
	return []fwk.ClusterEventWithHint{
		{
			Event:          fwk.ClusterEvent{Resource: fwk.PersistentVolumeClaim, ActionType: change},
			QueueingHintFn: p.afterClaim,
		},
		{
			Event:          fwk.ClusterEvent{Resource: fwk.PersistentVolume, ActionType: change},
			QueueingHintFn: p.afterVolume,
		},
		{
			Event:          fwk.ClusterEvent{Resource: fwk.StorageClass, ActionType: change},
			QueueingHintFn: p.afterClass,
		},
	}
}

// afterClaim wakes a pod when a claim of its own says something else than before.
func (p *policies) afterClaim(_ klog.Logger, pod *corev1.Pod, before, after any) (fwk.QueueingHint, error) {
	claim, ok := after.(*corev1.PersistentVolumeClaim)
	if !ok {
		return fwk.Queue, fmt.Errorf("expected a PersistentVolumeClaim, got %T", after)
	}
	if claim.Namespace != pod.Namespace || !refersTo(pod, claim.Name) {
		return fwk.QueueSkip, nil
	}
	if old, ok := before.(*corev1.PersistentVolumeClaim); ok && alike(old, claim) {
		return fwk.QueueSkip, nil
	}
	return fwk.Queue, nil
}

// alike says that two states of a claim mean the same to placement.
func alike(a, b *corev1.PersistentVolumeClaim) bool {
	x, y := placement.ReadClaim(a, nil, ""), placement.ReadClaim(b, nil, "")
	return x.Volume == y.Volume && x.Class == y.Class && x.Stays == y.Stays &&
		fmt.Sprint(x.Refused) == fmt.Sprint(y.Refused)
}

// afterVolume wakes a pod when the volume of one of its claims comes or changes.
func (p *policies) afterVolume(_ klog.Logger, pod *corev1.Pod, _, after any) (fwk.QueueingHint, error) {
	volume, ok := after.(*corev1.PersistentVolume)
	if !ok {
		return fwk.Queue, fmt.Errorf("expected a PersistentVolume, got %T", after)
	}
	ref := volume.Spec.ClaimRef
	if ref == nil || ref.Namespace != pod.Namespace || !refersTo(pod, ref.Name) {
		return fwk.QueueSkip, nil
	}
	return fwk.Queue, nil
}

// afterClass wakes a pod when the class of one of its claims comes or changes.
func (p *policies) afterClass(_ klog.Logger, pod *corev1.Pod, _, after any) (fwk.QueueingHint, error) {
	class, ok := after.(*storagev1.StorageClass)
	if !ok {
		return fwk.Queue, fmt.Errorf("expected a StorageClass, got %T", after)
	}
	for _, claim := range p.claims.of(pod) {
		if claim.Class == class.Name {
			return fwk.Queue, nil
		}
	}
	return fwk.QueueSkip, nil
}

func refersTo(pod *corev1.Pod, claim string) bool {
	return slices.Contains(placement.ClaimNames(pod), claim)
}
