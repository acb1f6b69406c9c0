package env

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	testclock "k8s.io/utils/clock/testing"
)

// laid returns the home cluster of a playground, with its files.
func laid(t *testing.T, opts Options) *Cluster {
	t.Helper()
	opts.Dir, opts.Bin, opts.Clock = t.TempDir(), "bin", testclock.NewFakeClock(time.Now())
	e := newEnv(opts)
	t.Cleanup(e.ports.releaseAll)
	c, err := e.newCluster(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.configuration(), c.credentials()); err != nil {
		t.Fatal(err)
	}
	e.clusters = []*Cluster{c}
	return c
}

func flag(t *testing.T, c *Cluster, component, name string) string {
	t.Helper()
	comp, err := c.component(component)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(comp.args, func(arg string) bool { return strings.HasPrefix(arg, name+"=") })
	if i < 0 {
		t.Fatalf("%s has no flag %s: %v", component, name, comp.args)
	}
	return strings.TrimPrefix(comp.args[i], name+"=")
}

func TestReplicasDifferInWhatOnlyOneCanHave(t *testing.T) {
	c := laid(t, Options{Providers: 2, Peer: true, Replicas: 2})
	if diff := cmp.Diff([]string{
		"controller-manager", "controller-manager-2",
		"virtual-kubelet-provider-1", "virtual-kubelet-provider-1-2",
		"virtual-kubelet-provider-2", "virtual-kubelet-provider-2-2",
	}, c.env.ours()); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	agent := AgentOf("provider-1")
	for name, tc := range map[string]struct {
		component string
		flags     []string
		differ    bool
	}{
		"addresses of agents":      {agent, []string{"--node-ip", "--kubelet-port"}, true},
		"servers of agents":        {agent, []string{"--metrics-bind-address", "--health-probe-bind-address"}, true},
		"servers of the manager":   {Manager, []string{"--metrics-bind-address", "--health-probe-bind-address"}, true},
		"identity of the manager":  {Manager, []string{"--kubeconfig", "--cluster-id"}, false},
		"identity of agents":       {agent, []string{"--kubeconfig", "--cluster-id"}, false},
		"whom the agents work for": {agent, []string{"--remote-cluster-id"}, false},
	} {
		for _, f := range tc.flags {
			first, second := flag(t, c, tc.component, f), flag(t, c, Replica(tc.component, 2), f)
			if (first != second) != tc.differ {
				t.Errorf("%s: %s is %s and %s", name, f, first, second)
			}
		}
	}
	comp, err := c.component(Replica(agent, 2))
	if err != nil || comp.program != Agent || c.logPath(comp.name) == c.logPath(agent) {
		t.Errorf("the second agent is %+v, %v", comp, err)
	}
	if _, err := c.component(Replica(agent, 3)); err == nil {
		t.Error("there are more replicas than were asked for")
	}
}

func TestReplicasShareTheAddressThatTheyAreGiven(t *testing.T) {
	c := laid(t, Options{Providers: 1, Peer: true, Replicas: 2, NodeIP: "10.1.2.3"})
	for _, name := range c.env.Replicas(AgentOf("provider-1")) {
		if got := flag(t, c, name, "--node-ip"); got != "10.1.2.3" {
			t.Errorf("%s is at %s", name, got)
		}
	}
}

func TestOneReplicaIsTheDefault(t *testing.T) {
	c := laid(t, Options{Providers: 1, Peer: true})
	if diff := cmp.Diff([]string{Manager, AgentOf("provider-1")}, c.env.ours()); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestOurComponentsReachHomeThroughItsLinkIfItHasOne(t *testing.T) {
	for name, tc := range map[string]struct {
		gateways bool
		want     func(*Cluster) string
	}{
		"with gateways":    {true, func(c *Cluster) string { return "https://" + address(c.ports[LinkProxy]) }},
		"without gateways": {false, (*Cluster).Server},
	} {
		t.Run(name, func(t *testing.T) {
			c := laid(t, Options{Providers: 1, Peer: true, Gateways: tc.gateways})
			if got := c.ProxiedServer(); got != tc.want(c) {
				t.Errorf("ours are sent to %s, want %s", got, tc.want(c))
			}
			config, err := c.schedulerConfig()
			if err != nil || !strings.Contains(string(config), c.path(pluginKubeconfig)) {
				t.Errorf("the scheduler schedules with %s (%v)", config, err)
			}
			for file, want := range map[string]string{
				c.path(pluginKubeconfig): tc.want(c), c.Kubeconfig: c.Server(), c.path("kwok.kubeconfig"): c.Server(),
			} {
				got, err := clientcmd.LoadFromFile(file)
				if err != nil || got.Clusters[c.Name].Server != want {
					t.Errorf("%s is for %v, want %s (%v)", file, got, want, err)
				}
			}
			var usage *UsageError
			if err := c.accepts(Mode{Kind: Cut}); (err == nil) != tc.gateways || err != nil && !errors.As(err, &usage) {
				t.Errorf("to cut the link of home: %v", err)
			}
		})
	}
}

func TestTheLinkOfAProviderReadsRequestsOnlyInAGateway(t *testing.T) {
	for _, gateways := range []bool{true, false} {
		opts := Options{Dir: t.TempDir(), Providers: 1, Gateways: gateways}
		opts.Clock = testclock.NewFakeClock(time.Now())
		e := newEnv(opts)
		t.Cleanup(e.ports.releaseAll)
		c, err := e.newCluster(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.accepts(Mode{Kind: Throttle, Rate: 1}); (err == nil) != gateways {
			t.Errorf("gateways: %t, error: %v", gateways, err)
		}
		if err := c.accepts(Mode{Kind: Reset, Percent: 1}); err != nil {
			t.Errorf("gateways: %t, error: %v", gateways, err)
		}
		comp, err := c.component(LinkProxy)
		if err != nil || slices.Contains(comp.args, c.path("pki")) != gateways {
			t.Errorf("gateways: %t, it is run as %v, %v", gateways, comp.args, err)
		}
	}
}

func TestFlagsOfKubernetesReachItsComponents(t *testing.T) {
	c := laid(t, Options{
		APIServer:         []string{"--default-not-ready-toleration-seconds=7"},
		ControllerManager: []string{"--node-monitor-grace-period=9s"},
	})
	if got := flag(t, c, APIServer, "--default-not-ready-toleration-seconds"); got != "7" {
		t.Errorf("got %s", got)
	}
	if got := flag(t, c, ControllerManager, "--node-monitor-grace-period"); got != "9s" {
		t.Errorf("got %s", got)
	}
}

func TestWhatComponentsWereStartedWithIsRemembered(t *testing.T) {
	first := Options{
		NodeIP: "10.0.0.1", Ours: "/race", Exec: true,
		Peering: []string{"p"}, Manager: []string{"m"}, Agent: []string{"a"},
		APIServer: []string{"s"}, ControllerManager: []string{"c"},
	}
	for name, tc := range map[string]struct {
		opts, want Options
	}{
		"by who knows nothing": {Options{}, first},
		"unless he says otherwise": {Options{Agent: []string{"b"}, Ours: "/other"}, func() Options {
			changed := first
			changed.Agent, changed.Ours = []string{"b"}, "/other"
			return changed
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.opts
			got.recall(first.recipe())
			if diff := cmp.Diff(tc.want.recipe(), got.recipe()); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}
