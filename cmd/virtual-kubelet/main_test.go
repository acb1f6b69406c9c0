package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestOptionsAreCheckedBeforeAnythingStarts(t *testing.T) {
	good := []string{"--cluster-id", "rome", "--remote-cluster-id", "milan", "--node-ip", "10.0.0.1"}
	for name, test := range map[string]struct {
		args []string
		says []string
	}{
		"as documented":           {nil, nil},
		"with a certificate":      {[]string{"--tls-cert-file", "x", "--tls-private-key-file", "y"}, nil},
		"an id that is no id":     {[]string{"--cluster-id", "Rome!"}, []string{"--cluster-id", "Rome!"}},
		"peering with oneself":    {[]string{"--cluster-id", "milan"}, []string{"cannot peer with itself"}},
		"several providers":       {[]string{"--remote-cluster-id", "turin,genoa"}, nil},
		"one, for a shared agent": {[]string{"--shared"}, nil},
		"one provider twice": {
			[]string{"--remote-cluster-id", "turin,milan"}, []string{"--remote-cluster-id: milan is given twice"},
		},
		"more providers than ports": {
			[]string{"--remote-cluster-id", "turin", "--kubelet-port", "65535"},
			[]string{"--kubelet-port: must be between 1 and 65534, not 65535"},
		},
		"half a certificate":      {[]string{"--tls-cert-file", "x"}, []string{"must be given together"}},
		"no workers":              {[]string{"--workers", "0"}, []string{"--workers: must be at least 1"}},
		"nobody is ever released": {[]string{"--release-after", "0", "--unfit-for", "0"}, nil},
		"a release in the past":   {[]string{"--release-after", "-1s"}, []string{"--release-after: must not be"}},
		"a memory of the future":  {[]string{"--unfit-for", "-1m"}, []string{"--unfit-for: must not be"}},
		"streams without end": {
			[]string{"--streaming-connection-idle-timeout", "0"},
			[]string{"--streaming-connection-idle-timeout: must be more than 0, not 0s"},
		},
		"addresses translated both ways": {
			[]string{"--remote-cidr-map", "10.0.0.0/16=10.1.0.0/16,fd00::/64=fd01::/64", "--home-cidr-map",
				"10.0.0.0/16=10.2.0.0/16"}, nil,
		},
		"addresses of the provider that are none": {
			[]string{"--remote-cidr-map", "10.0.0.0/16"},
			[]string{`--remote-cidr-map: "10.0.0.0/16": must be CIDR=CIDR`},
		},
		"addresses of home that are none": {
			[]string{"--home-cidr-map", "10.0.0.0/16=127.0.0.0/16"}, []string{"--home-cidr-map: ", "in 127.0.0.0/8"},
		},
		"addresses that would mean two things": {
			[]string{"--remote-cidr-map", "10.0.0.0/16=10.1.0.0/16", "--home-cidr-map", "10.1.0.0/16=10.2.0.0/16"},
			[]string{"--remote-cidr-map and --home-cidr-map: 10.1.0.0/16 would mean"},
		},
		"custom resources": {[]string{"--reflect-resources", "widgets.v1.example.com,gadgets.v2.example.com"}, nil},
		"custom resources that are none": {
			[]string{"--reflect-resources", "pods.v1"},
			[]string{`--reflect-resources: "pods.v1": must be PLURAL.VERSION.GROUP`},
		},
		"a scope that is none": {
			[]string{"--watch-scope", "all"}, []string{`--watch-scope: must be namespace or cluster, not "all"`},
		},
		"no rate":               {[]string{"--remote-api-qps", "0"}, []string{"--remote-api-qps: must be more than 0"}},
		"a host for an address": {[]string{"--node-ip", "here"}, []string{"--node-ip", "here"}},
		"every mistake at once": {
			[]string{
				"--cluster-id", "", "--remote-cluster-id", "Milan!", "--kubelet-port", "70000", "--kube-api-burst", "0",
			},
			[]string{"--cluster-id", "--remote-cluster-id", "--kubelet-port", "70000", "--kube-api-burst"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts, flags := defaults(), pflag.NewFlagSet("", pflag.ContinueOnError)
			opts.addFlags(flags)
			if err := flags.Parse(append(slices.Clone(good), test.args...)); err != nil {
				t.Fatal(err)
			}
			err := opts.validate()
			if (err != nil) != (len(test.says) > 0) {
				t.Fatalf("error %v", err)
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestAnAgentServesSomebody(t *testing.T) {
	opts := defaults()
	opts.clusterID, opts.nodeIP = "rome", "10.0.0.1"
	err := opts.validate()
	if want := "--remote-cluster-id: must be the id of a provider"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestWhichAgentIsShared(t *testing.T) {
	for name, tc := range map[string]struct {
		ids    []string
		shared bool
		want   bool
	}{
		"of one provider":              {[]string{"milan"}, false, false},
		"of several":                   {[]string{"milan", "turin"}, false, true},
		"of one, as there may be more": {[]string{"milan"}, true, true},
	} {
		opts := defaults()
		opts.remoteClusterIDs, opts.shared = tc.ids, tc.shared
		if got := opts.isShared(); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTheProgramIntroducesItself(t *testing.T) {
	for arg, want := range map[string]string{
		"--help": "it keeps the\nNode and its lease", "--version": "virtual-kubelet v",
	} {
		cmd, out := program().Command(t.Context), &strings.Builder{}
		cmd.SetArgs([]string{arg})
		cmd.SetOut(out)
		if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, %q does not say %q", arg, err, out, want)
		}
	}
}

func TestAMissingKubeconfigIsNamed(t *testing.T) {
	opts := defaults()
	opts.Kubeconfig = "/does/not/exist"
	if err := run(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("error %v", err)
	}
}
