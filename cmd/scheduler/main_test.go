package main

import (
	"bytes"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	upstreamconfig "sigs.k8s.io/scheduler-plugins/apis/config"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin"
)

func TestDescribe(t *testing.T) {
	info := &debug.BuildInfo{
		Main: debug.Module{Version: "v0.3.0"},
		Deps: []*debug.Module{
			{Path: "k8s.io/api", Version: "v0.35.4"}, {Path: "k8s.io/kubernetes", Version: "v1.35.4"},
		},
	}
	for name, test := range map[string]struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		"from the linker":      {"v0.4.0", info, "scheduler v0.4.0 (kube-scheduler v1.35.4)"},
		"from the build":       {"", info, "scheduler v0.3.0 (kube-scheduler v1.35.4)"},
		"nothing is known":     {"", nil, "scheduler unknown (kube-scheduler unknown)"},
		"no modules are known": {"", &debug.BuildInfo{}, "scheduler unknown (kube-scheduler unknown)"},
	} {
		t.Run(name, func(t *testing.T) {
			version = test.linked
			t.Cleanup(func() { version = "" })
			if got := describe(test.info, test.info != nil); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestVersionFlag(t *testing.T) {
	var out bytes.Buffer
	code := -1
	command := newCommand(&out, func(c int) { code = c })
	if err := command.ParseFlags([]string{"--version"}); err != nil {
		t.Fatal(err)
	}
	command.PreRun(command, nil)
	if got := out.String(); code != 0 || !strings.HasPrefix(got, "scheduler ") {
		t.Errorf("exit %d, output %q", code, got)
	}
}

func TestHelpIsWorthReading(t *testing.T) {
	var out bytes.Buffer
	command := newCommand(&out, os.Exit)
	command.SetOut(&out)
	command.SetArgs([]string{"--help"})
	if err := command.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		schedplugin.Name, schedplugin.TaintName, "replace-default.yaml", "side-by-side.yaml", "--config", "/readyz",
		schedplugin.ArgsKind, "NodeResourcesAllocatable ", "PreemptionToleration ", "PodState ", "Coscheduling ",
		"CapacityScheduling ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not mention %s", want)
		}
	}
}

// decoded returns a configuration as kube-scheduler reads it.
func decoded(t *testing.T, content string) *config.KubeSchedulerConfiguration {
	t.Helper()
	newCommand(io.Discard, os.Exit) // has kube-scheduler know our arguments
	obj, _, err := configscheme.Codecs.UniversalDecoder().Decode([]byte(content), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return obj.(*config.KubeSchedulerConfiguration)
}

// argsOf returns the arguments that a profile has for a plugin.
func argsOf(profile config.KubeSchedulerProfile, plugin string) runtime.Object {
	for _, c := range profile.PluginConfig {
		if c.Name == plugin {
			return c.Args
		}
	}
	return nil
}

// TestArguments: plugins have arguments of their own kind, with defaults, whether a configuration gives any or not.
func TestArguments(t *testing.T) {
	content := head + profile("without", "Coscheduling", "PrioritySort") + " []" +
		profile("with", "NodeResourcesAllocatable") + args("NodeResourcesAllocatable", ", mode: Most") +
		args(schedplugin.Name, ", spread: {policy: Weighted, weightLabel: example.com/cost}") + "\n"
	profiles := decoded(t, content).Profiles
	type weights = []config.ResourceSpec
	for plugin, test := range map[string]struct {
		profile int
		want    runtime.Object
	}{
		"Coscheduling": {0, &upstreamconfig.CoschedulingArgs{
			PermitWaitingTimeSeconds: 60, PodGroupRejectPercentage: 10,
		}},
		"NodeResourcesAllocatable": {1, &upstreamconfig.NodeResourcesAllocatableArgs{
			Mode: upstreamconfig.Most, Resources: weights{{Name: "cpu", Weight: 1 << 20}, {Name: "memory", Weight: 1}},
		}},
		schedplugin.Name: {1, &schedplugin.Args{
			Spread: v1beta1.Spread{Policy: v1beta1.SpreadWeighted, WeightLabel: "example.com/cost"},
		}},
	} {
		ignoreKind := cmpopts.IgnoreTypes(metav1.TypeMeta{})
		if diff := cmp.Diff(test.want, argsOf(profiles[test.profile], plugin), ignoreKind); diff != "" {
			t.Errorf("arguments of %s (-want,+got):\n%s", plugin, diff)
		}
	}
}

// TestDefaultArgumentsAreTheShipped: leaving out what the configurations write down changes nothing.
func TestDefaultArgumentsAreTheShipped(t *testing.T) {
	for _, file := range []string{"replace-default.yaml", "side-by-side.yaml"} {
		written := decoded(t, shipped(t, file))
		short, _, found := strings.Cut(shipped(t, file), "    # The defaults, written down")
		if !found {
			t.Fatalf("%s writes no defaults down", file)
		}
		want, got := decoded(t, short), written
		for _, c := range []*config.KubeSchedulerConfiguration{want, got} {
			slices.SortFunc(c.Profiles[0].PluginConfig, func(a, b config.PluginConfig) int {
				return strings.Compare(a.Name, b.Name)
			})
		}
		if argsOf(got.Profiles[0], schedplugin.Name) == nil {
			t.Errorf("%s: %s has no arguments", file, schedplugin.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-defaults,+written):\n%s", file, diff)
		}
	}
}

// TestConfigurations holds the shipped configurations to what DESIGN.md of schedplugin asks of a profile.
func TestConfigurations(t *testing.T) {
	for file, want := range map[string]struct{ profile, lease string }{
		"replace-default.yaml": {"default-scheduler", "kube-scheduler"},
		"side-by-side.yaml":    {v1beta1.SchedulerName, v1beta1.SchedulerName},
	} {
		t.Run(file, func(t *testing.T) {
			c := decoded(t, shipped(t, file))
			if c.ClientConnection.Kubeconfig != "" {
				t.Errorf("kubeconfig %s is somebody's own", c.ClientConnection.Kubeconfig)
			}
			if got := c.LeaderElection.ResourceName; got != want.lease {
				t.Errorf("lease %q, want %q", got, want.lease)
			}
			if len(c.Profiles) != 1 || c.Profiles[0].SchedulerName != want.profile {
				t.Fatalf("profiles %+v, want %s alone", c.Profiles, want.profile)
			}
			plugins := c.Profiles[0].Plugins
			weights := map[string]int32{}
			for _, plugin := range plugins.MultiPoint.Enabled {
				weights[plugin.Name] = plugin.Weight
			}
			if _, ours := weights[schedplugin.Name]; !ours || weights[schedplugin.TaintName] != 3 {
				t.Errorf("enabled %v, want both plugins, and the weight that TaintToleration has", weights)
			}
			if first := plugins.Bind.Enabled[0].Name; first != schedplugin.Name {
				t.Errorf("%s is first at bind", first)
			}
			if _, still := weights["TaintToleration"]; still {
				t.Error("TaintToleration would keep everybody off virtual nodes")
			}
		})
	}
}
