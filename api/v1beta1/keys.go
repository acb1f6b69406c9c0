package v1beta1

// Labels.
const (
	// LabelNodeType tells virtual Nodes ([NodeTypeVirtual]) from ordinary ones.
	LabelNodeType = "liqo.io/type"
	// NodeTypeVirtual is the value of [LabelNodeType] on a virtual Node.
	NodeTypeVirtual = "virtual-node"
	// LabelKubeletType is the label, with value [KubeletTypeVirtual], by which tools recognise any virtual kubelet.
	LabelKubeletType = "type"
	// KubeletTypeVirtual is the value of [LabelKubeletType].
	KubeletTypeVirtual = "virtual-kubelet"

	// LabelRemoteClusterID carries the id of the cluster on the other side of the peering: the provider's on Nodes,
	// VirtualNodes, NamespaceMaps and tenant namespaces at home; the consumer's on twins and tenant namespaces of a
	// provider. On a provider it is the mark that the admission fence goes by.
	LabelRemoteClusterID = "liqo.io/remote-cluster-id"
	// LabelTenantNamespace is "true" on tenant namespaces.
	LabelTenantNamespace = "liqo.io/tenant-namespace"

	// LabelEnabled set to "true" on a Namespace asks for offloading with defaults.
	LabelEnabled = "liqo.io/enabled"
	// LabelSchedulingEnabled is "true" on a Namespace whose pods may leave home. Set by hand in advance, it makes
	// pods wait until the offloading is processed.
	LabelSchedulingEnabled = "liqo.io/scheduling-enabled"

	// LabelOrigin is the id of the home cluster of a reflected object.
	LabelOrigin = "offloading.liqo.io/origin"
	// LabelDestination is the id of the cluster that an object is reflected to.
	LabelDestination = "offloading.liqo.io/destination"
	// LabelNodeName is the virtual Node through which an object is reflected.
	LabelNodeName = "offloading.liqo.io/nodename"

	// LabelTokenOf (own), on a Secret of a twin, is the UID of the home Pod whose tokens of home it holds.
	LabelTokenOf = "offloading.liqo.io/token-of"

	// LabelRemoteUnavailable is "true" on a home Pod whose provider cannot be reached.
	LabelRemoteUnavailable = "liqo.io/remote-unavailable"
	// LabelOffloadedPod is "true" on a home Pod that runs on a provider.
	LabelOffloadedPod = "liqo.io/shadowPod"

	// EndpointSliceManagedBy is the value of endpointslice.kubernetes.io/managed-by on reflected EndpointSlices.
	EndpointSliceManagedBy = "endpointslice.reflection.liqo.io"
)

