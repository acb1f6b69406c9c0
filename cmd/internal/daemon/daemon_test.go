package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"
)

// example is a program that notes what it does.
func example(opts *Options, did *[]string, mistake error) Program {
	return Program{
		Name: "example", Long: "example is worth reading about.",
		AddFlags: func(fs *pflag.FlagSet) { opts.AddFlags(fs, "namespace liqo") },
		Validate: func() error {
			*did = append(*did, "checked")
			return mistake
		},
		Run: func(context.Context) error {
			*did = append(*did, "ran")
			return nil
		},
	}
}

func TestCommandLine(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		mistake error
		did     []string
		code    int
		says    string
	}{
		"nothing wrong":          {did: []string{"checked", "ran"}, code: Done},
		"help":                   {args: []string{"--help"}, code: Done, says: "worth reading about"},
		"version":                {args: []string{"--version"}, code: Done, says: "example v"},
		"a flag that is unknown": {args: []string{"--nope"}, code: Usage, says: "unknown flag: --nope"},
		"a flag of another type": {args: []string{"--leader-elect=maybe"}, code: Usage, says: `argument "maybe"`},
		"arguments":              {args: []string{"now"}, code: Usage, says: `takes no arguments, got ["now"]`},
		"options with a mistake": {mistake: errors.New("no"), did: []string{"checked"}, code: Failed, says: "no"},
		"a usage error, wrapped": {
			mistake: fmt.Errorf("x: %w", UsageError{errors.New("y")}), did: []string{"checked"},
			code: Usage, says: "x: y",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var did []string
			opts, out := DefaultOptions(), &strings.Builder{}
			p := example(&opts, &did, test.mistake)
			cmd := p.Command(t.Context)
			cmd.SetArgs(test.args)
			cmd.SetOut(out)
			cmd.SetErr(out)
			err := cmd.Execute()
			if diff := cmp.Diff(test.did, did); diff != "" {
				t.Errorf("what it did (-want +got):\n%s", diff)
			}
			if code := p.report(err); code != test.code {
				t.Errorf("exit code %d for %v, want %d", code, err, test.code)
			}
			if !strings.Contains(out.String(), test.says) {
				t.Errorf("output %q does not say %q", out, test.says)
			}
		})
	}
}

// From level 8 on, client-go logs bodies: nothing that an operator asks for may put Secrets into a log.
func TestSecretsAreNotLoggedHoweverMuchIsAskedFor(t *testing.T) {
	for name, args := range map[string][]string{
		"everywhere":  {"-v=10"},
		"in one file": {"--vmodule=daemon_test=10"},
	} {
		t.Run(name, func(t *testing.T) {
			reset := func() {
				if err := logsapi.ResetForTest(nil); err != nil {
					t.Fatal(err)
				}
			}
			reset()
			t.Cleanup(reset)
			var did []string
			opts, out := DefaultOptions(), &bytes.Buffer{}
			p := example(&opts, &did, nil)
			var useful, dangerous bool
			p.Run = func(context.Context) error {
				useful, dangerous = klog.V(7).Enabled(), klog.V(8).Enabled()
				return nil
			}
			cmd := p.Command(t.Context)
			cmd.SetArgs(args)
			cmd.SetErr(out)
			if err := cmd.Execute(); err != nil {
				t.Fatal(err, out)
			}
			if !useful || dangerous {
				t.Errorf("level 7: %t, level 8: %t; want the first only", useful, dangerous)
			}
		})
	}
}

func TestOptionsSayEveryMistake(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"the defaults":      {func(*Options) {}, nil},
		"without endpoints": {func(o *Options) { o.MetricsAddress, o.HealthAddress = "0", "0" }, nil},
		"all wrong": {
			func(o *Options) { *o = Options{QPS: -1, MetricsAddress: "nowhere", HealthAddress: ":99999"} },
			[]string{
				"--health-probe-bind-address: port \"99999\" is not a number up to 65535",
				"--kube-api-burst: must be more than 0, not 0",
				"--kube-api-qps: must be more than 0, not -1",
				"--metrics-bind-address: address nowhere: missing port in address",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := DefaultOptions()
			test.change(&opts)
			var got []string
			for _, err := range opts.Validate() {
				got = append(got, err.Error())
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequestsAreLimitedOnPurpose(t *testing.T) {
	if opts := DefaultOptions(); opts.QPS < 100 || opts.Burst < 200 {
		t.Errorf("qps %v, burst %v: client-go's defaults of 5 and 10 would be as bad", opts.QPS, opts.Burst)
	}
}
