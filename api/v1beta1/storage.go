package v1beta1

import corev1 "k8s.io/api/core/v1"

// Names by which home knows of volumes that are on providers (own).
const (
	// VolumeDriver is the CSI driver that a home volume names whose data are on a provider. Nothing at home mounts it;
	// its handle is provider/twin/claim.
	VolumeDriver = "storage.liqo.io"
	// AnnotationVolumeRefused, on a home claim without a volume, has, as a JSON object, by the names of virtual Nodes
	// why the claim cannot have its volume there. The agent removes what has passed.
	AnnotationVolumeRefused = "offloading.liqo.io/volume-refused"
	// AnnotationRemoteClaimUID, on such a home volume, is the UID of the claim on the provider that has the data.
	AnnotationRemoteClaimUID = "offloading.liqo.io/remote-claim-uid"
	// AnnotationReclaimPolicy, on a claim on a provider, is the reclaim policy of its volume at home.
	AnnotationReclaimPolicy = "offloading.liqo.io/reclaim-policy"

	// ClaimVolumeRefused is true of a home claim as long as AnnotationVolumeRefused says something.
	ClaimVolumeRefused corev1.PersistentVolumeClaimConditionType = "VolumeRefused"
	// ClaimVolumeLost is true of a home claim whose volume on the provider was deleted there.
	ClaimVolumeLost corev1.PersistentVolumeClaimConditionType = "VolumeLost"
)

// The annotations of claims by which Kubernetes' own components talk to each other about volumes, and which mean
// something else in every cluster.
const (
	AnnotationSelectedNode           = "volume.kubernetes.io/selected-node"
	AnnotationStorageProvisioner     = "volume.kubernetes.io/storage-provisioner"
	AnnotationBetaStorageProvisioner = "volume.beta.kubernetes.io/storage-provisioner"
	AnnotationStorageResizer         = "volume.kubernetes.io/storage-resizer"
	AnnotationBindCompleted          = "pv.kubernetes.io/bind-completed"
	AnnotationBoundByController      = "pv.kubernetes.io/bound-by-controller"
	// AnnotationProvisionedBy is a volume's: the provisioner that made it and takes it away.
	AnnotationProvisionedBy = "pv.kubernetes.io/provisioned-by"
)
