package env

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	testclock "k8s.io/utils/clock/testing"
)

func TestAliasesNeedSomebodyToStandForAndToLiveIn(t *testing.T) {
	for name, tc := range map[string]struct {
		opts Options
		want bool
	}{
		"none":                       {Options{}, true},
		"as many as there are names": {Options{Providers: 1, Peer: true, Tied: true, Aliases: maxProviders}, true},
		"that share an agent": {
			Options{Providers: 2, Peer: true, Tied: true, Aliases: 3, SharedAgent: true}, true,
		},
		"with one replica": {Options{Providers: 1, Peer: true, Tied: true, Aliases: 1, Replicas: 1}, true},
		"fewer than none":  {Options{Aliases: -1}, false},
		"more than there are names": {
			Options{Providers: 1, Peer: true, Tied: true, Aliases: maxProviders + 1}, false,
		},
		"of nobody":                   {Options{Peer: true, Tied: true, Aliases: 1}, false},
		"that are not to be peered":   {Options{Providers: 1, Tied: true, Aliases: 1}, false},
		"that outlive their gateways": {Options{Providers: 1, Peer: true, Aliases: 1}, false},
		"with a standby": {
			Options{Providers: 1, Peer: true, Tied: true, Aliases: 1, Replicas: 2}, false,
		},
		"a shared agent for none": {Options{Providers: 1, Peer: true, Tied: true, SharedAgent: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.opts.possible()
			var usage *UsageError
			if (err == nil) != tc.want || err != nil && !errors.As(err, &usage) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestClustersStandForAliasesInTurns(t *testing.T) {
	e := newEnv(Options{Providers: 2, Aliases: 3, Peer: true, Tied: false, Clock: testclock.NewFakeClock(time.Now())})
	for n := range 3 {
		e.clusters = append(e.clusters, &Cluster{Name: ProviderName(n), env: e})
	}
	var got []string
	for _, a := range e.Aliases() {
		got = append(got, a.Name+" is "+a.Cluster.Name+" to "+a.HomeID)
	}
	want := []string{
		"alias-01 is provider-1 to borrower-01", "alias-02 is provider-2 to borrower-02",
		"alias-03 is provider-1 to borrower-03",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestAgentsOfAliases(t *testing.T) {
	for name, tc := range map[string]struct {
		opts     Options
		ours     []string
		serving  string // alias-02
		serves   string
		isShared bool
	}{
		"one each": {
			Options{Providers: 1, Peer: true, Aliases: 2},
			[]string{"controller-manager", "virtual-kubelet-alias-01", "virtual-kubelet-alias-02"},
			"virtual-kubelet-alias-02", "alias-02", false,
		},
		"one for all": {
			Options{Providers: 1, Peer: true, Aliases: 3, SharedAgent: true},
			[]string{"controller-manager", "virtual-kubelet-shared"},
			"virtual-kubelet-shared", "alias-01,alias-02,alias-03", true,
		},
		"one for all, though all is one": {
			Options{Providers: 1, Peer: true, Aliases: 1, SharedAgent: true},
			[]string{"controller-manager", "virtual-kubelet-shared"},
			"virtual-kubelet-shared", "alias-01", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := laid(t, tc.opts)
			if diff := cmp.Diff(tc.ours, c.env.ours()); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
			if got := c.env.AgentServing(AliasName(2)); got != tc.serving {
				t.Errorf("%s serves it, want %s", got, tc.serving)
			}
			if got := flag(t, c, tc.serving, "--remote-cluster-id"); got != tc.serves {
				t.Errorf("it serves %s, want %s", got, tc.serves)
			}
			comp, err := c.component(tc.serving)
			if err != nil || slices.Contains(comp.args, "--shared") != tc.isShared {
				t.Errorf("it is run as %v, %v", comp.args, err)
			}
			for _, component := range []string{Manager, tc.serving} {
				if got := flag(t, c, component, "--cluster-id"); got != "borrower-00" {
					t.Errorf("%s calls home %s", component, got)
				}
			}
		})
	}
}

func TestASharedAgentHasAPortForEachAlias(t *testing.T) {
	c := laid(t, Options{Providers: 1, Peer: true, Aliases: 4, SharedAgent: true})
	comp, err := c.component(AgentOf(sharedAgent))
	if err != nil {
		t.Fatal(err)
	}
	first, err := strconv.Atoi(flag(t, c, comp.name, "--kubelet-port"))
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range row(first, 4) {
		if !slices.Contains(comp.ports, port) {
			t.Errorf("port %d is not let go before it starts: %v", port, comp.ports)
		}
		var others reservations
		if err := others.take(port); err == nil {
			t.Errorf("port %d could be taken by another playground", port)
			others.releaseAll()
		}
	}
}

func TestWithoutAliasesHomeHasItsName(t *testing.T) {
	c := laid(t, Options{Providers: 1, Peer: true})
	for _, component := range []string{Manager, AgentOf("provider-1")} {
		if got := flag(t, c, component, "--cluster-id"); got != Consumer {
			t.Errorf("%s calls home %s", component, got)
		}
	}
	if len(c.env.Aliases()) != 0 || c.env.AgentServing("provider-1") != AgentOf("provider-1") {
		t.Error("there are aliases")
	}
}

func TestIdentitiesOfAliasesDiffer(t *testing.T) {
	const uid = "8d7e2a0c-98a6-4b62-9f0b-8ee63e1b9c03"
	seen := map[string]bool{}
	for n := 1; n <= maxProviders; n++ {
		for _, id := range []string{aliasUID(uid, n), AliasName(n), homeIDOf(n)} {
			if seen[id] {
				t.Errorf("%s is there twice", id)
			}
			seen[id] = true
		}
		if len(aliasUID(uid, n)) != len(uid) || len(homeIDOf(n)) != len(homeIDOf(0)) {
			t.Errorf("alias %d changes the length of what is said", n)
		}
	}
}

func TestTheAdministratorReachesAnAliasByItsGateway(t *testing.T) {
	c := laid(t, Options{Providers: 1, Peer: true, Aliases: 1})
	file := c.path("alias-01.kubeconfig")
	if err := c.writeAdminKubeconfig(file, "https://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	alias, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if alias.Host != "https://127.0.0.1:1" || string(alias.CertData) != string(admin.CertData) {
		t.Errorf("%s leads to %s as somebody else", file, alias.Host)
	}
	if err := c.writeAdminKubeconfig(c.path("none", "x"), "https://127.0.0.1:1"); err == nil {
		t.Error("a file was written where there is no folder")
	}
}

func TestAKubeconfigWithoutAKeyIsNotWritten(t *testing.T) {
	c := &Cluster{Name: "lost", env: newEnv(Options{Dir: t.TempDir(), Clock: testclock.NewFakeClock(time.Now())})}
	if err := c.writeAdminKubeconfig(c.path("x"), "https://127.0.0.1:1"); err == nil ||
		!strings.Contains(err.Error(), "write kubeconfig") {
		t.Errorf("got %v", err)
	}
}
