package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// namespaceReport is what info says of one namespace.
type namespaceReport struct {
	Name      string `json:"name"`
	Offloaded bool   `json:"offloaded"`
	Strategy  string `json:"strategy,omitempty"`
	Phase     string `json:"phase,omitempty"`
	Message   string `json:"message,omitempty"`
	// Clusters are those that have, or shall have, a twin.
	Clusters []reflectionReport `json:"clusters"`
	// Notes say what could not be read.
	Notes []string `json:"notes,omitempty"`
}

// reflectionReport is a namespace as one provider has it.
type reflectionReport struct {
	Cluster string `json:"cluster"`
	Twin    string `json:"twin,omitempty"`
	Ready   bool   `json:"ready"`
	Message string `json:"message,omitempty"`
	// Kinds is what goes there, and what stays at home.
	Kinds []kindReport `json:"kinds"`
	// Problems are objects that should be there as they are at home and are not; MoreProblems counts those that nobody
	// wrote down.
	Problems     []v1beta1.ReflectionProblem `json:"problems"`
	MoreProblems int32                       `json:"moreProblems,omitempty"`
	// Conditions say the same to those who may not read the NamespaceMap.
	Conditions []string `json:"conditions,omitempty"`
}

// kindReport is how many objects of a kind are reflected, and which are not.
type kindReport struct {
	Resource  string       `json:"resource"`
	Policy    string       `json:"policy"`
	Reflected int          `json:"reflected"`
	AtHome    []stayReport `json:"atHome"`
	// Unknown says why nothing more is known of the kind.
	Unknown string `json:"unknown,omitempty"`
}

// stayReport is an object that stays at home.
type stayReport struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

