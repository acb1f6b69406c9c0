package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) info() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Show what this cluster borrows, lends and offloads, and whether it is well",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q; see %s --help", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd.Context(), output, func(i *clusterInfo) (any, func(io.Writer), error) {
				return i, i.print, nil
			})
		},
	}
	cmd.PersistentFlags().StringVarP(&output, "output", "o", "", "yaml or json instead of text")
	cmd.AddCommand(a.infoNamespace(&output), &cobra.Command{
		Use:   "peer [ID]",
		Short: "Show providers in detail: their nodes, twins and credential",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.show(cmd.Context(), output, func(i *clusterInfo) (any, func(io.Writer), error) {
				providers, err := i.chosen(args)
				return providers, func(w io.Writer) { printProviders(w, providers) }, err
			})
		},
	})
	return cmd
}

// show surveys this cluster and prints a part of it.
func (a *app) show(
	ctx context.Context, output string, part func(*clusterInfo) (any, func(io.Writer), error),
) error {
	if err := checkFormat(output); err != nil {
		return err
	}
	home, err := a.home()
	if err != nil {
		return err
	}
	info, err := survey(ctx, home)
	if err != nil {
		return err
	}
	object, text, err := part(info)
	if err != nil {
		return err
	}
	return a.print(output, object, text)
}

func (i *clusterInfo) chosen(ids []string) ([]providerInfo, error) {
	if len(ids) == 0 {
		return i.Providers, nil
	}
	var known []string
	for _, provider := range i.Providers {
		if provider.ID == ids[0] {
			return []providerInfo{provider}, nil
		}
		known = append(known, provider.ID)
	}
	return nil, fmt.Errorf("there is no peering with %q: this cluster borrows from %s", ids[0], orNone(known))
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

func (i *clusterInfo) print(w io.Writer) {
	fmt.Fprintf(w, "Cluster %s (kube-system UID %s, Kubernetes %s)\n", orDash(i.ID), i.UID, i.Version)
	table(w, "\nBorrows from", []string{"PROVIDER", "NODE", "READY", "TWINS"}, func(row func(...any)) {
		for _, p := range i.Providers {
			for _, n := range p.Nodes {
				row(p.ID, n.Name, yesNo(n.Ready), len(p.Twins))
			}
		}
	})
	fmt.Fprintf(w, "\nLends to: %s\n", orNone(i.Consumers))
	header := []string{"NAMESPACE", "STRATEGY", "PHASE", "TWIN", "READY ON"}
	table(w, "\nOffloaded namespaces", header, func(row func(...any)) {
		for _, n := range i.Namespaces {
			row(n.Name, n.Strategy, n.Phase, orDash(n.Twin), orNone(n.Clusters))
		}
	})
	if len(i.Problems) == 0 {
		fmt.Fprintln(w, "\nAll is well.")
		return
	}
	fmt.Fprintln(w, "\nTo look at:")
	for _, problem := range i.Problems {
		fmt.Fprintln(w, "  -", problem)
	}
}

func printProviders(w io.Writer, providers []providerInfo) {
	if len(providers) == 0 {
		fmt.Fprintln(w, "This cluster borrows from none.")
	}
	for n, p := range providers {
		if n > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "Provider %s\n  server:         %s\n  token expires:  %s\n",
			p.ID, orDash(p.Server), expiry(p.TokenExpires))
		for _, node := range p.Nodes {
			fmt.Fprintf(w, "  node %s: %s\n", node.Name, node.state())
			fmt.Fprintf(w, "    labels:   %s\n    capacity: %s\n", pairs(node.Labels), pairs(node.Capacity))
		}
		table(w, "  twins", []string{"NAMESPACE", "TWIN", "PHASE", "MESSAGE"}, func(row func(...any)) {
			for _, t := range p.Twins {
				row(t.Namespace, t.Twin, t.Phase, orDash(t.Message))
			}
		})
	}
}

func (n *nodeInfo) state() string {
	if n.Ready {
		return "ready"
	}
	return "not ready: " + n.Message
}

// table prints a title and aligned rows, or that there are none.
func table(w io.Writer, title string, header []string, rows func(row func(...any))) {
	tabs := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	empty := true
	rows(func(cells ...any) {
		if empty {
			fmt.Fprintf(tabs, "%s:\n  %s\n", title, strings.Join(header, "\t"))
			empty = false
		}
		fmt.Fprint(tabs, "  ")
		for n, cell := range cells {
			if n > 0 {
				fmt.Fprint(tabs, "\t")
			}
			fmt.Fprint(tabs, cell)
		}
		fmt.Fprintln(tabs)
	})
	if empty {
		fmt.Fprintf(tabs, "%s: none\n", title)
	}
	_ = tabs.Flush() // writes to w, whose errors the other lines ignore too
}

func pairs(m map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, key+"="+m[key])
	}
	return orNone(out)
}

func expiry(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
