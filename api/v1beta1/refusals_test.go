package v1beta1_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// offloadings is where the NamespaceOffloadings of a namespace are.
func offloadings(ns string) string {
	return "/apis/offloading.liqo.io/v1beta1/namespaces/" + ns + "/namespaceoffloadings"
}

// input is a request, and what an API server has to answer.
type input struct {
	verb    string // POST unless set
	path    string // the offloadings of namespace fresh unless set
	query   string // key=value
	kind    string // application/json unless set
	body    string // %s stands for the path's namespace
	user    *rest.ImpersonationConfig
	token   string
	code    int
	want    []string // words of the message
	warning string
}

// meta begins a NamespaceOffloading; a case adds the spec.
const meta = `{"apiVersion":"offloading.liqo.io/v1beta1","kind":"NamespaceOffloading",` +
	`"metadata":{"name":"offloading"},"spec":`

func spec(text string) string { return meta + text + "}" }

// requirement is a spec whose selector has one requirement.
func requirement(text string) string {
	return spec(`{"clusterSelector":{"nodeSelectorTerms":[{"matchExpressions":[` + text + `]}]}}`)
}

func malformed() map[string]input {
	return map[string]input{
		"B01 another name": {body: strings.Replace(spec("{}"), `"offloading"}`, `"mine"}`, 1), code: 422,
			want: []string{"metadata.name: Invalid value", "must be 'offloading'"}},
		"B02 a generated name": {body: strings.Replace(spec("{}"), `"name":"offloading"`, `"generateName":"offl-"`, 1),
			code: 422, want: []string{`"offl-`, "metadata.name: Invalid value", "must be 'offloading'"}},
		"B03 a strategy in lower case": {body: spec(`{"podOffloadingStrategy":"remote"}`), code: 422, want: []string{
			`spec.podOffloadingStrategy: Unsupported value: "remote": ` +
				`supported values: "Local", "Remote", "LocalAndRemote"`,
		}},
		"B04 an unknown mapping": {body: spec(`{"namespaceMappingStrategy":"Foo"}`), code: 422,
			want: []string{`spec.namespaceMappingStrategy: Unsupported value: "Foo": supported values: `}},
		"B05 a number": {body: spec(`{"podOffloadingStrategy":5}`), code: 422, want: []string{
			`spec.podOffloadingStrategy in body must be of type string: "integer"`, "Unsupported value: 5"}},
		"B06 no spec": {body: strings.TrimSuffix(meta, `,"spec":`) + "}", code: 422,
			want: []string{"spec: Required value"}},
		"B07 an unknown field, strictly": {body: spec(`{"podOffloadingStrategi":"Local"}`),
			query: "fieldValidation=Strict",
			code:  400, want: []string{`strict decoding error: unknown field "spec.podOffloadingStrategi"`}},
		"B08 an unknown field": {body: spec(`{"podOffloadingStrategi":"Local"}`), query: "dryRun=All", code: 201,
			warning: `unknown field "spec.podOffloadingStrategi"`},
		"B09 a field twice, strictly": {query: "fieldValidation=Strict", code: 400,
			body: spec(`{"podOffloadingStrategy":"Local","podOffloadingStrategy":"Remote"}`),
			want: []string{`strict decoding error: duplicate field "spec.podOffloadingStrategy"`}},
		"B10 SelectedName without a name": {body: spec(`{"namespaceMappingStrategy":"SelectedName"}`), code: 422,
			want: []string{"spec.remoteNamespaceName: Required value: must be set when"}},
		"B11 a name without SelectedName": {body: spec(`{"remoteNamespaceName":"elsewhere"}`), code: 422,
			want: []string{"spec.remoteNamespaceName: Forbidden: may only be set when"}},
		"B12 a name with capitals": {body: named("Foo_Bar"), code: 422,
			want: []string{"spec.remoteNamespaceName: Invalid value", "must be a DNS-1123 label"}},
		"B12 a path": {body: named("../../x"), code: 422,
			want: []string{"spec.remoteNamespaceName: Invalid value", "must be a DNS-1123 label"}},
		"B13 a name too long": {body: named(strings.Repeat("x", 64)), code: 422,
			want: []string{"spec.remoteNamespaceName: Too long: may not be more than 63 bytes"}},
		"B14 a reserved name": {body: named("kube-system"), code: 422,
			want: []string{"spec.remoteNamespaceName: Forbidden: reserved namespace name"}},
		"B15 In without values": {body: requirement(`{"key":"a","operator":"In"}`), code: 422,
			want: []string{
				".matchExpressions[0].values: Required value: must be specified when operator is 'In' or 'NotIn'",
			}},
		"B15 NotIn with no values": {body: requirement(`{"key":"a","operator":"NotIn","values":[]}`), code: 422,
			want: []string{".matchExpressions[0].values: Required value: must be specified when"}},
		"B16 Exists with values": {body: requirement(`{"key":"a","operator":"Exists","values":["b"]}`), code: 422,
			want: []string{"values: Forbidden: may not be specified when operator is 'Exists' or 'DoesNotExist'"}},
		"B17 an unknown operator": {body: requirement(`{"key":"a","operator":"Equals","values":["b"]}`), code: 422,
			want: []string{`operator: Unsupported value: "Equals": supported values: ` +
				`"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"`}},
		"B18 more than a word": {body: requirement(`{"key":"a","operator":"Gt","values":["x"]}`), code: 422,
			want: []string{"values: Invalid value", "must be a single integer"}},
		"B18 less than two numbers": {body: requirement(`{"key":"a","operator":"Lt","values":["1","2"]}`), code: 422,
			want: []string{"values: Invalid value", "must be a single integer"}},
		"B19 a key with two slashes": {body: requirement(`{"key":"a/b/c","operator":"Exists"}`), code: 422,
			want: []string{"key: Invalid value", "must be a qualified label name"}},
		"B20 too many terms": {code: 422,
			body: spec(`{"clusterSelector":{"nodeSelectorTerms":[{}` + strings.Repeat(",{}", 32) + `]}}`),
			want: []string{"nodeSelectorTerms: Too many: 33: must have at most 32 items"}},
		"all operators as they should be": {query: "dryRun=All", code: 201, body: requirement(
			`{"key":"a","operator":"In","values":["b"]},{"key":"c/d","operator":"NotIn","values":["e","f"]},` +
				`{"key":"g","operator":"Exists"},{"key":"h","operator":"DoesNotExist","values":[]},` +
				`{"key":"i","operator":"Gt","values":["-1"]},{"key":"j","operator":"Lt","values":["2"]}`)},
	}
}

