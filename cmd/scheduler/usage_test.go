package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twinspace/twinspace/schedplugin"
)

// nobody is a kubeconfig of an API server that does not answer.
const nobody = `apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none}}]
current-context: none
`

// TestBadInput: whoever starts the scheduler wrongly is told what is wrong, without an API server.
func TestBadInput(t *testing.T) {
	kubeconfig := write(t, "nobody.kubeconfig", nobody)
	connect := "clientConnection:\n  kubeconfig: " + kubeconfig + "\n"
	config := func(replace, with string) func(*testing.T) []string {
		return func(t *testing.T) []string {
			content := strings.Replace(shipped(t, "side-by-side.yaml"), "clientConnection:\n", connect, 1)
			if !strings.Contains(content, replace) {
				t.Fatalf("side-by-side.yaml has no %q", replace)
			}
			return []string{"--config", write(t, "config.yaml", strings.Replace(content, replace, with, 1))}
		}
	}
	flags := func(args ...string) func(*testing.T) []string {
		return func(*testing.T) []string { return args }
	}
	const argument = "profiles[0].pluginConfig[0]"
	for name, test := range map[string]struct {
		args func(*testing.T) []string
		want []string
	}{
		"unknown flag": {flags("--nope"), []string{"unknown flag: --nope"}},
		"bool that is none": {
			flags("--leader-elect=maybe"),
			[]string{`invalid argument "maybe" for "--leader-elect" flag`, `parsing "maybe": invalid syntax`},
		},
		"arguments": {
			flags("extra", "args"), []string{`"scheduler" does not take any arguments, got ["extra" "args"]`},
		},
		"unknown feature gate": {
			flags("--feature-gates=Nope=true"), []string{"unrecognized feature gate: Nope"},
		},
		"lease shorter than the time to renew it": {
			config("leaderElection:\n", "leaderElection:\n  leaseDuration: 5s\n  renewDeadline: 10s\n"),
			[]string{`leaderElection.leaseDuration: Invalid value: "10s": must be greater than`},
		},
		"unknown plugin": {
			config("- name: OffloadingTaintToleration", "- name: NoSuch"),
			[]string{"creating profile for scheduler name liqo-scheduler", `Plugin "NoSuch" does not exist`},
		},
		"unknown field": {
			config("profiles:", "profilez: []\nprofiles:"),
			[]string{`strict decoding error: unknown field "profilez"`},
		},
		"field given twice": {
			config("profiles:", "leaderElection: {}\nprofiles:"),
			[]string{`strict decoding error`, `key "leaderElection" already set in map`},
		},
		"file that is not there": {
			flags("--config=/nonexistent/config.yaml"), []string{"open /nonexistent/config.yaml: no such file"},
		},
		"unknown field of our arguments": {
			config("spread: #", "pods: #"),
			[]string{"strict decoding error", argument, `unknown field "pods"`},
		},
		"unknown field inside of our arguments": {
			config("policy: PreferHome", "polisy: PreferHome"),
			[]string{"strict decoding error", argument, `unknown field "spread.polisy"`},
		},
		"our arguments have the wrong type": {
			config("policy: PreferHome", "policy: [PreferHome]"), []string{argument, "cannot unmarshal array"},
		},
		"arguments of another plugin": {
			config("kind: NamespaceOffloadingArgs", "kind: NodeAffinityArgs"), []string{argument, "NodeAffinityArgs"},
		},
		"our arguments in a version that there is not": {
			config("apiVersion: kubescheduler.config.k8s.io/v1\n          kind", "apiVersion: x/v9\n          kind"),
			[]string{argument, `no kind "NamespaceOffloadingArgs" is registered for version "x/v9"`},
		},
		"our arguments have two faults": {
			config("policy: PreferHome", "policy: Odd\n            weightLabel: a b"),
			[]string{
				`initializing plugin "NamespaceOffloading"`,
				`args.spread.policy: Unsupported value: "Odd": supported values: "PreferHome", "Even", `,
				`args.spread.weightLabel: Invalid value: "a b": must be a qualified label name`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := run(t, test.args(t)...)
			out = strings.ReplaceAll(out, `\"`, `"`) // as logs quote it
			if code != 1 {
				t.Errorf("exit %d, want 1", code)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("it did not say %q but:\n%s", want, out)
				}
			}
			if strings.Contains(out, "panic") {
				t.Errorf("it panicked:\n%s", out)
			}
		})
	}
}

// TestWriteConfig: the configuration can be written back, with the defaults of our arguments.
func TestWriteConfig(t *testing.T) {
	content, _, _ := strings.Cut(shipped(t, "side-by-side.yaml"), "    # The defaults, written down")
	kubeconfig := write(t, "nobody.kubeconfig", nobody)
	content = strings.Replace(content, "clientConnection:\n", "clientConnection:\n  kubeconfig: "+kubeconfig+"\n", 1)
	out := filepath.Join(t.TempDir(), "out.yaml")
	if code, said := run(t, "--config", write(t, "config.yaml", content), "--write-config-to", out); code != 0 {
		t.Fatalf("exit %d:\n%s", code, said)
	}
	written, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kind: NamespaceOffloadingArgs", "policy: PreferHome"} {
		if !strings.Contains(string(written), want) {
			t.Errorf("no %q in:\n%s", want, written)
		}
	}
	if again := argsOf(decoded(t, string(written)).Profiles[0], schedplugin.Name); again == nil {
		t.Error("what was written cannot be read")
	}
}
