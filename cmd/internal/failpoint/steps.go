//go:build failpoints

package failpoint

import (
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/endpoints/request"
)

// When a fault happens at a step: nobody has been asked yet, or the answer is there and has not been heard.
const (
	before = "before"
	after  = "after"
)

// step is a kind of request.
type step struct {
	to Side
	// verbs are the API's, with spaces between them.
	verbs, resource, subresource string
	// namespace is given where one resource is used for two things.
	namespace string
}

const (
	created = "create"
	deleted = "delete"
	changed = "update patch"
	written = created + " " + changed
	leases  = "kube-node-lease"
)

// steps are all steps that have a name.
func steps() map[string]step {
	out := map[string]step{
		"home-pod-status-written":        {Home, changed, "pods", "status", ""},
		"home-pod-deleted":               {Home, deleted, "pods", "", ""},
		"home-pod-evicted":               {Home, created, "pods", "eviction", ""},
		"home-pod-patched":               {Home, changed, "pods", "", ""},
		"home-pod-bound":                 {Home, created, "pods", "binding", ""},
		"home-node-created":              {Home, created, "nodes", "", ""},
		"home-node-written":              {Home, changed, "nodes", "", ""},
		"home-node-status-written":       {Home, changed, "nodes", "status", ""},
		"home-node-deleted":              {Home, deleted, "nodes", "", ""},
		"home-node-lease-renewed":        {Home, written, "leases", "", leases},
		"home-virtualnode-written":       {Home, changed, "virtualnodes", "", ""},
		"home-virtualnode-status":        {Home, changed, "virtualnodes", "status", ""},
		"home-namespacemap-created":      {Home, created, "namespacemaps", "", ""},
		"home-namespacemap-written":      {Home, changed, "namespacemaps", "", ""},
		"home-namespacemap-status":       {Home, changed, "namespacemaps", "status", ""},
		"home-namespacemap-deleted":      {Home, deleted, "namespacemaps", "", ""},
		"home-offloading-created":        {Home, created, "namespaceoffloadings", "", ""},
		"home-offloading-written":        {Home, changed, "namespaceoffloadings", "", ""},
		"home-offloading-status":         {Home, changed, "namespaceoffloadings", "status", ""},
		"home-offloading-deleted":        {Home, deleted, "namespaceoffloadings", "", ""},
		"home-namespace-labelled":        {Home, changed, "namespaces", "", ""},
		"home-rolebinding-created":       {Home, created, "rolebindings", "", ""},
		"home-rolebinding-deleted":       {Home, deleted, "rolebindings", "", ""},
		"home-role-written":              {Home, changed, "roles", "", ""},
		"home-credential-stored":         {Home, changed, "secrets", "", ""},
		"home-certificate-requested":     {Home, created, "certificatesigningrequests", "", ""},
		"home-certificate-approved":      {Home, changed, "certificatesigningrequests", "approval", ""},
		"home-token-requested":           {Home, created, "serviceaccounts", "token", ""},
		"home-volume-created":            {Home, created, "persistentvolumes", "", ""},
		"home-volume-deleted":            {Home, deleted, "persistentvolumes", "", ""},
		"remote-namespace-created":       {Remote, created, "namespaces", "", ""},
		"remote-namespace-written":       {Remote, changed, "namespaces", "", ""},
		"remote-namespace-deleted":       {Remote, deleted, "namespaces", "", ""},
		"remote-rolebinding-created":     {Remote, created, "rolebindings", "", ""},
		"remote-rolebinding-deleted":     {Remote, deleted, "rolebindings", "", ""},
		"remote-token-requested":         {Remote, created, "serviceaccounts", "token", ""},
		"remote-pod-created":             {Remote, created, "pods", "", ""},
		"remote-pod-written":             {Remote, changed, "pods", "", ""},
		"remote-pod-resized":             {Remote, changed, "pods", "resize", ""},
		"remote-pod-deleted":             {Remote, deleted, "pods", "", ""},
		"remote-ephemeralcontainers-set": {Remote, changed, "pods", "ephemeralcontainers", ""},
	}
	for one, many := range map[string]string{
		"configmap": "configmaps", "secret": "secrets", "service": "services", "endpointslice": "endpointslices",
		"ingress": "ingresses", "claim": "persistentvolumeclaims",
	} {
		out["remote-"+one+"-written"] = step{Remote, written, many, "", ""}
		out["remote-"+one+"-deleted"] = step{Remote, deleted, many, "", ""}
	}
	return out
}

// is tells whether a request is this step.
func (s step) is(to Side, r *request.RequestInfo) bool {
	return to == s.to && r.IsResourceRequest && r.Resource == s.resource && r.Subresource == s.subresource &&
		slices.Contains(strings.Fields(s.verbs), r.Verb) && (s.namespace == "" || s.namespace == r.Namespace)
}
