package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// component is how one process of a cluster is started and asked whether it is well.
type component struct {
	cluster *Cluster
	name    string
	program string // in the folder of programs
	args    []string
	ports   []int
	health  string // URL that answers 200 when it is ready; none when empty
	writes  string // file that it writes when it is ready; none when empty
}

// startTimeout is how long a component may take on a machine that is busy with other things.
const startTimeout = 2 * time.Minute

// logPath returns the file that gets what the component prints.
func (c *Cluster) logPath(component string) string { return c.path(component + ".log") }

// start starts the component unless it runs.
func (e *Env) start(comp component) error {
	e.starting.Lock()
	defer e.starting.Unlock()
	return e.startLocked(comp)
}

// startLocked is start for who holds the lock on starting.
func (e *Env) startLocked(comp component) error {
	c := comp.cluster
	delete(e.down, componentKey{c.Name, comp.name})
	if p, ok := e.process(c.Name, comp.name); ok && p.Alive() {
		return nil
	}
	p, err := e.spawn(comp)
	if err != nil {
		return fmt.Errorf("start %s of %s: %w", comp.name, c.Name, err)
	}
	return e.record(func(st *state) {
		st.Processes = slices.DeleteFunc(st.Processes, func(p Process) bool {
			return p.Cluster == c.Name && p.Component == comp.name
		})
		st.Processes = append(st.Processes, p)
	})
}

// spawn makes a process of the component.
func (e *Env) spawn(comp component) (Process, error) {
	c := comp.cluster
	log, err := os.OpenFile(c.logPath(comp.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return Process{}, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(e.opts.program(comp.program), comp.args...) //nolint:gosec,noctx // outlives us
	cmd.Env = e.environ(os.Environ(), c, comp.name)
	cmd.Dir = c.path()
	cmd.Stdout, cmd.Stderr = log, log
	if err := os.Remove(comp.writes); comp.writes != "" && err != nil && !errors.Is(err, os.ErrNotExist) {
		return Process{}, err
	}
	e.ports.release(comp.ports...)
	if err := e.launch(cmd); err != nil {
		return Process{}, err
	}
	// Read before anybody waits: the number is certainly still this process'.
	s, err := readStat(cmd.Process.Pid)
	p := Process{c.Name, comp.name, cmd.Process.Pid, s.started}
	go func() { // or it would stay as a zombie while this process lives
		_ = cmd.Wait()
		e.ending.Lock()
		defer e.ending.Unlock()
		e.ends[p] = cmd.ProcessState.String()
	}()
	return p, err
}

// how returns how a process ended, if it was this one's child.
func (e *Env) how(p Process) string {
	e.ending.Lock()
	defer e.ending.Unlock()
	return e.ends[p]
}

// inherited returns the variables that components get: none that would point them at another cluster or through a
// proxy.
func inherited(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		upper := strings.ToUpper(name)
		return upper == "KUBECONFIG" || upper == mark || strings.HasSuffix(upper, "_PROXY") ||
			strings.HasPrefix(upper, "ETCD_") || strings.HasPrefix(upper, "KUBERNETES_")
	})
}

// ready waits until the component answers that it is well.
func (e *Env) ready(ctx context.Context, comp component) error {
	if comp.health == "" && comp.writes == "" {
		return nil
	}
	client, err := comp.cluster.prober()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	var last error
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, startTimeout, true,
		func(ctx context.Context) (bool, error) {
			if p, _ := e.process(comp.cluster.Name, comp.name); !p.Alive() {
				return false, errors.New("it ended")
			}
			last = comp.ask(ctx, client)
			return last == nil, nil
		})
	if err == nil {
		return nil
	}
	if wait.Interrupted(err) {
		err = errors.Join(err, last)
	}
	return fmt.Errorf("%s of %s is not ready: %w; the end of %s:\n%s", comp.name, comp.cluster.Name, err,
		comp.cluster.logPath(comp.name), tail(comp.cluster.logPath(comp.name), 5, anyLine))
}

// ask returns what is missing of the component.
func (comp component) ask(ctx context.Context, client *http.Client) error {
	if comp.writes != "" {
		_, err := os.Stat(comp.writes)
		return err
	}
	return probe(ctx, client, comp.health)
}

// prober returns a client that every server of the cluster accepts.
func (c *Cluster) prober() (*http.Client, error) {
	cfg := rest.CopyConfig(c.config)
	cfg.Timeout = 10 * time.Second
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client of %s: %w", c.Name, err)
	}
	return client, nil
}

