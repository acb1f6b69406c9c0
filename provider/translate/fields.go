package translate

// Treatment says what becomes of a field on its way between home and provider.
type Treatment string

// The treatments.
const (
	// Carried fields arrive as they are.
	Carried Treatment = "carried"
	// Dropped fields do not arrive.
	Dropped Treatment = "dropped"
	// Translated fields arrive changed; the reason says how.
	Translated Treatment = "translated"
	// Home fields of a status are not taken from the provider: home's own value stays.
	Home Treatment = "home"
)

// Field is one line of the tables below.
type Field struct {
	Treatment Treatment
	Why       string
}

// PodSpecFields says for every field of a PodSpec how it reaches the provider. A test walks the type and fails on a
// field that is missing here.
//
//nolint:funlen // a table, one line for a field
func PodSpecFields() map[string]Field {
	return map[string]Field{
		"Containers": {
			Translated, "the downward API tells home's truth; without the mount of a token that is not asked for; " +
				"no host ports that hostNetwork set",
		},
		"InitContainers": {Translated, "as Containers"},
		"EphemeralContainers": {
			Dropped, "at creation: the API takes them only through their subresource, translated as Containers",
		},
		"Volumes": {
			Translated, "tokens are home's or none; kube-root-ca.crt is home's; the downward API tells home's truth; " +
				"ephemeral volumes are the claims that home made for them",
		},
		"RestartPolicy":                 {Carried, ""},
		"TerminationGracePeriodSeconds": {Carried, ""},
		"ActiveDeadlineSeconds":         {Carried, "the provider's kubelet counts it"},
		"DNSPolicy":                     {Carried, ""},
		"DNSConfig":                     {Carried, ""},
		"HostAliases":                   {Carried, ""},
		"Hostname":                      {Carried, ""},
		"HostnameOverride":              {Carried, ""},
		"Subdomain":                     {Carried, ""},
		"SetHostnameAsFQDN":             {Carried, ""},
		"EnableServiceLinks":            {Carried, "services are reflected, so their variables are true over there"},
		"ShareProcessNamespace":         {Carried, "the pod's own containers"},
		"SecurityContext":               {Carried, "the provider's Pod Security decides"},
		"ImagePullSecrets":              {Carried, "referenced secrets are reflected"},
		"OS":                            {Carried, ""},
		"HostUsers":                     {Carried, "false is the stricter value, and must not get lost"},
		"Resources":                     {Carried, ""},
		"ResourceClaims":                {Carried, "the provider says so when it does not have the claim"},

		"HostNetwork": {Dropped, "host namespaces are the provider's"},
		"HostPID":     {Dropped, "host namespaces are the provider's"},
		"HostIPC":     {Dropped, "host namespaces are the provider's"},

		"NodeName":     {Dropped, "home scheduling: a home node"},
		"NodeSelector": {Translated, "home scheduling: replaced by the VirtualNode's patch"},
		"Affinity": {
			Translated, "home scheduling: replaced by the VirtualNode's patch and the anti-affinity preset",
		},
		"SchedulerName":     {Dropped, "home scheduling: a home profile"},
		"SchedulingGates":   {Dropped, "home scheduling: a bound pod has none"},
		"WorkloadRef":       {Dropped, "home scheduling: a home object"},
		"Priority":          {Dropped, "home scheduling: computed by the provider"},
		"PriorityClassName": {Dropped, "home scheduling: the provider need not have the class"},
		"PreemptionPolicy":  {Dropped, "home scheduling: must match the class"},
		"TopologySpreadConstraints": {Translated,
			"a wish (ScheduleAnyway): the provider's nodes need not have the topology"},
		"Tolerations": {Translated,
			"without that of our taint, keyless ones and home's default ones; plus the VirtualNode's patch"},

		"RuntimeClassName": {Translated,
			"annotation before the pod's own class before the VirtualNode's patch; liqo is never sent"},
		"Overhead": {Dropped, "set by the provider's RuntimeClass, and refused if it differs"},

		"ServiceAccountName":       {Translated, "none, an identity of home; the provider's when the pod asks for it"},
		"DeprecatedServiceAccount": {Dropped, "an identity of home"},
		"AutomountServiceAccountToken": {
			Translated, "false: the token would be the provider's; carried when the pod asks for that",
		},
		"ReadinessGates": {Dropped, "their conditions are set at home, so they are weighed at home"},
	}
}

// PodStatusFields says for every field of a PodStatus how it comes back home.
func PodStatusFields() map[string]Field {
	return map[string]Field{
		"Phase": {Translated, "only known phases, and only forward"},
		"Conditions": {
			Translated, "those of a kubelet; Ready weighs the readiness gates; others are home's",
		},
		"Message":                    {Translated, "bounded"},
		"Reason":                     {Translated, "bounded; the remote scheduler's while no node takes the pod"},
		"PodIP":                      {Translated, "the first of PodIPs"},
		"PodIPs":                     {Translated, "at most one per family; never loopback or link-local"},
		"HostIP":                     {Translated, "the virtual node's"},
		"HostIPs":                    {Translated, "the virtual node's"},
		"StartTime":                  {Translated, "the first one seen"},
		"InitContainerStatuses":      {Translated, "of containers that home knows; restarts never fall; bounded"},
		"ContainerStatuses":          {Translated, "as InitContainerStatuses"},
		"EphemeralContainerStatuses": {Translated, "as InitContainerStatuses"},
		"ObservedGeneration":         {Translated, "home's generation"},
		"Resize":                     {Carried, "known values"},
		"AllocatedResources":         {Carried, ""},
		"Resources":                  {Carried, ""},

		"QOSClass":                    {Home, "the API server computed it at creation, and it may not change"},
		"NominatedNodeName":           {Home, "home scheduling"},
		"ResourceClaimStatuses":       {Home, "home's claim controller"},
		"ExtendedResourceClaimStatus": {Home, "home's scheduler"},
	}
}
