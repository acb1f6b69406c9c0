package naming_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
)

func TestTwin(t *testing.T) {
	type refusal string
	const (
		none     refusal = ""
		tooLong  refusal = "too long"
		reserved refusal = "reserved"
		invalid  refusal = "invalid"
		other    refusal = "other"
	)
	long := strings.Repeat("n", 60)
	tests := map[string]struct {
		home       string
		strategy   v1beta1.NamespaceMappingStrategy
		remote     *string
		cluster    string
		want       string
		wantRefuse refusal
		wantWords  []string
	}{
		"the default appends the home cluster": {
			home: "shop", strategy: v1beta1.DefaultName, cluster: "a", want: "shop-a",
		},
		"no strategy is the default one": {home: "shop", cluster: "a", want: "shop-a"},
		"the same name":                  {home: "shop", strategy: v1beta1.EnforceSameName, cluster: "a", want: "shop"},
		"a selected name": {
			home: "shop", strategy: v1beta1.SelectedName, remote: ptr.To("boutique"), cluster: "a", want: "boutique",
		},
		"a remote name is only read with SelectedName": {
			home: "shop", strategy: v1beta1.EnforceSameName, remote: ptr.To("boutique"), cluster: "a", want: "shop",
		},
		"exactly 63 characters are fine": {home: long, cluster: "aa", want: long + "-aa"},
		"64 characters are refused with limit, length and a way out": {
			home: long, cluster: "aaa", want: long + "-aaa", wantRefuse: tooLong,
			wantWords: []string{"64", "63", "EnforceSameName", long + "-aaa"},
		},
		"a selected name of 64": {
			home: "shop", strategy: v1beta1.SelectedName, remote: ptr.To(strings.Repeat("x", 64)), cluster: "a",
			want: strings.Repeat("x", 64), wantRefuse: tooLong, wantWords: []string{"64"},
		},
		"SelectedName without a name": {
			home: "shop", strategy: v1beta1.SelectedName, cluster: "a", wantRefuse: invalid,
			wantWords: []string{"remoteNamespaceName"},
		},
		"a selected name in upper case": {
			home: "shop", strategy: v1beta1.SelectedName, remote: ptr.To("Shop"), cluster: "a", want: "Shop",
			wantRefuse: invalid, wantWords: []string{"Shop", "lower case"},
		},
		"a path": {
			home: "shop", strategy: v1beta1.SelectedName, remote: ptr.To("../../x"), cluster: "a", want: "../../x",
			wantRefuse: invalid,
		},
		"default under its own name": {
			home: "default", strategy: v1beta1.EnforceSameName, cluster: "a", want: "default", wantRefuse: reserved,
			wantWords: []string{"default", "SelectedName"},
		},
		"default under a name of its own": {home: "default", cluster: "a", want: "default-a"},
		"kube-system under any name that starts alike": {
			home: "kube-system", cluster: "a", want: "kube-system-a", wantRefuse: reserved,
		},
		"our own namespace": {
			home: "liqo", strategy: v1beta1.EnforceSameName, cluster: "a", want: "liqo", wantRefuse: reserved,
		},
		"a tenant namespace": {
			home: "shop", strategy: v1beta1.SelectedName, remote: ptr.To("liqo-tenant-b"), cluster: "a",
			want: "liqo-tenant-b", wantRefuse: reserved,
		},
		"a strategy from the future": {home: "shop", strategy: "Random", cluster: "a", wantRefuse: other,
			wantWords: []string{"Random", "DefaultName"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := naming.Twin(tc.home, v1beta1.NamespaceOffloadingSpec{
				NamespaceMappingStrategy: tc.strategy, RemoteNamespaceName: tc.remote,
			}, tc.cluster)
			refused := none
			var (
				longErr     *naming.TooLongError
				reservedErr *naming.ReservedError
				invalidErr  *naming.InvalidError
			)
			switch {
			case errors.As(err, &longErr):
				refused = tooLong
			case errors.As(err, &reservedErr):
				refused = reserved
			case errors.As(err, &invalidErr):
				refused = invalid
			case err != nil:
				refused = other
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("name (-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantRefuse, refused); diff != "" {
				t.Errorf("refusal of %v (-want,+got):\n%s", err, diff)
			}
			for _, word := range tc.wantWords {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestReserved(t *testing.T) {
	tests := map[string]struct {
		name string
		want bool
	}{
		"default":                       {"default", true},
		"the control plane":             {"kube-system", true},
		"leases of nodes":               {"kube-node-lease", true},
		"ours":                          {"liqo", true},
		"a tenant":                      {"liqo-tenant-b", true},
		"a user's that starts like us":  {"liqo-demo", false},
		"a user's that starts as kube":  {"kubernetes-lab", false},
		"a user's":                      {"shop", false},
		"a user's that ends in default": {"my-default", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := naming.Reserved(tc.name); got != tc.want {
				t.Errorf("Reserved(%q) = %v, want %v", tc.name, got, tc.want)
			}
		})
	}
}

func TestCheckClusterID(t *testing.T) {
	tests := map[string]struct {
		id       string
		wantWord string
	}{
		"a short word": {id: "consumer"},
		"a UID":        {id: "0b5cf4f0-7e5f-4bd9-a0a7-1e2d3c4b5a69"},
		"the longest":  {id: strings.Repeat("a", naming.MaxClusterIDLength)},
		"one more than a tenant's name has": {id: strings.Repeat("a", naming.MaxClusterIDLength+1),
			wantWord: "limit is 51"},
		"a dot":   {id: "a.b", wantWord: "a.b"},
		"nothing": {id: "", wantWord: "not valid"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := naming.CheckClusterID(tc.id)
			switch {
			case tc.wantWord == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.wantWord != "" && (err == nil || !strings.Contains(err.Error(), tc.wantWord)):
				t.Errorf("got %v, want an error that says %q", err, tc.wantWord)
			}
		})
	}
}