// Ask returns what a component of the cluster answers at a path of its own server, such as /metrics.
func (c *Cluster) Ask(ctx context.Context, name, path string) (string, error) {
	comp, err := c.component(name)
	if err != nil {
		return "", err
	}
	server, err := url.Parse(comp.health)
	if err != nil || comp.health == "" {
		return "", &UsageError{fmt.Sprintf("%s of %s answers no questions", name, c.Name)}
	}
	server.Path = path
	return c.read(ctx, name, server)
}

// Metrics returns the metrics of a component of the cluster.
func (c *Cluster) Metrics(ctx context.Context, name string) (string, error) {
	port, own := c.ports[name+suffixOfMetrics]
	if !own {
		return c.Ask(ctx, name, "/metrics")
	}
	return c.read(ctx, name, &url.URL{Scheme: "http", Host: address(port), Path: "/metrics"})
}

func (c *Cluster) read(ctx context.Context, name string, server *url.URL) (string, error) {
	client, err := c.prober()
	if err != nil {
		return "", err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.String(), http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask %s of %s: %w", name, c.Name, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask %s of %s: %w", name, c.Name, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", server, response.Status)
	}
	return string(body), err
}

func probe(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	const enough = 8000
	body, err := io.ReadAll(io.LimitReader(response.Body, enough))
	if err != nil {
		return fmt.Errorf("%s: %s: %w", url, response.Status, err)
	}
	return fmt.Errorf("%s: %s%s", url, response.Status, failedChecks(body))
}

// failedChecks returns what is wrong, of everything that a Kubernetes component was asked about.
func failedChecks(body []byte) string {
	var failed string
	for line := range strings.Lines(string(body)) {
		if check, ok := strings.CutPrefix(line, "[-]"); ok {
			failed += ", " + strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(check), "failed: reason withheld"))
		}
	}
	return failed
}

// tail returns the last of the lines of a log that are worth keeping, or why there are none.
func tail(path string, lines int, keep func(line string) bool) string {
	const most = 64 << 10
	f, err := os.Open(path) //nolint:gosec // G304: a log of ours
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	all := slices.DeleteFunc(strings.Split(strings.TrimRight(string(raw), "\n"), "\n"),
		func(line string) bool { return !keep(line) })
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// process returns what is known of a component's process.
func (e *Env) process(cluster, component string) (Process, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.state.Processes, func(p Process) bool {
		return p.Cluster == cluster && p.Component == component
	})
	if i < 0 {
		return Process{}, false
	}
	return e.state.Processes[i], true
}

// Processes returns what was started, dead or alive.
func (e *Env) Processes() []Process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.state.Processes)
}

// Signal sends a signal to a component; SIGSTOP and SIGCONT make it hang for a while.
func (e *Env) Signal(cluster, component string, sig syscall.Signal) error {
	p, ok := e.process(cluster, component)
	if !ok {
		return &UsageError{fmt.Sprintf("cluster %s has no component %q", cluster, component)}
	}
	return p.Signal(sig)
}

// Kill ends a component at once, as a crash does, and returns when it is gone.
func (e *Env) Kill(ctx context.Context, cluster, component string) error {
	return e.signalAndWait(ctx, cluster, component, syscall.SIGKILL)
}

// Stop asks a component to end and returns when it is gone.
func (e *Env) Stop(ctx context.Context, cluster, component string) error {
	return e.signalAndWait(ctx, cluster, component, syscall.SIGTERM)
}

func (e *Env) signalAndWait(ctx context.Context, cluster, component string, sig syscall.Signal) error {
	e.starting.Lock() // nobody starts it again meanwhile
	e.down[componentKey{cluster, component}] = true
	e.starting.Unlock()
	if err := e.Signal(cluster, component, sig); err != nil {
		return err
	}
	p, _ := e.process(cluster, component)
	return p.gone(ctx, startTimeout)
}

// Start starts a component that was ended and returns when it is ready.
func (e *Env) Start(ctx context.Context, cluster, component string) error {
	c, err := e.find(cluster)
	if err != nil {
		return err
	}
	comp, err := c.component(component)
	if err != nil {
		return err
	}
	if err := e.start(comp); err != nil {
		return err
	}
	return e.ready(ctx, comp)
}

// Restart asks a component to end and starts it again.
func (e *Env) Restart(ctx context.Context, cluster, component string) error {
	if err := e.Stop(ctx, cluster, component); err != nil {
		return err
	}
	return e.Start(ctx, cluster, component)
}
