package env

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"
)

// planned returns a cluster whose files are made, and which does not run.
func planned(t *testing.T, n int) *Cluster {
	t.Helper()
	e := newEnv(Options{
		Dir: t.TempDir(), Bin: "bin", Providers: 2, Nodes: 3, Peer: true, Clock: testclock.NewFakeClock(time.Now()),
	})
	t.Cleanup(e.ports.releaseAll)
	c, err := e.newCluster(n, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.configuration(), c.kwokConfiguration(), c.credentials()); err != nil {
		t.Fatal(err)
	}
	return c
}

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	raw, err := os.ReadFile(path) //nolint:gosec // G304: made by the test
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificates(t *testing.T) {
	c := planned(t, 1)
	roots := func(name string) *x509.CertPool {
		pool := x509.NewCertPool()
		pool.AddCert(certificate(t, c.cert(name)))
		return pool
	}
	cluster, front := roots(certCA), roots(certFrontProxyCA)
	cases := map[string]struct {
		name   string
		roots  *x509.CertPool
		host   string
		groups []string
		bad    bool
	}{
		"the API server at its and the link's address": {name: certServing, roots: cluster, host: loopback},
		"the API server by the Service's address":      {name: certServing, roots: cluster, host: "10.112.0.1"},
		"the API server by the Service's name":         {name: certServing, roots: cluster, host: "kubernetes.default"},
		"the API server is nobody else": {
			name: certServing, roots: cluster, host: "example.com", bad: true,
		},
		"the human is a master": {
			name: certAdmin, roots: cluster, groups: []string{"system:masters"},
		},
		"kwok has no group":                       {name: userKwok, roots: cluster},
		"the scheduler has no group":              {name: userScheduler, roots: cluster},
		"the front proxy is of its own authority": {name: certFrontProxy, roots: front},
		"and of no other":                         {name: certFrontProxy, roots: cluster, bad: true},
		"users are not front proxies":             {name: certAdmin, roots: front, bad: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cert := certificate(t, c.cert(tc.name))
			_, err := cert.Verify(x509.VerifyOptions{
				Roots: tc.roots, DNSName: tc.host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
			})
			if (err != nil) != tc.bad {
				t.Errorf("error is %v", err)
			}
			if cert.Subject.CommonName != tc.name {
				t.Errorf("it is of %s", cert.Subject.CommonName)
			}
			if diff := cmp.Diff(tc.groups, cert.Subject.Organization); diff != "" && !tc.bad {
				t.Errorf("groups (-want,+got)\n%s", diff)
			}
		})
	}
}