func (a *app) infoNamespace(output *string) *cobra.Command {
	return &cobra.Command{
		Use:   "namespace NAME",
		Short: "Show, for each cluster, what of a namespace is reflected there, what is not, and why",
		Long: `Show, for each cluster that an offloaded namespace has a twin on, how many objects of each kind are
reflected, which stay at home and why, and which cannot be reflected as they should be.

It reads this cluster only. What is reflected is worked out by the rules of the agent that does it; what goes wrong is
what that agent has written into its NamespaceMap.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(*output); err != nil {
				return err
			}
			home, err := a.home()
			if err != nil {
				return err
			}
			report, err := surveyNamespace(cmd.Context(), home, args[0])
			if err != nil {
				return err
			}
			return a.print(*output, report, report.print)
		},
	}
}

// print writes an object as text or in an output format.
func (a *app) print(output string, object any, text func(io.Writer)) error {
	if output == "" {
		text(a.Out)
		return nil
	}
	body, err := render(object, output)
	if err != nil {
		return err
	}
	_, err = a.Out.Write(body)
	return err
}

// surveyNamespace looks at one namespace. What the user may not read is said, not guessed.
func surveyNamespace(ctx context.Context, c *cluster, name string) (*namespaceReport, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	switch err := c.Get(ctx, client.ObjectKey{Name: name}, namespace); {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no namespace %q", name)
	case err != nil && !apierrors.IsForbidden(err):
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	}
	out := &namespaceReport{Name: name, Clusters: []reflectionReport{}}
	off := &v1beta1.NamespaceOffloading{}
	switch err := c.Get(ctx, client.ObjectKey{Namespace: name, Name: v1beta1.OffloadingName}, off); {
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
		return out, nil
	case err != nil:
		return nil, fmt.Errorf("read the offloading of namespace %s: %w", name, err)
	}
	out.Offloaded, out.Strategy = true, string(off.Spec.PodOffloadingStrategy)
	out.Phase = orPending(string(off.Status.OffloadingPhase))
	if ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady); ready != nil &&
		ready.Status != metav1.ConditionTrue {
		out.Message = ready.Message
	}
	return out, out.clusters(ctx, c, off)
}

func orPending(phase string) string {
	if phase == "" {
		return "Pending"
	}
	return phase
}

// clusters adds those that have to do with the namespace.
func (r *namespaceReport) clusters(ctx context.Context, c *cluster, off *v1beta1.NamespaceOffloading) error {
	var twins v1beta1.NamespaceMapList
	if _, err := r.list(ctx, c, &twins, "list namespacemaps.offloading.liqo.io"); err != nil {
		return err
	}
	var declared v1beta1.VirtualNodeList
	known, err := r.list(ctx, c, &declared, "list virtualnodes.offloading.liqo.io")
	if err != nil {
		return err
	}
	maps := map[string]*v1beta1.NamespaceMap{}
	ids := sets.New[string]()
	for i := range twins.Items {
		m := &twins.Items[i]
		maps[m.Name] = m
		if _, has := m.Status.CurrentMapping[r.Name]; has || m.Spec.DesiredMapping[r.Name] != "" {
			ids.Insert(m.Name)
		}
	}
	for id, conditions := range off.Status.RemoteNamespacesConditions {
		if conditionOf(conditions, v1beta1.ConditionReady) != nil {
			ids.Insert(id)
		}
	}
	contents := &homeContents{home: c, namespace: r.Name}
	if known {
		contents.declared = append([]v1beta1.VirtualNode{}, declared.Items...)
	}
	for _, id := range sets.List(ids) {
		report, err := reportFor(ctx, id, off, maps[id], contents)
		if err != nil {
			return err
		}
		r.Clusters = append(r.Clusters, report)
	}
	r.Notes = append(r.Notes, contents.notes...)
	return nil
}

// list reads what a user may not be allowed to; then there is a note instead.
func (r *namespaceReport) list(
	ctx context.Context, c *cluster, into client.ObjectList, right string,
) (known bool, err error) {
	err = c.List(ctx, into)
	if apierrors.IsForbidden(err) {
		r.Notes = append(r.Notes, "you may not "+right)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", right, err)
	}
	return true, nil
}

// reportFor says what one cluster has of the namespace; m is nil when nobody may read it.
func reportFor(
	ctx context.Context, id string, off *v1beta1.NamespaceOffloading, m *v1beta1.NamespaceMap, contents *homeContents,
) (reflectionReport, error) {
	conditions := off.Status.RemoteNamespacesConditions[id]
	out := reflectionReport{
		Cluster: id, Twin: off.Status.RemoteNamespaceName,
		Kinds: []kindReport{}, Problems: []v1beta1.ReflectionProblem{},
	}
	if ready := conditionOf(conditions, v1beta1.ConditionReady); ready != nil {
		out.Ready = ready.Status == corev1.ConditionTrue
		if !out.Ready {
			out.Message = ready.Reason + ": " + ready.Message
		}
	}
	if m == nil {
		for _, kind := range []string{v1beta1.ConditionConflict, v1beta1.ConditionNotReflected} {
			if c := conditionOf(conditions, kind); c != nil {
				out.Conditions = append(out.Conditions, c.Type+": "+c.Message)
			}
		}
		return out, nil
	}
	if entry, ok := m.Status.CurrentMapping[off.Namespace]; ok && entry.RemoteNamespace != "" {
		out.Twin = entry.RemoteNamespace
	}
	problems := m.Status.Reflection[off.Namespace]
	out.Problems = append(out.Problems, problems.Problems...)
	out.MoreProblems = problems.More
	if !out.Ready {
		return out, nil
	}
	kinds, err := contents.kinds(ctx, id, m.Status.ReflectionPolicies)
	if err != nil {
		return out, err
	}
	out.Kinds = append(out.Kinds, kinds...)
	for i := range out.Kinds {
		out.Kinds[i].subtract(out.Problems)
	}
	return out, nil
}

// subtract counts no objects as reflected that are not there because of a problem.
func (k *kindReport) subtract(problems []v1beta1.ReflectionProblem) {
	for _, problem := range problems {
		switch {
		case problem.Resource != k.Resource || problem.Reason == v1beta1.ProblemConflict:
		case problem.Name == "":
			k.Reflected = 0
		case k.Reflected > 0:
			k.Reflected--
		}
	}
}

func conditionOf(conditions []v1beta1.ClusterCondition, kind string) *v1beta1.ClusterCondition {
	at := slices.IndexFunc(conditions, func(c v1beta1.ClusterCondition) bool { return c.Type == kind })
	if at < 0 {
		return nil
	}
	return &conditions[at]
}

func (r *namespaceReport) print(w io.Writer) {
	if !r.Offloaded {
		fmt.Fprintf(w, "Namespace %s is not offloaded: liqoctl offload namespace %s does that.\n", r.Name, r.Name)
		return
	}
	fmt.Fprintf(w, "Namespace %s: strategy %s, phase %s.\n", r.Name, r.Strategy, r.Phase)
	if r.Message != "" {
		fmt.Fprintln(w, capitalized(r.Message))
	}
	for _, cluster := range r.Clusters {
		fmt.Fprintln(w)
		cluster.print(w)
	}
	for n, note := range r.Notes {
		if n == 0 {
			fmt.Fprintln(w, "\nNotes:")
		}
		fmt.Fprintln(w, "  -", note)
	}
}

func (r *reflectionReport) print(w io.Writer) {
	state := "ready"
	if !r.Ready {
		state = "not ready: " + orDash(r.Message)
	}
	fmt.Fprintf(w, "Cluster %s: twin %s, %s\n", r.Cluster, orDash(r.Twin), state)
	for _, condition := range r.Conditions {
		fmt.Fprintln(w, " ", condition)
	}
	if len(r.Kinds) > 0 {
		r.printKinds(w)
	}
	if len(r.Problems) > 0 {
		table(w, "  not as they should be", []string{"OBJECT", "REASON", "WHY"}, func(row func(...any)) {
			for _, p := range r.Problems {
				row(strings.TrimSuffix(p.Resource+"/"+p.Name, "/"), p.Reason, p.Message)
			}
		})
	}
	if r.MoreProblems > 0 {
		fmt.Fprintf(w, "  and %d more, of which their FailedReflection events tell\n", r.MoreProblems)
	}
}

func (r *reflectionReport) printKinds(w io.Writer) {
	table(w, "  reflected", []string{"KIND", "POLICY", "REFLECTED", "AT HOME"}, func(row func(...any)) {
		for _, k := range r.Kinds {
			if k.Unknown != "" {
				row(k.Resource, k.Policy, "?", k.Unknown)
				continue
			}
			row(k.Resource, k.Policy, k.Reflected, len(k.AtHome))
		}
	})
	if !slices.ContainsFunc(r.Kinds, func(k kindReport) bool { return len(k.AtHome) > 0 }) {
		return
	}
	table(w, "  at home", []string{"KIND", "NAMES", "WHY"}, func(row func(...any)) {
		for _, k := range r.Kinds {
			byWhy := map[string][]string{}
			for _, stay := range k.AtHome {
				byWhy[stay.Why] = append(byWhy[stay.Why], stay.Name)
			}
			for _, why := range slices.Sorted(maps.Keys(byWhy)) {
				row(k.Resource, firstOf(byWhy[why]), why)
			}
		}
	})
}

// namesShown is how many objects of one kind are named that stay at home for the same reason.
const namesShown = 3

func firstOf(names []string) string {
	if len(names) <= namesShown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namesShown], ", "), len(names)-namesShown)
}
