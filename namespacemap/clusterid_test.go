package namespacemap

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func storedID(id string) *corev1.ConfigMap {
	store := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "liqo", Name: v1beta1.ClusterIDConfigMap}}
	if id != "" {
		store.Data = map[string]string{v1beta1.ClusterIDKey: id}
	}
	return store
}

func TestEnsureClusterID(t *testing.T) {
	tests := map[string]struct {
		stored  *corev1.ConfigMap
		wanted  string
		want    string
		wantErr string
	}{
		"the first time, as wanted":         {wanted: "consumer", want: "consumer"},
		"the first time, the cluster's UID": {want: "uid-of-kube-system"},
		"later, as stored":                  {stored: storedID("consumer"), want: "consumer"},
		"later, wanted as stored":           {stored: storedID("consumer"), wanted: "consumer", want: "consumer"},
		"later, another one is wanted": {stored: storedID("consumer"), wanted: "other",
			wantErr: `is "consumer"`},
		"wanted, but no cluster can be called": {wanted: "Not.A.Label", wantErr: "Not.A.Label"},
		"stored, but no cluster can be called": {stored: storedID("Not.A.Label"), wantErr: "Not.A.Label"},
		"stored without the key":               {stored: storedID(""), wanted: "consumer", wantErr: "CLUSTER_ID"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{build.Namespace("kube-system").UID("uid-of-kube-system").Obj()}
			if tc.stored != nil {
				objects = append(objects, tc.stored)
			}
			home := newServer(t, objects...)
			got, err := EnsureClusterID(t.Context(), home, tc.wanted)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error %v does not say %q", err, tc.wantErr)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
			store := get(t, home, "liqo", v1beta1.ClusterIDConfigMap, &corev1.ConfigMap{})
			if store.Data[v1beta1.ClusterIDKey] != tc.want {
				t.Errorf("stored %v", store.Data)
			}
			if tc.stored == nil && store.Labels[v1beta1.LabelClusterID] != v1beta1.ClusterIDConfigMap {
				t.Errorf("labels %v: nobody would find it", store.Labels)
			}
		})
	}
}

func TestTwoReplicasAgreeOnTheClusterID(t *testing.T) {
	home := newServer(t)
	home.before = func(string, client.Object) error {
		home.before = nil
		return home.Create(t.Context(), storedID("first")) // the other replica is faster
	}
	if got, err := EnsureClusterID(t.Context(), home, ""); err == nil || got != "" {
		t.Errorf("got %q, %v without kube-system", got, err)
	}
	home.before = func(string, client.Object) error {
		home.before = nil
		return home.Create(t.Context(), storedID("first"))
	}
	if got, err := EnsureClusterID(t.Context(), home, "first"); err != nil || got != "first" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTheSlowerReplicaIsRefusedAnotherID(t *testing.T) {
	home := newServer(t)
	home.before = func(string, client.Object) error {
		home.before = nil
		return home.Create(t.Context(), storedID("first"))
	}
	if got, err := EnsureClusterID(t.Context(), home, "second"); err == nil {
		t.Errorf("got %q, want a refusal", got)
	}
}
