package main

import (
	"errors"
	"fmt"
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

func TestRequestsAreLimitedOnPurpose(t *testing.T) {
	if opts := defaults(); opts.qps < 100 || opts.burst < 200 {
		t.Errorf("qps %v, burst %v: client-go's defaults of 5 and 10 would be as bad", opts.qps, opts.burst)
	}
}

func TestExitCodes(t *testing.T) {
	tests := map[string]struct {
		err  error
		want int
	}{
		"done":                       {nil, 0},
		"failed":                     {errors.New("no"), 1},
		"a usage error":              {usageError{errors.New("unknown flag")}, 2},
		"a usage error in a wrapper": {fmt.Errorf("run: %w", usageError{errors.New("unknown flag")}), 2},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := exitCode(tc.err); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	tests := map[string]struct {
		args      []string
		wantUsage bool
		wantOut   string
		wantErr   string
	}{
		"--help is worth reading":    {args: []string{"--help"}, wantOut: "It never talks to a provider"},
		"--version":                  {args: []string{"--version"}, wantOut: "controller-manager v"},
		"a flag that does not exist": {args: []string{"--nope"}, wantUsage: true, wantErr: "unknown flag: --nope"},
		"a flag of the wrong type": {
			args: []string{"--leader-elect=maybe"}, wantUsage: true, wantErr: `invalid argument "maybe"`,
		},
		"arguments": {args: []string{"now"}, wantUsage: true, wantErr: `got ["now"]`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cmd, out := newCommand(), &strings.Builder{}
			cmd.SetArgs(tc.args)
			cmd.SetOut(out)
			cmd.SetErr(out)
			err := cmd.Execute()
			if usage := (usageError{}); errors.As(err, &usage) != tc.wantUsage {
				t.Errorf("error %v", err)
			}
			if tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("error %v does not say %q", err, tc.wantErr)
			}
			if !strings.Contains(out.String(), tc.wantOut) {
				t.Errorf("output %q does not say %q", out, tc.wantOut)
			}
		})
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