// Annotations.
const (
	// AnnotationSelectorError, on a NamespaceOffloading, is the text of its selector's syntax error.
	AnnotationSelectorError = "liqo.io/scheduling-enabled"
	// AnnotationControlledBy marks a NamespaceOffloading made by [LabelEnabled]; only such a one goes with the label.
	AnnotationControlledBy = "liqo.io/resource-controlled-by"

	// AnnotationForceRemoval, "true" on a NamespaceOffloading that is being deleted, gives up its twins without waiting
	// for providers that do not answer; on a VirtualNode, without waiting for volumes that its twins still hold (own).
	AnnotationForceRemoval = "offloading.liqo.io/force-removal"

	// AnnotationTwinOrigin, on a twin, is the id of the home cluster.
	AnnotationTwinOrigin = "liqo.io/remote-namespace"
	// AnnotationTwinMap, on a twin, is the namespace/name of the NamespaceMap that asked for it.
	AnnotationTwinMap = "liqo.io/managed-by-namespace-map"
	// AnnotationTwinHomeName, on a twin, is the name of the home namespace.
	AnnotationTwinHomeName = "liqo.io/original-name"
	// AnnotationTwinHomeUID, on a twin, is the UID of the home namespace (own): a force-finalized and re-created
	// namespace is another one.
	AnnotationTwinHomeUID = "offloading.liqo.io/home-namespace-uid"

	// AnnotationClusterUID, on a tenant namespace, is the UID of kube-system in the cluster on the other side (own):
	// an id can be given twice, a UID cannot.
	AnnotationClusterUID = "offloading.liqo.io/cluster-uid"

	// AnnotationHomeUID is the UID of the home object on every object reflected to a provider, pods included (own).
	AnnotationHomeUID = "offloading.liqo.io/home-uid"

	// AnnotationStatusFrom (own), on a reflected custom resource, is the id of the cluster whose copy's status counts
	// when the namespace has several twins; without it, the first by name.
	AnnotationStatusFrom = "offloading.liqo.io/status-from"

	// AnnotationSkipReflection keeps an object at home, whatever the policy; any value but "false" counts.
	AnnotationSkipReflection = "liqo.io/skip-reflection"
	// AnnotationAllowReflection reflects an object, whatever the policy; any value but "false" counts.
	AnnotationAllowReflection = "liqo.io/allow-reflection"
	// AnnotationForceNodePort, "true" on a Service, reflects its node ports.
	AnnotationForceNodePort = "liqo.io/force-remote-node-port"
	// AnnotationRemoteStorageClass on a PersistentVolumeClaim names the StorageClass of its copy.
	AnnotationRemoteStorageClass = "liqo.io/remote-storage-class"
	// AnnotationRemoteAccessModes on a PersistentVolumeClaim lists, comma-separated, the access modes of its copy.
	AnnotationRemoteAccessModes = "liqo.io/remote-access-modes"
	// AnnotationWatchScope (own), on the Secret with the credential for a provider, is what the peering lets the agent
	// watch: a [WatchScope]; namespace when it is missing.
	AnnotationWatchScope = "offloading.liqo.io/watch-scope"
	// AnnotationRemoteRuntimeClass, on a Pod, names the RuntimeClass of its remote pod.
	AnnotationRemoteRuntimeClass = "liqo.io/remote-runtime-class-name"
	// AnnotationAntiAffinityPreset on a Pod keeps its remote pods apart: propagate, soft or hard.
	AnnotationAntiAffinityPreset = "liqo.io/anti-affinity-preset"
	// AnnotationAntiAffinityLabels on a Pod lists, comma-separated, the label keys by which the soft and hard presets
	// tell which pods to keep apart.
	AnnotationAntiAffinityLabels = "liqo.io/anti-affinity-labels"
	// AnnotationAPIServerSupport on a Pod says which API server its token is for; see the values.
	AnnotationAPIServerSupport = "liqo.io/api-server-support"
	// APIServerSupportRemote: the provider's, as the ServiceAccount of AnnotationRemoteServiceAccount.
	APIServerSupportRemote = "remote"
	// APIServerSupportHome (own): home's, with a token of the pod's own ServiceAccount that is bound to the pod.
	APIServerSupportHome = "home"
	// APIServerSupportDisabled: none, whatever the agent's default is.
	APIServerSupportDisabled = "disabled"
	// AnnotationRemoteServiceAccount on a Pod names the provider's ServiceAccount for AnnotationAPIServerSupport
	// remote.
	AnnotationRemoteServiceAccount = "liqo.io/remote-service-account-name"
	// AnnotationLentServiceAccounts (own), which a provider's admin sets on a twin, lists, comma-separated, the
	// ServiceAccounts of the twin as which the consumer's pods may run.
	AnnotationLentServiceAccounts = "offloading.liqo.io/lent-service-accounts"
	// AnnotationHomeNamespace (own) on a remote Pod is the home namespace, for the downward API.
	AnnotationHomeNamespace = "offloading.liqo.io/home-namespace"
	// AnnotationHomeServiceAccount (own) on a remote Pod is the home pod's ServiceAccount, for the downward API.
	AnnotationHomeServiceAccount = "offloading.liqo.io/home-service-account"
	// AnnotationTaken (own) on a remote Pod has a digest of each part of the home pod that it has taken last.
	AnnotationTaken = "offloading.liqo.io/taken"
	// AnnotationTokenPod (own), on a Secret with [LabelTokenOf], is the name of the home Pod.
	AnnotationTokenPod = "offloading.liqo.io/token-pod"
	// AnnotationTokenRefresh (own), on such a Secret, is when its tokens are asked for anew (RFC 3339).
	AnnotationTokenRefresh = "offloading.liqo.io/token-refresh"
	// AnnotationLargestFree (own) on a virtual Node has, as a JSON object of resource name to quantity, the most of
	// each resource that any single node of the provider still has free, as far as the agent can see.
	AnnotationLargestFree = "offloading.liqo.io/largest-free"
	// AnnotationUnfit (own) on a virtual Node has, as a JSON object, the UIDs of the controllers whose pods no node of
	// the provider took, and until when (RFC 3339) no more are sent. The agent removes what has passed.
	AnnotationUnfit = "offloading.liqo.io/unfit"
	// AnnotationRemoteEvent (own), on an Event at home that tells of one on a provider, is the UID of the latter.
	AnnotationRemoteEvent = "offloading.liqo.io/remote-event"
	// AnnotationRemoteVersion (own), on such an Event, is the resourceVersion of the provider's that it was written
	// for.
	AnnotationRemoteVersion = "offloading.liqo.io/remote-version"
)