func TestSecretsAreForTheirOwnerOnly(t *testing.T) {
	c := planned(t, 0)
	err := filepath.WalkDir(c.env.opts.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == c.env.opts.Dir {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKubeconfigs(t *testing.T) {
	c := planned(t, 0)
	cases := map[string]string{
		certAdmin:     c.Kubeconfig,
		userManager:   c.path("kube-controller-manager.kubeconfig"),
		userScheduler: c.path("kube-scheduler.kubeconfig"),
		userKwok:      c.path("kwok.kubeconfig"),
	}
	for user, file := range cases {
		t.Run(user, func(t *testing.T) {
			cfg, err := clientcmd.LoadFromFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := clientcmd.Validate(*cfg); err != nil {
				t.Error(err)
			}
			at := cfg.Contexts[cfg.CurrentContext]
			if at == nil || at.AuthInfo != user || cfg.Clusters[at.Cluster].Server != c.Server() {
				t.Errorf("context is %v", at)
			}
		})
	}
	if want := filepath.Join(c.env.opts.Dir, "consumer.kubeconfig"); c.Kubeconfig != want {
		t.Errorf("the human's is %s, want %s", c.Kubeconfig, want)
	}
}

// schedulerProfiles reads what decides about pods.
func schedulerProfiles(t *testing.T, path string) any {
	t.Helper()
	raw, err := os.ReadFile(path) //nolint:gosec // G304: a file of the repository or of the test
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	return config["profiles"]
}

func TestEverySchedulerIsTheOneThatWeShip(t *testing.T) {
	root, err := RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	shipped := schedulerProfiles(t, filepath.Join(root, "manifests", "scheduler", "replace-default.yaml"))
	for n := range 2 {
		c := planned(t, n)
		if diff := cmp.Diff(shipped, schedulerProfiles(t, c.path("scheduler.yaml"))); diff != "" {
			t.Errorf("%s (-shipped,+playground)\n%s", c.Name, diff)
		}
	}
}

func TestComponentsOfClusters(t *testing.T) {
	cases := map[string]struct {
		cluster int
		name    string
		program string
		args    []string // some of them
		bad     bool
	}{
		"every API server authorizes nodes": {
			0, APIServer, "playground", []string{"kube-apiserver", "--authorization-mode=Node,RBAC"}, false,
		},
		"every API server restricts nodes": {
			1, APIServer, "playground", []string{"--enable-admission-plugins=NodeRestriction"}, false,
		},
		"kwok plays marked nodes only": {
			1, Kwok, "kwok", []string{"--manage-nodes-with-annotation-selector=playground.twinspace/fake=true"}, false,
		},
		"our controller-manager knows who it is": {0, Manager, Manager, []string{"--cluster-id=consumer"}, false},
		"the agent serves one provider": {
			0, AgentOf("provider-2"), Agent, []string{"--remote-cluster-id=provider-2"}, false,
		},
		"providers have links":              {1, LinkProxy, "playground", []string{"link-proxy"}, false},
		"the consumer has none":             {0, LinkProxy, "", nil, true},
		"nothing of ours is on a provider":  {1, Manager, "", nil, true},
		"there are as many agents as peers": {0, AgentOf("provider-3"), "", nil, true},
		"a typing error":                    {0, "kube-apiservr", "", nil, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := planned(t, tc.cluster).component(tc.name)
			if (err != nil) != tc.bad {
				t.Fatalf("error is %v", err)
			}
			if got.program != tc.program {
				t.Errorf("program is %q, want %q", got.program, tc.program)
			}
			for _, want := range tc.args {
				if !strings.Contains(strings.Join(got.args, "\n")+"\n", want+"\n") {
					t.Errorf("%s is not in %v", want, got.args)
				}
			}
			for _, arg := range got.args {
				if strings.Contains(arg, "0.0.0.0") || strings.Contains(arg, "[::]") {
					t.Errorf("%s may listen to the world", arg)
				}
			}
		})
	}
}

func TestEveryUseHasAPortOfItsOwn(t *testing.T) {
	seen := map[int]string{}
	for n := range 3 {
		c := planned(t, n)
		for use, port := range c.ports {
			if other, taken := seen[port]; taken {
				t.Errorf("%s of %s has the port of %s", use, c.Name, other)
			}
			seen[port] = c.Name + "/" + use
			if port == 0 {
				t.Errorf("%s of %s has no port", use, c.Name)
			}
		}
	}
}

func TestAuditEventsAreReadWhole(t *testing.T) {
	c := planned(t, 0)
	write := func(text string) {
		t.Helper()
		f, err := os.OpenFile(c.auditPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"verb":"create"}` + "\n")
	audit, err := c.Audit()
	if err != nil {
		t.Fatal(err)
	}
	verbs := func() []string {
		t.Helper()
		events, err := audit.Events()
		if err != nil {
			t.Fatal(err)
		}
		var verbs []string
		for _, event := range events {
			verbs = append(verbs, event.Verb)
		}
		return verbs
	}
	steps := []struct {
		what, write string
		want        []string
	}{
		{"what was before does not count", "", nil},
		{"whole lines count", `{"verb":"get"}` + "\n" + `{"verb":"patch"}` + "\n", []string{"get", "patch"}},
		{"once", "", nil},
		{"half a line waits", `{"verb":"del`, nil},
		{"until it is whole", `ete"}` + "\n", []string{"delete"}},
	}
	for _, step := range steps {
		write(step.write)
		if diff := cmp.Diff(step.want, verbs()); diff != "" {
			t.Errorf("%s (-want,+got)\n%s", step.what, diff)
		}
	}
	audit.Offset = 0
	if diff := cmp.Diff([]string{"create", "get", "patch", "delete"}, verbs()); diff != "" {
		t.Errorf("from the beginning (-want,+got)\n%s", diff)
	}
	write("no json\n")
	if _, err := audit.Events(); err == nil {
		t.Error("nonsense is read without an error")
	}
}

func TestParseMemory(t *testing.T) {
	const process = "Name:\tetcd\nVmPeak:\t 900 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n"
	cases := map[string]struct {
		status, field string
		want          int64
		bad           bool
	}{
		"at most":         {status: process, field: "VmHWM", want: 2 << 20},
		"now":             {status: process, field: "VmRSS", want: 1 << 10},
		"of a zombie":     {status: "Name:\tetcd\nState:\tZ (zombie)\n", field: "VmHWM", bad: true},
		"of another unit": {status: "VmHWM:\t2 MB\n", field: "VmHWM", bad: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseMemory([]byte(tc.status), tc.field)
			if (err != nil) != tc.bad || got != tc.want {
				t.Errorf("got %d, %v; want %d", got, err, tc.want)
			}
		})
	}
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x\n", 100_000) + "last but one\nlast\n"
	hungUp := `{"level":"warn","msg":"rejected connection on client endpoint","error":"EOF"}`
	noCert := `{"level":"warn","msg":"rejected connection on client endpoint","error":"no certificate"}`
	failed := `E1123 00:32:19.315288    5606 finisher.go:175] "Unhandled Error" err="context canceled"`
	calm := `I1123 00:31:12.122542    5616 shared_informer.go:377] "Caches are synced"`
	mixed := strings.Join([]string{noCert, hungUp, failed, calm}, "\n")
	cases := map[string]struct {
		content, want string
		keep          func(string) bool
	}{
		"of many lines":             {"a\nb\nc\nd\n", "c\nd", anyLine},
		"of one line":               {"a", "a", anyLine},
		"of an empty log":           {"", "", anyLine},
		"of a long log":             {long, "last but one\nlast", anyLine},
		"of complaints":             {mixed, noCert + "\n" + failed, complaint},
		"of one without complaints": {hungUp + "\n" + calm + "\n", "", complaint},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "log")
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, tail(path, 2, tc.keep)); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
	if got := tail(filepath.Join(dir, "none"), 2, anyLine); !strings.Contains(got, "no such file") {
		t.Errorf("of a missing log: %q", got)
	}
}

func TestFailedChecksAreNamed(t *testing.T) {
	body := "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n" +
		"[-]poststarthook/rbac failed: reason withheld\nreadyz check failed\n"
	if got, want := failedChecks([]byte(body)), ", etcd, poststarthook/rbac"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOneDirectoryHasOneName(t *testing.T) {
	real, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(real)
	want := filepath.Join(real, "a", "b")
	for _, name := range []string{want, filepath.Join(link, "a", "b"), filepath.Join("a", "b"), "a/../a/./b/"} {
		if got, err := canonicalDir(name); err != nil || got != want {
			t.Errorf("%s is %s, want %s (%v)", name, got, want, err)
		}
	}
}

func TestRepositoryRootIsFoundFromBelowAndNowhereElse(t *testing.T) {
	root, err := RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "e2e", "env", "env.go")); err != nil {
		t.Error(err)
	}
	t.Chdir(filepath.Join(root, "e2e", "env", "kwok")) // a module of its own
	if got, err := RepositoryRoot(); err != nil || got != root {
		t.Errorf("from another module below it: %s, %v", got, err)
	}
	t.Chdir(t.TempDir())
	if got, err := RepositoryRoot(); err == nil {
		t.Errorf("from outside: %s", got)
	}
}

func TestToolsOfAShell(t *testing.T) {
	c := planned(t, 0)
	for range 2 { // repeated, it replaces
		dir, err := c.env.LinkTools()
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"kubectl", "kubectl-liqo", "liqoctl", "playground"}
		if diff := cmp.Diff(want, names(t, dir)); diff != "" {
			t.Errorf("(-want,+got)\n%s", diff)
		}
		target, err := os.Readlink(filepath.Join(dir, "kubectl"))
		if err != nil || filepath.Base(target) != "playground" {
			t.Errorf("kubectl is %s (%v)", target, err)
		}
	}
}
