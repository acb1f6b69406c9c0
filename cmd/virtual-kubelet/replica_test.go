package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// replica is a process of the agent of a peering.
type replica struct {
	w *peered
	// name begins the user agent of its requests; ip is its Nodes' address.
	name, ip string
	// metrics and health are addresses.
	metrics, health, log string
	process              *os.Process
	ended                chan struct{}
	state                *os.ProcessState // once it has ended
}

// replica runs this test binary as an agent of the peering, until the test ends.
func (w *peered) replica(name, ip string, flags ...string) *replica {
	w.Helper()
	dir := w.TempDir()
	r := &replica{
		w: w, name: name, ip: ip, log: filepath.Join(dir, "log"), ended: make(chan struct{}),
		metrics: w.free(ip), health: w.free(ip),
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	w.must(w.home.WriteKubeconfigFor(w.Context(), v1beta1.TenantNamespace(w.away.Name), v1beta1.AgentServiceAccount,
		kubeconfig))
	log, err := os.Create(r.log)
	w.must(err)
	_, port, err := net.SplitHostPort(w.free(ip))
	w.must(err)
	agent := exec.Command(os.Args[0], append([]string{ //nolint:gosec // us
		"--kubeconfig=" + kubeconfig, "--cluster-id=" + w.home.Name, "--remote-cluster-id=" + w.away.Name,
		"--node-ip=" + ip, "--kubelet-port=" + port,
		"--metrics-bind-address=" + r.metrics, "--health-probe-bind-address=" + r.health,
	}, flags...)...)
	agent.Args[0] = name
	agent.Env = append(os.Environ(), asAgent+"=1")
	agent.Stdout, agent.Stderr = log, log
	w.must(agent.Start())
	r.process = agent.Process
	var waited sync.WaitGroup
	waited.Go(func() {
		_ = agent.Wait() // how it ended is in the state
		r.state = agent.ProcessState
		close(r.ended)
	})
	w.Cleanup(func() {
		_ = r.process.Signal(os.Interrupt) // it may have ended
		waited.Wait()
		if w.Failed() {
			w.Logf("%s said:\n%s", r.name, r.said())
		}
	})
	return r
}

// free returns an address that nobody listens on.
func (w *peered) free(ip string) string {
	w.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	w.must(err)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// said returns the end of the log.
func (r *replica) said() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8000):])
}

func (r *replica) get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// leads says what the replica's metrics say of who leads; wrong is empty when it is as wanted.
func (r *replica) leads(ctx context.Context, want bool) (wrong string) {
	if _, err := r.get(ctx, "http://"+r.health+"/readyz"); err != nil {
		return r.name + " is not ready: " + err.Error()
	}
	text, err := r.get(ctx, "http://"+r.metrics+"/metrics")
	if err != nil {
		return r.name + ": " + err.Error()
	}
	sample := `leader_election_master_status{name="` + leaseName + `"} `
	value := map[bool]string{true: "1\n", false: "0\n"}
	if !strings.Contains(text, sample+value[want]) {
		return fmt.Sprintf("%s does not say %s%s", r.name, sample, value[want])
	}
	return ""
}