func named(name string) string {
	return spec(`{"namespaceMappingStrategy":"SelectedName","remoteNamespaceName":"` + name + `"}`)
}

// unwelcome are requests that are refused for what there is already, or for how they are made.
func unwelcome(now *metav1.ObjectMeta) map[string]input {
	there := offloadings("taken") + "/offloading"
	put := func(version string) string {
		return strings.Replace(spec("{}"), `"offloading"}`, `"offloading",`+version+`}`, 1)
	}
	unfenced := &rest.ImpersonationConfig{UserName: "mallory"}
	return map[string]input{
		"B21 a second one": {path: offloadings("taken"), body: spec("{}"), code: 409, want: []string{"already exists"}},
		"B22 another mapping": {verb: "PATCH", path: there, kind: "application/merge-patch+json", code: 422,
			body: `{"spec":{"namespaceMappingStrategy":"EnforceSameName"}}`,
			want: []string{"spec.namespaceMappingStrategy: Forbidden: namespaceMappingStrategy is immutable"}},
		"B23 a PUT without version": {verb: "PUT", path: there, body: spec("{}"), code: 422,
			want: []string{"metadata.resourceVersion: Invalid value", "must be specified for an update"}},
		"B24 a PUT that comes late": {verb: "PUT", path: there, body: put(`"resourceVersion":"1"`), code: 409,
			want: []string{
				"the object has been modified; please apply your changes to the latest version and try again",
			}},
		"B25 an apply against another": {verb: "PATCH", path: there, kind: "application/apply-patch+yaml",
			query: "fieldManager=other", body: spec(`{"podOffloadingStrategy":"Remote"}`), code: 409,
			want: []string{"Apply failed with 1 conflict: conflict with", ".spec.podOffloadingStrategy"}},
		"B26 an apply of nobody": {verb: "PATCH", path: there, kind: "application/apply-patch+yaml", body: spec("{}"),
			code: 422, want: []string{"fieldManager: Required value: is required for apply patch"}},
		"B27 nothing": {body: "", code: 400, want: []string{"couldn't get version/kind; json parse error"}},
		"B27 no JSON": {body: "{{{", code: 400, want: []string{"couldn't get version/kind; json parse error"}},
		"B28 version v9": {body: strings.Replace(spec("{}"), "v1beta1", "v9", 1), code: 400,
			want: []string{"does not match"}},
		"B29 another namespace": {body: strings.Replace(spec("{}"), `"offloading"}`,
			`"offloading","namespace":"other"}`, 1), code: 400,
			want: []string{"the namespace of the provided object does not match the namespace sent on the request"}},
		"B30 no namespace": {path: offloadings("nope"), body: spec("{}"), code: 404,
			want: []string{`namespaces "nope" not found`}},
		"B31 four megabytes": {body: spec(`{"remoteNamespaceName":"` + strings.Repeat("x", 4<<20) + `"}`), code: 413,
			want: []string{"Request entity too large: limit is 3145728"}},
		"B32 no right": {body: spec("{}"), user: unfenced, code: 403,
			want: []string{`is forbidden: User "mallory" cannot create resource "namespaceoffloadings"`}},
		"B32 no credential": {body: spec("{}"), token: "wrong", code: 401, want: []string{"Unauthorized"}},
		"B33 another one of the name": {verb: "DELETE", path: there, code: 409,
			body: `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"another"}}`,
			want: []string{
				"the UID in the precondition (another) does not match the UID in record (" + string(now.UID),
			}},
		"B34 annotations without end": {body: put(`"annotations":{"a":"` + strings.Repeat("x", 262144) + `"}`),
			code: 422,
			want: []string{"metadata.annotations: Too long: may not be more than 262144 bytes"}},
		"B35 a finalizer of nobody": {body: put(`"finalizers":["hold"]`), query: "dryRun=All", code: 201,
			warning: "prefer a domain-qualified finalizer name"},
	}
}

