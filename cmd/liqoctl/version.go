package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"
)

func (a *app) version() *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of liqoctl and of this cluster",
		Long:  "Show the versions of liqoctl and, if there is a kubeconfig, of this cluster.",
		Args:  atMost(0),
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(a.Out, "liqoctl:    %s\n", version.Get().GitVersion)
			if clientOnly {
				return nil
			}
			home, err := a.home()
			if errors.Is(err, errNoKubeconfig) {
				a.warn("no cluster was asked for its version: " + oneLine(err))
				return nil
			}
			if err != nil {
				return err
			}
			server, err := home.Version()
			if err != nil {
				return fmt.Errorf("ask this cluster for its version: %w", err)
			}
			fmt.Fprintf(a.Out, "Kubernetes: %s\n", server)
			return nil
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "ask no cluster")
	return cmd
}
