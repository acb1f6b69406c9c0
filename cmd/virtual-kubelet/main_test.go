package main

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestTheCommandLineIsCheckedBeforeAnythingStarts(t *testing.T) {
	good := []string{"--cluster-id", "rome", "--remote-cluster-id", "milan", "--node-ip", "10.0.0.1"}
	for name, test := range map[string]struct {
		args  []string
		usage bool
		says  []string
	}{
		"an unknown flag":      {append(good, "--nope"), true, []string{"unknown flag: --nope"}},
		"an argument":          {append(good, "extra"), true, []string{"takes no arguments", "extra"}},
		"a bad bool":           {append(good, "--leader-elect=maybe"), true, []string{"maybe"}},
		"an id that is no id":  {append(good, "--cluster-id", "Rome!"), false, []string{"--cluster-id"}},
		"peering with oneself": {append(good, "--cluster-id", "milan"), false, []string{"cannot peer with itself"}},
		"half a certificate":   {append(good, "--tls-cert-file", "x"), false, []string{"must be given together"}},
		"no workers":           {append(good, "--workers", "0"), false, []string{"--workers 0: must be at least 1"}},
		"no rate":              {append(good, "--remote-api-qps", "0"), false, []string{"--remote-api-qps 0"}},
		"every mistake at once": {
			[]string{"--kubelet-port", "70000", "--kube-api-burst", "0"}, false,
			[]string{"--cluster-id", "--remote-cluster-id", "--node-ip", "--kubelet-port 70000", "--kube-api-burst 0"},
		},
		"a kubeconfig that is not there": {
			append(good, "--kubeconfig", "/does/not/exist"), false, []string{"load the kubeconfig", "/does/not/exist"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "kubeconfig") {
				// run sets the process' signal handler, which can be done once; its first step is all that is meant here.
				opts := defaultOptions()
				opts.kubeconfig = "/does/not/exist"
				check(t, run(t.Context(), opts), test.usage, test.says)
				return
			}
			cmd := newCommand()
			cmd.SetArgs(test.args)
			cmd.SetOut(io.Discard)
			cmd.SetErr(io.Discard)
			cmd.SilenceErrors = true
			check(t, cmd.Execute(), test.usage, test.says)
		})
	}
}

func check(t *testing.T, err error, usage bool, says []string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if got := errors.As(err, &usageError{}); got != usage {
		t.Errorf("usage error: %v, want %v", got, usage)
	}
	want := exitFailed
	if usage {
		want = exitUsage
	}
	if got := exitCode(err); got != want {
		t.Errorf("exit code %d, want %d", got, want)
	}
}
