package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/env/demo"
)

func demoCommand() *cobra.Command {
	opts := env.Options{Peer: true}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start the clusters and show an application that runs across them",
		Long: `Starts the clusters unless they run, extends namespace "shop" onto the providers, runs an application
in it, and shows, with the commands that do it, what is where. The clusters stay. It can be repeated.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := up(cmd, opts)
			if err != nil {
				return err
			}
			_, noColour := os.LookupEnv("NO_COLOR")
			story := &demo.Story{
				Env: e, Out: cmd.OutOrStdout(), Playground: called(cmd),
				Colour: !noColour && term.IsTerminal(int(os.Stdout.Fd())), //nolint:gosec // G115: a small number
			}
			return story.Tell(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&opts.Providers, "providers", 2, "how many clusters besides the consumer")
	cmd.Flags().IntVar(&opts.Nodes, "nodes", 3, "how many nodes each cluster has")
	return cmd
}

// called returns how the user calls this program from where he is.
func called(cmd *cobra.Command) string {
	name := os.Args[0]
	if here, err := os.Getwd(); err == nil && filepath.IsAbs(name) {
		if relative, err := filepath.Rel(here, name); err == nil && filepath.IsLocal(relative) {
			name = relative
		}
	}
	if dir := dirOf(cmd); dir != ".playground" {
		name += " --dir " + dir
	}
	return name
}
