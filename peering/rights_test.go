package peering_test

import (
	"context"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// rights asks the provider what the identity may do, once before and once after it has bound itself in a twin.
func rights(t *testing.T, peer, admin client.Client) {
	everywhere := map[string]bool{
		// right: allowed. A right is "verb resource[/subresource][.group] [namespace][:name]".
		"list namespaces": true, "watch namespaces": true, "create namespaces": true, "patch namespaces": false,
		"delete namespaces": true, "update namespaces": false, "update namespaces/finalize": false,
		"patch namespaces/status": false, "deletecollection namespaces": false,
		"list nodes": true, "patch nodes": false, "delete nodes": false, "get nodes/proxy": false,
		"list storageclasses.storage.k8s.io": true, "create storageclasses.storage.k8s.io": false,
		"list ingressclasses.networking.k8s.io":                        true,
		"create rolebindings.rbac.authorization.k8s.io twin":           true,
		"delete rolebindings.rbac.authorization.k8s.io twin:liqo-twin": true,
		"delete rolebindings.rbac.authorization.k8s.io twin:view":      false,
		"update rolebindings.rbac.authorization.k8s.io twin:liqo-twin": false,
		"list rolebindings.rbac.authorization.k8s.io":                  false,
		"bind clusterroles.rbac.authorization.k8s.io :liqo-twin":       true,
		"bind clusterroles.rbac.authorization.k8s.io :cluster-admin":   false,
		"escalate clusterroles.rbac.authorization.k8s.io":              false,
		"create clusterrolebindings.rbac.authorization.k8s.io":         false,
		"impersonate users": false, "impersonate serviceaccounts": false,
		"create serviceaccounts/token liqo-tenant-consumer:liqo-consumer": true,
		"create serviceaccounts/token liqo-tenant-consumer:default":       false,
		"create serviceaccounts/token kube-system:admin":                  false,
		"get secrets kube-system":                                         false, "list secrets": false,
		"list pods":                        false,
		"get secrets liqo-tenant-consumer": false, "list configmaps kube-system": false,
		"delete validatingadmissionpolicies.admissionregistration.k8s.io":      false,
		"patch validatingadmissionpolicybindings.admissionregistration.k8s.io": false,
		"create mutatingwebhookconfigurations.admissionregistration.k8s.io":    false,
		"create customresourcedefinitions.apiextensions.k8s.io":                false,
		"create certificatesigningrequests.certificates.k8s.io":                false,
		"create pods shop-consumer":                                            false, "list pods shop-consumer": false,
	}
	asked(t, peer, everywhere)
	twin := namespace("rights-consumer", twinLabels("consumer"))
	if err := peer.Create(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	if err := peer.Create(t.Context(), binding(twin.Name, "liqo-twin", identity("consumer"))); err != nil {
		t.Fatal(err)
	}
	asked(t, peer, map[string]bool{
		"list pods rights-consumer": true, "watch pods rights-consumer": true, "create pods rights-consumer": true,
		"patch pods rights-consumer": true, "delete pods rights-consumer": true, "get pods/log rights-consumer": true,
		"create pods/exec rights-consumer": true, "patch pods/status rights-consumer": false,
		"patch pods/ephemeralcontainers rights-consumer": true, "create pods/eviction rights-consumer": false,
		"deletecollection pods rights-consumer": false, "create pods/binding rights-consumer": false,
		"create services rights-consumer": true, "patch configmaps rights-consumer": true,
		"delete secrets rights-consumer": true, "list endpointslices.discovery.k8s.io rights-consumer": true,
		"create endpointslices.discovery.k8s.io rights-consumer":   true,
		"create roles.rbac.authorization.k8s.io rights-consumer":   false,
		"create serviceaccounts rights-consumer":                   false,
		"create deployments.apps rights-consumer":                  false,
		"create resourcequotas rights-consumer":                    false,
		"create networkpolicies.networking.k8s.io rights-consumer": false,
		"list pods shop-consumer":                                  false,
	})
	finish(t, admin, twin)
}

// asked waits until every right that is wanted is there, since an API server learns of a binding through a watch, and
// only then asks for those that must not be.
func asked(t *testing.T, c client.Client, rights map[string]bool) {
	t.Helper()
	for right, want := range rights {
		if !want {
			continue
		}
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 10*time.Second, true,
			func(context.Context) (bool, error) { return may(t, c, right), nil })
		if err != nil {
			t.Errorf("it may not %s", right)
		}
	}
	for right, want := range rights {
		if !want && may(t, c, right) {
			t.Errorf("it may %s", right)
		}
	}
}

func may(t *testing.T, c client.Client, right string) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes(right)},
	}
	if err := c.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

func attributes(right string) *authorizationv1.ResourceAttributes {
	words := append(strings.Fields(right), "")
	out := &authorizationv1.ResourceAttributes{Verb: words[0]}
	out.Resource, out.Group, _ = strings.Cut(words[1], ".")
	out.Resource, out.Subresource, _ = strings.Cut(out.Resource, "/")
	out.Namespace, out.Name, _ = strings.Cut(words[2], ":")
	return out
}
