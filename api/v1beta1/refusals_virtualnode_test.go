package v1beta1_test

import "strings"

// virtualNodes are what VirtualNodes may name to be reflected besides, and what not.
func virtualNodes() map[string]input {
	const path = "/apis/offloading.liqo.io/v1beta1/namespaces/fresh/virtualnodes"
	naming := func(resources ...string) string {
		return `{"apiVersion":"offloading.liqo.io/v1beta1","kind":"VirtualNode","metadata":{"name":"b"},` +
			`"spec":{"clusterID":"b","reflectedResources":["` + strings.Join(resources, `","`) + `"]}}`
	}
	many := strings.Split(strings.TrimSpace(strings.Repeat("x ", 33)), " ")
	for i := range many {
		many[i] = strings.Repeat("a", i+1) + ".v1.example.com"
	}
	const form, custom = "must be PLURAL.VERSION.GROUP, such as certificates.v1.cert-manager.io",
		"only custom resources can be reflected by name"
	at := "spec.reflectedResources[0]: "
	cases := map[string]input{
		"custom resources": {code: 201, body: naming("certificates.v1.cert-manager.io", "rollouts.v1alpha1.argoproj.io",
			"gateways.v1.gateway.networking.k8s.io", "volumesnapshots.v1.snapshot.storage.k8s.io")},
		"as many as may be": {code: 201, body: naming(many[:32]...)},
		"too many":          {code: 422, body: naming(many...), want: []string{"must have at most 32 items"}},
		"one twice":         {code: 422, body: naming(many[0], many[0]), want: []string{"[1]: Duplicate value"}},
		"one that is too long": {
			code: 422, body: naming("a.v1." + strings.Repeat("a.", 130) + "b"), want: []string{"Too long"},
		},
		"no text": {
			code: 422, body: strings.Replace(naming("5"), `"5"`, "5", 1), want: []string{"must be of type string"},
		},
		"a forbidden one second": {
			code: 422, body: naming(many[0], "nodes.v1.metrics.k8s.io"), want: []string{"[1]: Forbidden: " + custom},
		},
	}
	for name, resource := range map[string]string{
		"nothing": "", "a plural alone": "certificates", "no version": "certificates.cert-manager.io",
		"a kind of the core":            "secrets.v1",
		"a kind of the core with a dot": "secrets.v1.", "kinds of apps": "deployments.v1.apps",
		"capitals": "Certificates.v1.cert-manager.io", "another order": "v1.certificates.cert-manager.io",
		"a subresource": "certificates/status.v1.cert-manager.io", "all of a group": "*.v1.cert-manager.io",
		"a space": " certificates.v1.cert-manager.io",
	} {
		cases[name] = input{code: 422, body: naming(resource), want: []string{at + "Invalid value", form}}
	}
	for name, resource := range map[string]string{
		"roles": "roles.v1.rbac.authorization.k8s.io", "storage classes": "storageclasses.v1.storage.k8s.io",
		"webhooks":                  "validatingwebhookconfigurations.v1.admissionregistration.k8s.io",
		"kinds":                     "customresourcedefinitions.v1.apiextensions.k8s.io",
		"our own":                   "namespaceoffloadings.v1beta1.offloading.liqo.io",
		"what has a way of its own": "endpointslices.v1.discovery.k8s.io",
	} {
		cases[name] = input{code: 422, body: naming(resource), want: []string{at + "Forbidden: " + custom}}
	}
	for name, in := range cases {
		in.path, in.query = path, "dryRun=All"
		cases[name] = in
	}
	return cases
}
