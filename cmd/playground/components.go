package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	configv1 "k8s.io/kubernetes/pkg/scheduler/apis/config/v1"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/schedplugin"
)

// components are what this program can be instead of itself; each gets its name and arguments and returns an exit code.
func components() map[string]func(args []string) int {
	return map[string]func([]string) int{
		"etcd":                    runEtcd,
		"kube-apiserver":          as(apiserver.NewAPIServerCommand),
		"kube-controller-manager": as(controllermanager.NewControllerManagerCommand),
		"kube-scheduler":          as(newScheduler),
		"kubelet":                 as(newKubelet),
		"link-proxy":              runLink,
	}
}

// newScheduler returns the scheduler with our plugin.
func newScheduler() *cobra.Command {
	schedplugin.AddToScheme(configscheme.Scheme, configv1.GetPluginArgConversionScheme())
	var options []scheduler.Option
	for name, factory := range schedplugin.Plugins() {
		options = append(options, scheduler.WithPlugin(name, factory))
	}
	return scheduler.NewSchedulerCommand(options...)
}

// newKubelet returns the kubelet, which no playground runs by itself: e2e/containers does.
func newKubelet() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }

// as runs a component of Kubernetes.
func as(command func() *cobra.Command) func([]string) int {
	return func(args []string) int {
		os.Args = args
		return cli.Run(command())
	}
}

func runEtcd(args []string) int {
	etcdmain.Main(args)
	return 0
}

// runKubectl is kubectl's main, with our arguments.
func runKubectl(args []string) int {
	os.Args = append([]string{"kubectl"}, args...)
	if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)); err != nil {
		return report(err)
	}
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints and exits
	}
	return 0
}

// runLink is the proxy between our components and an API server.
func runLink(args []string) int {
	const listen, target, dir, keys = 1, 2, 3, 4
	if len(args) <= dir || len(args) > keys+1 {
		return report(&env.UsageError{Reason: fmt.Sprintf("%s needs LISTEN TARGET DIR [KEYS]", args[0])})
	}
	process := env.LinkProcess{Listen: args[listen], Target: args[target], Dir: args[dir]}
	if len(args) > keys {
		process.Keys = args[keys]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	return report(process.Run(ctx, reload))
}
