package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/twinspace/twinspace/e2e/env"
)

func logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs CLUSTER COMPONENT",
		Short: "Print what a component printed",
		Example: `  playground logs consumer virtual-kubelet-provider-1 -f
  playground logs provider-1 kube-apiserver`,
		Args: exactly("CLUSTER", "COMPONENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := open(dirOf(cmd))
			if err != nil {
				return err
			}
			path, err := e.LogPath(args[0], args[1])
			if err != nil {
				return err
			}
			return printLog(cmd.Context(), cmd.OutOrStdout(), path, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing what comes")
	return cmd
}

func printLog(ctx context.Context, out io.Writer, path string, follow bool) error {
	f, err := os.Open(path) //nolint:gosec // G304: a log of the playground
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = f.Close() }()
	look := time.NewTicker(time.Second / 5)
	defer look.Stop()
	for {
		if _, err := io.Copy(out, f); err != nil || !follow {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func envCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "env",
		Short:   `Print what a shell needs: eval "$(playground env)"`,
		Example: `  eval "$(playground env)"; kubectl get nodes`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := open(dirOf(cmd))
			if err != nil {
				return err
			}
			links, err := e.LinkTools()
			if err != nil {
				return err
			}
			return printEnv(cmd.OutOrStdout(), e, links)
		},
	}
}

func printEnv(out io.Writer, e *env.Env, tools string) error {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "export KUBECONFIG=%s\n", quote(e.Consumer().Kubeconfig))
	_, _ = fmt.Fprintf(&b, "export PATH=%s:\"$PATH\"\n", quote(tools))
	b.WriteString("# For the other clusters:\n")
	for _, c := range e.Clusters() {
		_, _ = fmt.Fprintf(&b, "# alias k-%s=%s\n", c.Name, quote("kubectl --kubeconfig="+quote(c.Kubeconfig)))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// quote makes a word of a shell.
func quote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl CLUSTER ARGS...",
		Short: "Run kubectl against a cluster",
		Long: `Runs kubectl, which is part of this program, as the administrator of a cluster. All arguments behind the
cluster's name are kubectl's.`,
		Example: `  playground kubectl consumer get pods -A -o wide
  playground kubectl --dir /tmp/mine provider-1 get namespaces --show-labels`,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, args, err := splitDir(dirOf(cmd), args)
			if err != nil {
				return err
			}
			if len(args) == 0 || strings.HasPrefix(args[0], "-") {
				if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
					return cmd.Help()
				}
				return &env.UsageError{Reason: "kubectl needs the name of a cluster: " + cmd.UseLine()}
			}
			return kubectlOn(dir, args[0], args[1:])
		},
	}
}

func kubectlOn(dir, cluster string, args []string) error {
	e, err := open(dir)
	if err != nil {
		return err
	}
	c := e.Cluster(cluster)
	if c == nil {
		return &env.UsageError{Reason: fmt.Sprintf("there is no cluster %q", cluster)}
	}
	if err := os.Setenv("KUBECONFIG", c.Kubeconfig); err != nil {
		return err
	}
	if code := runKubectl(args); code != 0 {
		return exitError(code)
	}
	return nil
}

// splitDir takes --dir off the front of arguments that are not ours to parse.
func splitDir(dir string, args []string) (string, []string, error) {
	for len(args) > 0 {
		switch value, joined := strings.CutPrefix(args[0], "--dir="); {
		case joined:
			dir, args = value, args[1:]
		case args[0] == "--dir" && len(args) > 1:
			dir, args = args[1], args[2:]
		case args[0] == "--dir":
			return "", nil, &env.UsageError{Reason: "--dir needs a directory"}
		default:
			return dir, args, nil
		}
	}
	return dir, args, nil
}

func linkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "link CLUSTER MODE",
		Short: "Break, delay or heal the network between our components and a cluster",
		Long: `Acts on the proxy that stands between our components and a cluster's API server:
  cut          refuses new connections and resets existing ones, as a host that is down does
  blackhole    accepts everything and answers nothing, as a firewall that drops packets does
  slow=200ms   adds 200 ms to every round trip
  reset=5%     resets connections at random: 5% of what is said ends its connection instead
  throttle=20  answers 429 to what exceeds 20 requests a second (1)
  commitcut="VERB RESOURCE[/SUBRESOURCE][:SHARE]"
               passes requests on and resets the connection in place of the answer (1)
  heal         ends all of that
(1) In a playground that was started with --gateways; there, home has a link too: "link consumer MODE".
kubectl and the cluster's own components are not affected.`,
		Example: `  playground link provider-1 slow=200ms
  playground link provider-1 commitcut="create pods:50%"`,
		Args: exactly("CLUSTER", "MODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			mode, err := env.ParseMode(args[1])
			if err != nil {
				return err
			}
			e, err := open(dirOf(cmd))
			if err != nil {
				return err
			}
			return e.SetLink(cmd.Context(), args[0], mode)
		},
	}
}
