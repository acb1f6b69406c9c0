// Command scheduler is kube-scheduler with the plugins that apply the placement policy of offloaded namespaces. It
// takes the place of the default scheduler, or runs beside it under the profile "liqo-scheduler".
package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the client
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	configv1 "k8s.io/kubernetes/pkg/scheduler/apis/config/v1"

	"github.com/twinspace/twinspace/schedplugin"
)

// version is set by the linker; without it the build says what it was made from.
var version string

const about = `scheduler is kube-scheduler with two plugins that decide which pods of which namespaces may run on
virtual nodes, from live state and at the moment of scheduling:

  NamespaceOffloading          applies NamespaceOffloading and RuntimeClass "liqo": keeps pods off nodes that the policy
                               of their namespace excludes, says why in one sentence ("kubectl describe pod"), and lets
                               a pod go to a virtual node only once its twin namespace is ready there
  OffloadingTaintToleration    stands in for TaintToleration, and leaves the taint of virtual nodes to that policy

Both must be enabled by --config. Two configurations come with the project, in manifests/scheduler:

  replace-default.yaml   this scheduler is the default scheduler of the cluster
  side-by-side.yaml      it runs beside the default scheduler, for pods with "schedulerName: liqo-scheduler"

Add clientConnection.kubeconfig to either, unless the scheduler runs in a pod with a service account. The first plugin
has arguments, kind NamespaceOffloadingArgs of kubescheduler.config.k8s.io/v1, which both configurations show.

Of sigs.k8s.io/scheduler-plugins, a configuration may enable these; none is on by default, and none costs anything
while it is off:

  NodeResourcesAllocatable     prefers nodes with little, or with much, to allocate
  PreemptionToleration         in place of DefaultPreemption: spares pods whose PriorityClass says for how long
  PodState                     prefers nodes that pods are leaving
  Coscheduling                 schedules the pods of a PodGroup together or not at all; needs its CRD, and rights for it
  CapacityScheduling           shares capacity by ElasticQuotas; needs its CRD, and rights for it

Everything else is as in kube-scheduler, flags, health endpoints (/healthz, /livez, /readyz) and /metrics included. The
custom resource definitions of the first two may be installed later: ordinary pods are scheduled without them.`

func main() {
	os.Exit(cli.Run(newCommand(os.Stdout, os.Exit)))
}

func newCommand(out io.Writer, exit func(int)) *cobra.Command {
	schedplugin.AddToScheme(configscheme.Scheme, configv1.GetPluginArgConversionScheme())
	options := upstream()
	for name, factory := range plugins() {
		options = append(options, app.WithPlugin(name, factory))
	}
	command := app.NewSchedulerCommand(options...)
	command.Use = "scheduler"
	command.Short = "kube-scheduler that obeys NamespaceOffloadings"
	command.Long = about
	command.Example = "  scheduler --config manifests/scheduler/replace-default.yaml"
	// kube-scheduler would answer --version in Run with the version of Kubernetes alone.
	command.PreRun = func(command *cobra.Command, _ []string) {
		if flag := command.Flags().Lookup("version"); flag != nil && flag.Value.String() == "true" {
			fmt.Fprintln(out, describe(debug.ReadBuildInfo()))
			exit(0)
		}
	}
	return command
}

// describe names the version of this program and of the kube-scheduler in it.
func describe(info *debug.BuildInfo, ok bool) string {
	own, upstream := version, "unknown"
	if ok {
		if own == "" {
			own = info.Main.Version
		}
		for _, module := range info.Deps {
			if module.Path == "k8s.io/kubernetes" {
				upstream = module.Version
			}
		}
	}
	if own == "" {
		own = "unknown"
	}
	return fmt.Sprintf("scheduler %s (kube-scheduler %s)", own, upstream)
}
