package env

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	// sharedAgent stands for all aliases in the name of the agent that serves them together.
	sharedAgent = "shared"
	// borrower begins the ids of home where there are aliases. Unlike "consumer", nothing else has it in its name.
	borrower = "borrower-"
	// peersAtOnce is how many aliases are brought up at a time, so that none of them waits for too long.
	peersAtOnce = 4
)

// Alias is one of several providers that one cluster is, to home. In between stands a gateway that gives the cluster
// another identity for each of them, and home as well: to the cluster each alias is peered with a home of its own,
// which has its own rights and its own twins. So nothing of ours has to know, and each check is made.
type Alias struct {
	// Name is the provider's id at home.
	Name string
	// Cluster is what it really is.
	Cluster *Cluster
	// HomeID is home's id there.
	HomeID string

	number int
}

// AliasName returns the name of the n-th alias, from 1.
func AliasName(n int) string { return fmt.Sprintf("alias-%02d", n) }

// Aliases returns all aliases; clusters take turns.
func (e *Env) Aliases() []Alias {
	var all []Alias
	for n := 1; n <= e.opts.Aliases; n++ {
		provider := e.clusters[1+(n-1)%e.opts.Providers]
		all = append(all, Alias{Name: AliasName(n), Cluster: provider, HomeID: homeIDOf(n), number: n})
	}
	return all
}

// homeIDOf is the id of home to the n-th alias; to itself it is 0.
func homeIDOf(n int) string { return fmt.Sprintf("%s%02d", borrower, n) }

// aliasesPossible says what of the options cannot be.
func (o *Options) aliasesPossible() error {
	switch {
	case o.Aliases < 0 || o.Aliases > maxProviders:
		return &UsageError{fmt.Sprintf("aliases must be between 0 and %d, not %d", maxProviders, o.Aliases)}
	case o.Aliases > 0 && (o.Providers == 0 || !o.Peer || !o.Tied || o.replicas() > 1):
		return &UsageError{"aliases need a provider to stand for, our components, once each, and a process that " +
			"they end with"}
	case o.SharedAgent && o.Aliases == 0:
		return &UsageError{"only aliases share an agent"}
	}
	return nil
}

// homeID is the id of home to itself.
func (o *Options) homeID() string {
	if o.Aliases > 0 {
		return homeIDOf(0)
	}
	return Consumer
}

// served returns whom agents are there for: one for each.
func (o *Options) served() []string {
	if o.SharedAgent {
		return []string{sharedAgent}
	}
	if o.Aliases > 0 {
		return o.aliasNames()
	}
	var names []string
	for n := range o.Providers {
		names = append(names, ProviderName(n+1))
	}
	return names
}

func (o *Options) aliasNames() []string {
	var names []string
	for n := range o.Aliases {
		names = append(names, AliasName(n+1))
	}
	return names
}

// behind returns the ids of the providers that one of served stands for.
func (o *Options) behind(served string) []string {
	if served == sharedAgent {
		return o.aliasNames()
	}
	return []string{served}
}

// sharing returns the flags of an agent that is shared, be it with nobody.
func sharing(served string) []string {
	if served == sharedAgent {
		return []string{"--shared"}
	}
	return nil
}

// AgentServing returns the name of the component, on the consumer, that serves an alias.
func (e *Env) AgentServing(alias string) string { return AgentOf(e.opts.servant(alias)) }

func (o *Options) servant(provider string) string {
	if o.SharedAgent {
		return sharedAgent
	}
	return provider
}

// PeerAliases makes the peering of the consumer with each alias, starts the agents and waits for the virtual nodes.
// [Up] leaves that to whoever wants to look at the clusters before.
func (e *Env) PeerAliases(ctx context.Context) error {
	if err := e.eachAlias(ctx, e.peerAlias); err != nil {
		return err
	}
	if e.opts.SharedAgent {
		home, name := e.Consumer(), AgentOf(sharedAgent)
		account := v1beta1.AgentServiceAccount
		if err := home.writeOurKubeconfig(ctx, v1beta1.SystemNamespace, account, name); err != nil {
			return err
		}
		if err := home.run(ctx, name); err != nil {
			return err
		}
	}
	return e.eachAlias(ctx, func(ctx context.Context, a Alias) error {
		return e.Consumer().virtualNodeReady(ctx, a.Name)
	})
}

func (e *Env) eachAlias(ctx context.Context, do func(context.Context, Alias) error) error {
	aliases, ctx := errgroup.WithContext(ctx)
	aliases.SetLimit(peersAtOnce)
	for _, a := range e.Aliases() {
		aliases.Go(func() error { return do(ctx, a) })
	}
	return aliases.Wait()
}

// peerAlias peers as a person does, and starts the alias' agent if it has one of its own.
func (e *Env) peerAlias(ctx context.Context, a Alias) error {
	server, err := e.disguise(ctx, a)
	if err != nil {
		return fmt.Errorf("put on the disguise of %s: %w", a.Name, err)
	}
	kubeconfig := a.Cluster.path(a.Name + suffixKubeconfig)
	if err := a.Cluster.writeAdminKubeconfig(kubeconfig, server); err != nil {
		return err
	}
	agent := "own"
	if e.opts.SharedAgent {
		agent = sharedAgent
	}
	output, err := e.Liqoctl(ctx, append([]string{"peer",
		"--remote-kubeconfig=" + kubeconfig, "--remote-cluster-id=" + a.Name, "--node-name=" + a.Name,
		"--agent=" + agent, "--label=liqo.io/provider=" + a.Name,
	}, e.opts.Peering...)...)
	if err != nil {
		return fmt.Errorf("peer with %s: %w\n%s", a.Name, err, output)
	}
	e.say(Consumer, "peered with %s, which is %s", a.Name, a.Cluster.Name)
	if e.opts.SharedAgent {
		return nil
	}
	home, name := e.Consumer(), AgentOf(a.Name)
	tenant := v1beta1.TenantNamespace(a.Name)
	if err := home.writeOurKubeconfig(ctx, tenant, v1beta1.AgentServiceAccount, name); err != nil {
		return err
	}
	return home.run(ctx, name)
}

// disguise starts the gateway of an alias, which ends with the playground, and returns its URL.
func (e *Env) disguise(ctx context.Context, a Alias) (string, error) {
	var system corev1.Namespace
	if err := a.Cluster.client.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return "", err
	}
	names := renames{{homeIDOf(0), a.HomeID}, {aliasUID(string(system.UID), a.number), string(system.UID)}}
	keys := pki{dir: a.Cluster.path("pki")}
	g, err := newDisguise(keys, address(a.Cluster.ports[APIServer]), e.opts.Clock, names)
	if err != nil {
		return "", err
	}
	go g.run()
	e.starting.Lock()
	defer e.starting.Unlock()
	e.disguises = append(e.disguises, g)
	return "https://" + g.accept.Addr().String(), nil
}

// aliasUID is what makes the n-th alias another cluster.
func aliasUID(uid string, n int) string {
	number := fmt.Sprintf("%02d", n)
	return uid[:len(uid)-len(number)] + number
}

// undisguise ends all gateways of aliases.
func (e *Env) undisguise() {
	e.starting.Lock()
	defer e.starting.Unlock()
	for _, g := range e.disguises {
		g.close()
	}
	e.disguises = nil
}

// writeAdminKubeconfig writes the administrator's access by way of another server.
func (c *Cluster) writeAdminKubeconfig(file, server string) error {
	cert, err := os.ReadFile(c.cert(certAdmin))
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	key, err := os.ReadFile(c.key(certAdmin))
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	auth := &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	return c.writeKubeconfig(file, server, certAdmin, auth)
}
