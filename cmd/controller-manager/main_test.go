package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
)

func TestOptions(t *testing.T) {
	tests := map[string]struct {
		args      []string
		wantWords []string // all of them in one error
	}{
		"the defaults":    {},
		"as in a cluster": {args: []string{"--leader-elect", "--cluster-id", "consumer"}},
		"as in the playground": {args: []string{"--kubeconfig", "f", "--metrics-bind-address", "127.0.0.1:20000",
			"--health-probe-bind-address", "127.0.0.1:20001"}},
		"without endpoints": {args: []string{"--metrics-bind-address", "0", "--health-probe-bind-address", "0"}},
		"all mistakes at once": {
			args: []string{"--cluster-id", "Not.A.Label", "--kube-api-qps", "0", "--kube-api-burst", "-1",
				"--metrics-bind-address", "nowhere", "--health-probe-bind-address", ":99999"},
			wantWords: []string{"--cluster-id", "Not.A.Label", "--kube-api-qps", "--kube-api-burst", "-1",
				"--metrics-bind-address", "nowhere", "--health-probe-bind-address", "99999"},
		},
		"an id that leaves no room for a tenant namespace": {
			args: []string{"--cluster-id", strings.Repeat("a", 52)}, wantWords: []string{"52", "51"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			opts, flags := defaults(), pflag.NewFlagSet("", pflag.ContinueOnError)
			opts.addFlags(flags)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			err := opts.validate()
			if (err != nil) != (len(tc.wantWords) > 0) {
				t.Fatalf("error %v", err)
			}
			for _, word := range tc.wantWords {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestTheProgramIntroducesItself(t *testing.T) {
	for arg, want := range map[string]string{
		"--help": "It never talks to a provider", "--version": "controller-manager v",
	} {
		cmd, out := program().Command(t.Context), &strings.Builder{}
		cmd.SetArgs([]string{arg})
		cmd.SetOut(out)
		if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, %q does not say %q", arg, err, out, want)
		}
	}
}

// served is discovery of an API server that serves these kinds.
type served struct {
	discovery.ServerResourcesInterface
	kinds []string
	err   error
}

func (s served) ServerResourcesForGroupVersion(string) (*metav1.APIResourceList, error) {
	list := &metav1.APIResourceList{}
	for _, kind := range s.kinds {
		list.APIResources = append(list.APIResources, metav1.APIResource{Kind: kind})
	}
	return list, s.err
}

func TestReadinessTellsOfMissingKinds(t *testing.T) {
	tests := map[string]struct {
		served      served
		wantMissing string
	}{
		"all there": {served: served{kinds: []string{"NamespaceOffloading", "NamespaceMap", "VirtualNode"}}},
		"one still to come": {served: served{kinds: []string{"NamespaceOffloading", "VirtualNode"}},
			wantMissing: "kind NamespaceMap"},
		"nothing installed": {served: served{err: errors.New("the server could not find the requested resource")},
			wantMissing: "could not find"},
		"only somebody else": {served: served{kinds: []string{"Pod"}}, wantMissing: "kind NamespaceOffloading"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := (&starter{kinds: tc.served}).missing(); err != nil {
				got = err.Error()
			}
			if tc.wantMissing == "" {
				if diff := cmp.Diff("", got); diff != "" {
					t.Errorf("(-want,+got):\n%s", diff)
				}
			} else if !strings.Contains(got, tc.wantMissing) {
				t.Errorf("%q does not say %q", got, tc.wantMissing)
			}
		})
	}

	s := &starter{started: make(chan struct{})}
	if err := s.ready(nil); err == nil || !strings.Contains(err.Error(), "manifests/crd") {
		t.Errorf("before the start: %v", err)
	}
	close(s.started)
	if err := s.ready(nil); err != nil {
		t.Errorf("after the start: %v", err)
	}
	if s.NeedLeaderElection() {
		t.Error("a replica that stands by would never be ready")
	}
}