func TestWhatAnAPIServerAnswersToBadInput(t *testing.T) {
	home := env.Planes(t, 1)[0]
	taken := build.Offloading("taken").Obj()
	for _, object := range []client.Object{
		build.Namespace("fresh").Obj(), build.Namespace("other").Obj(), build.Namespace("taken").Obj(), taken,
	} {
		if err := home.Client().Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	for name, in := range malformed() {
		t.Run(name, func(t *testing.T) { in.try(t, home) })
	}
	for name, in := range spreads() {
		t.Run(name, func(t *testing.T) { in.try(t, home) })
	}
	for name, in := range virtualNodes() {
		t.Run("reflected resources, "+name, func(t *testing.T) { in.try(t, home) })
	}
	for name, in := range unwelcome(&taken.ObjectMeta) {
		t.Run(name, func(t *testing.T) { in.try(t, home) })
	}
	t.Run("B36 the kind is on its way out", func(t *testing.T) { kindLeaves(t, home) })
}

// try makes the request, and compares.
func (in input) try(t *testing.T, home *env.Cluster) {
	t.Helper()
	config := home.Config()
	if in.token != "" {
		config = rest.AnonymousClientConfig(config)
		config.BearerToken = in.token
	}
	if in.user != nil {
		config.Impersonate = *in.user
	}
	var told warnings
	config.WarningHandlerWithContext = &told
	config.GroupVersion, config.NegotiatedSerializer = &corev1.SchemeGroupVersion, scheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	verb, path, kind := or(in.verb, http.MethodPost), or(in.path, offloadings("fresh")), or(in.kind, "application/json")
	request := c.Verb(verb).AbsPath(path).SetHeader("Content-Type", kind).Body([]byte(in.body))
	if key, value, ok := strings.Cut(in.query, "="); ok {
		request = request.Param(key, value)
	}
	var code int
	result := request.Do(t.Context()).StatusCode(&code)
	message := ""
	if status := apierrors.APIStatus(nil); errors.As(result.Error(), &status) {
		message = status.Status().Message
	}
	if code != in.code {
		t.Errorf("code %d, want %d: %s", code, in.code, message)
	}
	for _, want := range in.want {
		if !strings.Contains(message, want) {
			t.Errorf("message %q does not say %q", message, want)
		}
	}
	if all := strings.Join(told, "\n"); !strings.Contains(all, in.warning) {
		t.Errorf("warnings %q do not say %q", all, in.warning)
	}
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// warnings is told an API server's warnings.
type warnings []string

// HandleWarningHeaderWithContext is called with each.
func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	*w = append(*w, text)
}

// kindLeaves deletes the kind while something holds one of its objects.
func kindLeaves(t *testing.T, home *env.Cluster) {
	held := build.Offloading("other").Obj()
	held.Finalizers = []string{"example.com/hold"}
	if err := home.Client().Create(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "namespaceoffloadings.offloading.liqo.io"},
	}
	if err := home.Client().Delete(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	const want = "create not allowed while custom resource definition is terminating"
	last := errors.New("accepted")
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true,
		func(ctx context.Context) (bool, error) {
			err := home.Client().Create(ctx, build.Offloading("fresh").Obj(), client.DryRunAll)
			if err != nil {
				last = err
			}
			return apierrors.IsMethodNotSupported(err) || apierrors.IsForbidden(err), nil
		})
	if err != nil || !strings.Contains(last.Error(), want) {
		t.Errorf("%v, want %q", fmt.Errorf("%w (%w)", err, last), want)
	}
}
