package env

import (
	"fmt"
	"os"
	"strings"
)

const (
	// podsLog is what every fake pod of a cluster answers when it is asked for its log.
	podsLog = "pods.log"
	// podsDir is where commands run in fake pods.
	podsDir = "containers"
)

// PodsLog returns the file that holds the log of every fake pod of the cluster; what is appended to it, in the format
// of a container runtime, is what they say next.
func (c *Cluster) PodsLog() string { return c.path(podsLog) }

// PodsDir returns the folder in which commands run in the fake pods of the cluster, see [Options.Exec].
func (c *Cluster) PodsDir() string { return c.path(podsDir) }

// kwokConfiguration writes what the fake kubelets do, and what their containers say.
func (c *Cluster) kwokConfiguration() error {
	config := stages + fmt.Sprintf(kwokConfig, c.PodsLog())
	if c.env.opts.Exec {
		if err := os.MkdirAll(c.PodsDir(), 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		config += fmt.Sprintf(kwokExec, c.PodsDir())
	}
	page := "hello from cluster " + c.Name + "\n"
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		len(page), page)
	config += fmt.Sprintf(kwokPorts, answer)
	if err := writeFile(c.path("kwok.yaml"), []byte(config)); err != nil {
		return err
	}
	now := c.env.opts.Clock.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	var log strings.Builder
	for _, line := range []string{
		"hello from cluster " + c.Name,
		"this log was read through the API server of " + c.Name + ", where the pod runs",
		"the containers of a playground are played by kwok: all of them say this",
	} {
		_, _ = fmt.Fprintf(&log, "%s stdout F %s\n", now, line)
	}
	return writeFile(c.PodsLog(), []byte(log.String()))
}

const kwokConfig = `---
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  enableDebuggingHandlers: true
  enableProfilingHandler: false
  podPlayStageParallelism: 16
  nodePlayStageParallelism: 4
  nodeLeaseParallelism: 4
  podsOnNodeSyncParallelism: 4
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterLogs
metadata:
  name: pods
spec:
  logs:
  - logsFile: %[1]q
    previousLogsFile: %[1]q
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterAttach
metadata:
  name: pods
spec:
  attaches:
  - logsFile: %[1]q
`

// kwokExec runs commands on this machine.
const kwokExec = `---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterExec
metadata:
  name: pods
spec:
  execs:
  - local:
      workDir: %q
      envs:
      - {name: PATH, value: /usr/local/bin:/usr/bin:/bin}
      - {name: TERM, value: xterm}
`

// kwokPorts is a page at the ports of the web, and an echo at all others.
const kwokPorts = `---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterPortForward
metadata:
  name: pods
spec:
  forwards:
  - ports: [80, 8080]
    command: [sh, -c, 'read -r _; printf %%s "$0"', %q]
  - command: [cat]
`
