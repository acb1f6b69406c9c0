package main

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// requestTimeout bounds each request; commands that wait make many.
const requestTimeout = 10 * time.Second

// errNoKubeconfig says that nobody said which cluster is meant.
var errNoKubeconfig = errors.New("no kubeconfig found: give one with --kubeconfig, or set KUBECONFIG")

// cluster is a cluster as the user of a kubeconfig sees it.
type cluster struct {
	client.Client
	// Namespace is the one of the kubeconfig's context.
	Namespace string
	// Version asks the API server for its version.
	Version func() (string, error)
	// Endpoint is how others reach it, without the user's secrets.
	Endpoint remote.Credential
	// Unlendable says why no agent could reach the cluster in the way that the kubeconfig does, nil if one could. What
	// liqoctl alone uses (plugins, files with tokens and keys) stays on the user's machine and does not matter.
	Unlendable error
	// As returns a client that shows a token instead of the user's credential.
	As func(token string) (client.Client, error)
}

// connect reads a kubeconfig. It does not talk to the cluster yet.
func connect(kubeconfig, context string, warn func(string)) (*cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errNoKubeconfig
	}
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	config.Timeout = requestTimeout
	config.UserAgent = "liqoctl"
	config.QPS, config.Burst = 50, 100
	config.WarningHandlerWithContext = warnings(warn)
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	if err := checkConfig(config); err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	c, err := newCluster(config)
	if err != nil {
		return nil, err
	}
	if c.Namespace, _, err = loader.Namespace(); err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	return c, nil
}

func newCluster(config *rest.Config) (*cluster, error) {
	scheme := newScheme()
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("use kubeconfig: %w", err)
	}
	return &cluster{
		Client: c,
		Version: func() (string, error) {
			d, err := discovery.NewDiscoveryClientForConfig(config)
			if err != nil {
				return "", err
			}
			info, err := d.ServerVersion()
			if err != nil {
				return "", err
			}
			return info.GitVersion, nil
		},
		Endpoint: remote.Credential{
			Server: config.Host, ServerName: config.ServerName, CA: config.CAData,
		},
		Unlendable: checkLendable(config),
		As: func(token string) (client.Client, error) {
			as := rest.AnonymousClientConfig(config)
			as.BearerToken, as.UserAgent, as.Timeout = token, config.UserAgent, config.Timeout
			return client.New(as, client.Options{Scheme: scheme})
		},
	}, nil
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // two kinds of one name: a fault of this program
		}
	}
	return scheme
}

// home connects to the cluster of the global flags.
func (a *app) home() (*cluster, error) {
	return a.Connect(a.kubeconfig, a.context, a.warn)
}