// The taint of virtual Nodes, with effect NoExecute.
const (
	TaintKey   = "virtual-node.liqo.io/not-allowed"
	TaintValue = "true"
	// TaintLeavingKey (own) is the key of the taint, with effect NoSchedule and without a value, of a virtual Node that
	// is on its way out: a cordon does not keep the pods of DaemonSets from coming back.
	TaintLeavingKey = "virtual-node.liqo.io/leaving"
)

// Finalizers.
const (
	// FinalizerOffloading holds a NamespaceOffloading until its last twin is gone.
	FinalizerOffloading = "namespaceoffloading-controller.liqo.io/finalizer"
	// FinalizerVirtualNode holds a VirtualNode until its Node and, with the last VirtualNode of a provider, its twins
	// are gone.
	FinalizerVirtualNode = "virtualnode-controller.liqo.io/finalizer"
	// FinalizerNode (own) holds a virtual Node that is being deleted until its remote pods are gone: without the Node,
	// Kubernetes would forget pods that still run.
	FinalizerNode = "virtual-kubelet.liqo.io/finalizer"
)

// Names.
const (
	// OffloadingName is the only name that a NamespaceOffloading may have.
	OffloadingName = "offloading"
	// RuntimeClass is the class by which a pod asks for a virtual Node; also its handler.
	RuntimeClass = "liqo"
	// StorageClass is the class of claims whose volumes are made where their pods run.
	StorageClass = "liqo"
	// StorageProvisioner is the provisioner of [StorageClass].
	StorageProvisioner = "liqo.io/storage"
	// FieldManager is the server-side-apply field manager of reflected objects.
	FieldManager = "reflection.liqo.io"
	// SchedulerName is the profile of our scheduler where it runs beside a managed one (own).
	SchedulerName = "liqo-scheduler"
	// TenantNamespacePrefix comes before a cluster id in the name of a tenant namespace.
	TenantNamespacePrefix = "liqo-tenant-"

	// SystemNamespace is where our own components live at home (own).
	SystemNamespace = "liqo"
	// LabelClusterID with value [ClusterIDConfigMap] finds the ConfigMap that holds the home cluster's id.
	LabelClusterID = "app.kubernetes.io/name"
	// ClusterIDConfigMap is the name, and the value of [LabelClusterID], of the ConfigMap with the cluster's id.
	ClusterIDConfigMap = "clusterid-configmap"
	// ClusterIDKey is the key of the id in that ConfigMap.
	ClusterIDKey = "CLUSTER_ID"
	// WatchScopeKey (own), in that ConfigMap, is the [WatchScope] of new peerings that ask for none.
	WatchScopeKey = "WATCH_SCOPE"

	// AgentServiceAccount is the ServiceAccount, in the tenant namespace at home, of the agent that serves a
	// provider's virtual Nodes (own).
	AgentServiceAccount = "virtual-kubelet"
	// OffloadedNamespaceRole is the ClusterRole that an agent is bound to in each offloaded namespace (own).
	OffloadedNamespaceRole = "liqo-offloaded-namespace"
	// AgentNodesRole is the Role, in the tenant namespace at home, whose only rule lets the agent do [VerbServe] to the
	// VirtualNodes by name: admission policies ask for it where RBAC does not know which node something is about (own).
	AgentNodesRole = "liqo-virtual-kubelet-nodes"
	// VerbServe is what the agent may do to its provider's VirtualNodes: write the status of the pods on their Nodes,
	// let these pods go, and renew the Nodes' leases (own).
	VerbServe = "serve"
	// PeerServiceAccount is the ServiceAccount, in the consumer's tenant namespace on a provider, that the
	// consumer's agent acts as there (own).
	PeerServiceAccount = "liqo-consumer"
	// TwinRole is the ClusterRole that the peer identity binds itself to in each twin (own).
	TwinRole = "liqo-twin"
	// KubeconfigKey is the key of the kubeconfig in the Secret that a VirtualNode refers to.
	KubeconfigKey = "kubeconfig"
)

// WatchScope is how much the agent of a peering may watch, on both sides, to know what is in offloaded namespaces and
// their twins (own).
type WatchScope string

// The scopes.
const (
	// WatchNamespaces: in each offloaded namespace and each twin what is in it.
	WatchNamespaces WatchScope = "namespace"
	// WatchCluster: each kind in all namespaces at once, Secrets excepted. For clusters that have one owner.
	WatchCluster WatchScope = "cluster"
)

// TenantNamespace returns the name of the namespace that holds what concerns the cluster with the given id.
func TenantNamespace(clusterID string) string {
	return TenantNamespacePrefix + clusterID
}
