package reflection

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

func TestSecretsOfAnIngress(t *testing.T) {
	for name, tc := range map[string]struct {
		tls  []networkingv1.IngressTLS
		want []string
	}{
		"no certificate":                {nil, []string{}},
		"the class has the certificate": {[]networkingv1.IngressTLS{{Hosts: []string{"a.example"}}}, []string{}},
		"a certificate":                 {[]networkingv1.IngressTLS{{SecretName: "a"}}, []string{"a"}},
		"a certificate for several, twice": {
			[]networkingv1.IngressTLS{{SecretName: "b"}, {SecretName: "a"}, {SecretName: "b"}}, []string{"a", "b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := ingress(func(i *networkingv1.Ingress) { i.Spec.TLS = tc.tls })
			want := map[string][]string{"secrets": tc.want}
			if diff := cmp.Diff(want, Ingresses(offering()).Refers(src)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

// TestNoFieldOfAPodThatNamesASecretIsForgotten fails when Kubernetes adds one.
func TestNoFieldOfAPodThatNamesASecretIsForgotten(t *testing.T) {
	spec := &corev1.PodSpec{}
	fields := sets.New[string]()
	fillSecretNames(reflect.ValueOf(spec).Elem(), "", fields)
	if len(fields) < 18 {
		t.Fatalf("this test knows a Secret's name when it sees one only in %v", sets.List(fields))
	}
	if diff := cmp.Diff(fields, SecretsOf(spec)); diff != "" {
		t.Errorf("-fields that name a Secret,+what was found in them:\n%s", diff)
	}
}

// fillSecretNames sets each field that names a Secret to its own path, with one element in each list on the way.
func fillSecretNames(v reflect.Value, path string, found sets.Set[string]) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
			fillSecretNames(v.Elem(), path, found)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fillSecretNames(v.Index(0), path, found)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				fillSecretNames(v.Field(i), path+"."+field.Name, found)
			}
		}
	case reflect.String:
		if strings.Contains(path, "Secret") && strings.HasSuffix(path, "Name") {
			v.SetString(path)
			found.Insert(path)
		}
	}
}
