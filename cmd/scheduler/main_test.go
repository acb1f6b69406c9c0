package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"

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
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not mention %s", want)
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
			data, err := os.ReadFile(filepath.Join("..", "..", "manifests", "scheduler", file))
			if err != nil {
				t.Fatal(err)
			}
			obj, _, err := configscheme.Codecs.UniversalDecoder().Decode(data, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := obj.(*config.KubeSchedulerConfiguration)
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
