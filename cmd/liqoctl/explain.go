package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
)

// explainFlags are the flags of explain.
type explainFlags struct {
	output   string
	allNodes bool
}

func (f *explainFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "", "yaml or json instead of text")
	flags.BoolVar(&f.allNodes, "all-nodes", false, "name every ordinary node, however many there are")
}

func (a *app) explain() *cobra.Command {
	return group("explain", "Say which nodes may take a pod, and why not the "+
		"others", a.explainPod(), a.explainNamespace())
}

func (a *app) explainPod() *cobra.Command {
	var f explainFlags
	var namespace, file string
	cmd := &cobra.Command{
		Use:   "pod [NAME] [-f FILE]",
		Short: "Say which nodes may take a pod, and why not the others",
		Long: `Say of every node whether it may take a pod and, if not, name each rule that forbids it: the policy of
its namespace, in the words of the scheduler, and the pod's own node selector, affinity, tolerations and requests.

With --filename the pod need not exist yet. The file may also hold workloads, whose pods are explained, and several
documents; NAME then picks one of them. Nothing is created.

  liqoctl explain pod web-0 -n shop
  liqoctl explain pod -f deployment.yaml -n shop
  kubectl create job x --image=y --dry-run=client -o yaml | liqoctl explain pod -n shop -f -

It only reads. ClusterRole liqo-placement-view has the rights that it needs besides those of view; what may not be
read is said, not guessed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return exactly("NAME")(cmd, args)
			}
			return atMost(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(f.output); err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			subjects, err := a.subjects(file, name, namespace)
			if err != nil {
				return err
			}
			home, err := a.home()
			if err != nil {
				return err
			}
			e := &explainer{home: home, clock: a.Clock, namespace: namespace}
			all, err := e.pods(cmd.Context(), name, subjects)
			if err != nil {
				return err
			}
			return a.showExplanations(all, f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "",
		"namespace of the pod; default: the file's, that of the kubeconfig's context, or default")
	cmd.Flags().StringVarP(&file, "filename", "f", "", "a file with the pod, or - for standard input")
	return cmd
}

func (a *app) explainNamespace() *cobra.Command {
	var f explainFlags
	var class string
	cmd := &cobra.Command{
		Use:   "namespace NAME",
		Short: "Say which nodes may take the pods of a namespace, and why not the others",
		Long: `Say of every virtual node, and of the ordinary nodes as a whole, whether the policy of a namespace
lets pods go there, in the words of the scheduler. Rules that pods have of their own are not looked at: explain pod
does that.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(f.output); err != nil {
				return err
			}
			home, err := a.home()
			if err != nil {
				return err
			}
			e := &explainer{home: home, clock: a.Clock, namespace: args[0]}
			one, err := e.ofNamespace(cmd.Context(), class)
			if err != nil {
				return err
			}
			return a.showExplanations([]*explanation.Explanation{one}, f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&class, "runtime-class", "", "of pods with this RuntimeClass, such as liqo")
	return cmd
}

// subjects reads the pods of a file, nil without one.
func (a *app) subjects(file, name, namespace string) ([]explanation.Subject, error) {
	if file == "" {
		return nil, nil
	}
	title := file
	if file == "-" {
		title = "standard input"
	}
	all, err := a.parse(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", title, err)
	}
	var chosen []explanation.Subject
	for _, s := range all {
		if own := s.Pod.Namespace; own != "" && namespace != "" && own != namespace {
			return nil, usage("%s says that the namespace is %s, --namespace says %s: leave one "+
				"out", title, own, namespace)
		}
		if name == "" || s.Pod.Name == name {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%s has no pod called %q", title, name)
	}
	return chosen, nil
}

func (a *app) parse(file string) ([]explanation.Subject, error) {
	if file == "-" {
		return explanation.Subjects(a.In)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return explanation.Subjects(bytes.NewReader(text))
}

// showExplanations prints one explanation as it is, and several as a list.
func (a *app) showExplanations(all []*explanation.Explanation, f explainFlags) error {
	if f.output == "" {
		for n, e := range all {
			if n > 0 {
				fmt.Fprintln(a.Out)
			}
			printExplanation(a.Out, e, f.allNodes)
		}
		return nil
	}
	var object any = all[0]
	if len(all) > 1 {
		object = explanation.List{APIVersion: explanation.APIVersion, Kind: explanation.ListKind, Items: all}
	}
	body, err := render(object, f.output)
	if err != nil {
		return err
	}
	_, err = a.Out.Write(body)
	return err
}

// nodesShown is how many ordinary nodes are named in one line of text.
const nodesShown = 3

func printExplanation(w io.Writer, e *explanation.Explanation, allNodes bool) {
	fmt.Fprintln(w, capitalized(e.Summary)+".")
	if e.Pod != nil && e.Pod.SchedulerSays != "" {
		fmt.Fprintf(w, "The scheduler last said: %s\n", e.Pod.SchedulerSays)
	}
	fmt.Fprintf(w, "\n%s\n", policyLine(e))
	title := "\nWhere it may go"
	if e.Pod == nil {
		title = "\nWhere pods may go"
	} else if e.Pod.OnNode != nil {
		title = "\nWhere a new pod like it may go"
	}
	table(w, title, []string{"NODE", "CLUSTER", "VERDICT", "WHY NOT"}, func(row func(...any)) {
		for _, v := range e.Verdicts {
			texts := v.Notes
			for n := len(v.Reasons) - 1; n >= 0; n-- {
				texts = append([]string{v.Reasons[n].Message}, texts...)
			}
			if len(texts) == 0 {
				texts = []string{"-"}
			}
			row(nodeNames(v, allNodes), orDash(v.Cluster), v.Outcome, texts[0])
			for _, text := range texts[1:] {
				row("", "", "", text)
			}
		}
	})
	for n, note := range e.Notes {
		if n == 0 {
			fmt.Fprintln(w, "\nNotes:")
		}
		fmt.Fprintln(w, "  -", note)
	}
}
