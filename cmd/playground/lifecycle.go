package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/twinspace/twinspace/e2e/env"
)

func upFlags(cmd *cobra.Command, opts *env.Options) {
	cmd.Flags().IntVar(&opts.Providers, "providers", 2, "how many clusters besides the consumer")
	cmd.Flags().IntVar(&opts.Nodes, "nodes", 3, "how many nodes each cluster has")
	cmd.Flags().BoolVar(&opts.Exec, "exec", false, "let commands run in pods: they run on this machine, as you, "+
		"also for others who can reach its loopback addresses")
	cmd.Flags().BoolVar(&opts.Gateways, "gateways", false,
		"let links read requests, to withhold answers and to refuse what is too much, and put one in front of home too")
	cmd.Flags().IntVar(&opts.Replicas, "replicas", 1, "how many processes our controller-manager and each agent have")
	cmd.Flags().BoolVar(&opts.Peer, "peer", true, "start our components and peer the consumer with every provider")
}

func upCommand() *cobra.Command {
	var opts env.Options
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the clusters, or whatever of them does not run, and return when all is ready",
		Long: `Starts the clusters and returns when all is ready; they stay in the background.
Where they run already nothing changes; what died is started again; what was killed is cleaned up first.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := up(cmd, opts)
			if err != nil {
				return err
			}
			return printClusters(cmd.OutOrStdout(), e)
		},
	}
	upFlags(cmd, &opts)
	return cmd
}

func up(cmd *cobra.Command, opts env.Options) (*env.Env, error) {
	var err error
	opts.Dir, opts.Out = dirOf(cmd), cmd.ErrOrStderr()
	if opts.Bin, err = bin(); err != nil {
		return nil, err
	}
	return env.Up(cmd.Context(), opts)
}

func printClusters(out io.Writer, e *env.Env) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range e.Clusters() {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", c.Name, c.Kubeconfig)
	}
	return table.Flush()
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the clusters and remove what they wrote",
		Long: `Ends exactly the processes that "up" started, also those of a playground that was killed, and removes
what they wrote. Where nothing runs it does nothing.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.Down(cmd.Context(), dirOf(cmd))
		},
	}
}

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show every process, how it is, and what it used",
		Long:  `Shows every process, how it is and what it used so far. The exit code is 1 when one is not well.`,
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := open(dirOf(cmd))
			if err != nil {
				return err
			}
			return printStatus(cmd, e)
		},
	}
}

func printStatus(cmd *cobra.Command, e *env.Env) error {
	used := map[[2]string]env.Usage{}
	for _, u := range e.Usage() {
		used[[2]string{u.Cluster, u.Component}] = u
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "CLUSTER\tCOMPONENT\tPID\tCPU\tPEAK MEMORY\tSTATE")
	var result error
	for _, s := range e.Status(cmd.Context()) {
		usage, how := used[[2]string{s.Cluster, s.Component}], "ok"
		if s.Component == env.LinkProxy {
			mode, err := e.LinkMode(s.Cluster)
			if err != nil {
				return err
			}
			how = "ok, mode " + mode.String()
		}
		if s.Problem != "" {
			how, result = s.Problem, exitError(exitFailed)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%d MiB\t%s\n", s.Cluster, s.Component, s.PID,
			usage.CPU.Round(time.Second/10), usage.PeakRSS>>20, how)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return result
}
