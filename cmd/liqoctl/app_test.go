package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// stage is liqoctl before a fake cluster.
type stage struct {
	t *testing.T
	// typed is what the human answers; nobody answers when it is empty.
	typed string
	// status is what the controller-manager would say of a namespace that is offloaded.
	status v1beta1.NamespaceOffloadingStatus
	// refusal is what the API server says to a write.
	refusal error
	// keeps is what the API server says to a deletion.
	keeps error
	// stays keeps what is deleted.
	stays bool
	// remade is the UID under which what is deleted is there again at once.
	remade types.UID

	client  client.Client
	applied [][]byte
	deleted []string
}

func newStage(t *testing.T, objects ...client.Object) *stage {
	t.Helper()
	s := &stage{t: t}
	objects = append(objects,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "uid-a"}},
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.SystemNamespace, Name: v1beta1.ClusterIDConfigMap},
			Data:       map[string]string{v1beta1.ClusterIDKey: "a"},
		})
	s.client = fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(objects...).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string {
			return []string{o.(*corev1.Pod).Spec.NodeName}
		}).
		WithInterceptorFuncs(interceptor.Funcs{Get: s.get, Patch: s.patch, Delete: s.delete}).Build()
	return s
}

func (s *stage) get(
	ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption,
) error {
	if err := c.Get(ctx, key, o, opts...); err != nil {
		return err
	}
	if off, ok := o.(*v1beta1.NamespaceOffloading); ok && s.status.OffloadingPhase != "" {
		off.Status = s.status
	}
	return nil
}

func (s *stage) patch(
	ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption,
) error {
	if s.refusal != nil {
		return s.refusal
	}
	data, err := p.Data(o)
	if err != nil {
		return err
	}
	s.applied = append(s.applied, data)
	return c.Patch(ctx, o, p, opts...)
}

func (s *stage) delete(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
	if s.keeps != nil {
		return s.keeps
	}
	s.deleted = append(s.deleted, o.GetNamespace()+"/"+o.GetName())
	if s.stays {
		return nil
	}
	if err := c.Delete(ctx, o, opts...); err != nil || s.remade == "" {
		return err
	}
	anew := o.DeepCopyObject().(client.Object)
	anew.SetUID(s.remade)
	anew.SetResourceVersion("")
	return c.Create(ctx, anew)
}

// run executes a command line and returns its exit code and what it wrote.
func (s *stage) run(args ...string) (code int, out, errOut string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{
		In: strings.NewReader(s.typed), Out: &stdout, Err: &stderr, Interactive: s.typed != "",
		Clock: clocktesting.NewFakePassiveClock(noon),
		Connect: func(string, string, func(string)) (*cluster, error) {
			return &cluster{Client: s.client, Version: func() (string, error) { return "v1.35.4", nil }}, nil
		},
	}
	code = a.run(s.t.Context(), append([]string{"liqoctl"}, args...))
	return code, stdout.String(), stderr.String()
}

// offloadedOn is the status of a namespace that has twins on the clusters.
func offloadedOn(
	phase v1beta1.OffloadingPhase, conditions map[string]v1beta1.ClusterCondition,
) v1beta1.NamespaceOffloadingStatus {
	out := v1beta1.NamespaceOffloadingStatus{
		OffloadingPhase: phase, ObservedGeneration: 1000, RemoteNamespaceName: "shop-a",
		RemoteNamespacesConditions: map[string][]v1beta1.ClusterCondition{},
	}
	for id, condition := range conditions {
		condition.Type = v1beta1.ConditionReady
		out.RemoteNamespacesConditions[id] = []v1beta1.ClusterCondition{condition}
	}
	return out
}

var (
	twinReady  = v1beta1.ClusterCondition{Status: "True", Reason: v1beta1.ReasonNamespaceCreated}
	twinFailed = v1beta1.ClusterCondition{
		Status: "False", Reason: v1beta1.ReasonCreationLoopBackOff, Message: "namespace shop-a is not ours",
	}
)

func TestUsage(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"an unknown command": {[]string{"ofload"}, `unknown command "ofload"; see liqoctl --help`},
		"an unknown command below": {
			[]string{"offload", "pod"}, `unknown command "pod"; see liqoctl offload --help`,
		},
		"an unknown flag": {[]string{"info", "--nope"}, "unknown flag: --nope; see liqoctl info --help"},
		"no namespace":    {[]string{"offload", "namespace"}, "NAME is missing"},
		"two namespaces":  {[]string{"unoffload", "namespace", "a", "b"}, `unexpected argument "b"`},
		"a bad duration": {
			[]string{"offload", "namespace", "shop", "--timeout", "soon"}, `"soon" for "--timeout"`,
		},
		"a bad switch": {
			[]string{"info", "--skip-confirm=maybe"}, `"maybe" for "--skip-confirm" flag: strconv.ParseBool`,
		},
		"a switch that is not there":     {[]string{"unoffload", "namespace", "shop", "--all"}, "unknown flag: --all"},
		"a short flag that is not there": {[]string{"explain", "pod", "x", "-z"}, "unknown shorthand flag: 'z' in -z"},
		"a flag without its value": {[]string{"offload", "namespace", "shop", "-l"}, "flag needs an " +
			"argument: 'l' in -l"},
		"time that runs backwards": {[]string{"offload", "namespace", "shop", "--timeout", "-1s"}, "more than 0"},
		"time without a unit": {[]string{"unoffload", "namespace", "shop", "--timeout", "20"}, "missing " +
			"unit"},
		"no time": {[]string{"offload", "namespace", "shop", "--timeout", "0s"}, "more than 0"},
		"an unknown strategy": {
			[]string{"offload", "namespace", "shop", "--pod-offloading-strategy", "remote"},
			"use LocalAndRemote, Local or Remote",
		},
		"an unknown mapping": {
			[]string{"offload", "namespace", "shop", "--namespace-mapping-strategy", "Foo"},
			"use DefaultName, EnforceSameName or SelectedName",
		},
		"a remote name alone": {
			[]string{"offload", "namespace", "shop", "--remote-namespace-name", "x"},
			"needs --namespace-mapping-strategy SelectedName",
		},
		"no remote name": {
			[]string{"offload", "namespace", "shop", "--namespace-mapping-strategy", "SelectedName"},
			"needs --remote-namespace-name",
		},
		"a bad selector": {
			[]string{"offload", "namespace", "shop", "-l", "a in ("},
			`--selector "a in (": unable to parse requirement`,
		},
		"an empty selector": {[]string{"offload", "namespace", "shop", "-l", ""}, "it is empty"},
		"a bad output": {
			[]string{"offload", "namespace", "shop", "-o", "wide"}, `unknown output format "wide": use yaml or json`,
		},
		"a namespace that is no name": {[]string{"offload", "namespace", "Shop_1"}, `"Shop_1" cannot be a namespace`},
		"a bad output of info":        {[]string{"info", "-o", "text"}, `unknown output format "text"`},
		"peer without a provider":     {[]string{"peer"}, "--remote-kubeconfig is missing"},
		"peer with a bad label": {
			[]string{"peer", "--remote-kubeconfig", "x", "--label", "a"}, `--label "a": write key=value`,
		},
		"peer with a short token": {
			[]string{"peer", "--remote-kubeconfig", "x", "--token-ttl", "1m"}, "10m or more",
		},
		"peer with an agent of one's own making": {
			[]string{"peer", "--remote-kubeconfig", "x", "--agent", "mine"},
			`--agent must be own or shared, not "mine"`,
		},
		"peer without time": {
			[]string{"peer", "--remote-kubeconfig", "x", "--timeout", "0s"}, "more than 0",
		},
		"peer with arguments":           {[]string{"peer", "x"}, `unexpected argument "x"`},
		"unpeer whom":                   {[]string{"unpeer"}, "say which provider"},
		"unpeer half":                   {[]string{"unpeer", "b"}, "--remote-kubeconfig is missing"},
		"unpeer without time":           {[]string{"unpeer", "b", "--force", "--timeout", "0s"}, "more than 0"},
		"unoffload without time":        {[]string{"unoffload", "namespace", "shop", "--timeout", "0s"}, "more than 0"},
		"version of something":          {[]string{"version", "x"}, `unexpected argument "x"`},
		"removing without being asked":  {[]string{"unoffload", "namespace", "shop"}, "repeat with --skip-confirm"},
		"a command group with a flag":   {[]string{"offload", "--all"}, "unknown flag: --all"},
		"info about what is not a peer": {[]string{"info", "node"}, `unknown command "node"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, build.Namespace("shop").Obj(), build.Offloading("shop").Obj())
			code, out, errOut := s.run(tt.args...)
			if code != exitUsage || out != "" {
				t.Errorf("exit code %d, output %q", code, out)
			}
			line := strings.HasPrefix(errOut, "error: ") && strings.Count(errOut, "\n") == 1
			if !line || !strings.Contains(errOut, tt.want) {
				t.Errorf("got %q, want one line with %q", errOut, tt.want)
			}
			if len(s.applied)+len(s.deleted) > 0 {
				t.Error("something was written")
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {}, {"offload"}, {"offload", "namespace", "--help"}, {"peer", "-h"}} {
		code, out, errOut := newStage(t).run(args...)
		if code != exitDone || errOut != "" || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: exit code %d, %q", args, code, errOut)
		}
	}
	a := &app{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
	if code := a.run(t.Context(), []string{"/usr/bin/kubectl-liqo", "--help"}); code != exitDone {
		t.Error("not usable as a plugin")
	}
	if got := a.Out.(*bytes.Buffer).String(); !strings.Contains(got, "kubectl liqo [command]") {
		t.Errorf("the help does not say kubectl liqo:\n%s", got)
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := newStage(t).run("version")
	if code != exitDone || !strings.Contains(out, "liqoctl: ") || !strings.Contains(out, "Kubernetes: v1.35.4") {
		t.Errorf("exit code %d, %q", code, out)
	}
	if _, out, _ = newStage(t).run("version", "--client"); strings.Contains(out, "Kubernetes") {
		t.Errorf("a cluster was asked: %q", out)
	}
}

func TestConfirm(t *testing.T) {
	tests := map[string]struct {
		typed string
		flags []string
		want  int
	}{
		"yes":             {typed: "yes\n", want: exitDone},
		"y":               {typed: "Y\n", want: exitDone},
		"no":              {typed: "n\n", want: exitFailed},
		"just return":     {typed: "\n", want: exitFailed},
		"without newline": {typed: "y", want: exitDone},
		"not asked":       {flags: []string{"--skip-confirm"}, want: exitDone},
		"nobody there":    {want: exitUsage},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, build.Offloading("shop").Obj())
			s.typed = tt.typed
			code, _, errOut := s.run(append([]string{"unoffload", "namespace", "shop"}, tt.flags...)...)
			if code != tt.want {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			if done := len(s.deleted) == 1; done != (tt.want == exitDone) {
				t.Errorf("deleted %q", s.deleted)
			}
		})
	}
}

func TestUnoffload(t *testing.T) {
	t.Run("what is not offloaded", func(t *testing.T) {
		code, _, errOut := newStage(t).run("unoffload", "namespace", "shop", "--skip-confirm")
		if code != exitFailed || !strings.Contains(errOut, `namespace "shop" is not offloaded`) {
			t.Errorf("exit code %d: %s", code, errOut)
		}
	})
	t.Run("what its label would offload again", func(t *testing.T) {
		s := newStage(t, build.Namespace("shop").Label(v1beta1.LabelEnabled, "true").Obj(),
			build.Offloading("shop").Obj())
		code, _, errOut := s.run("unoffload", "namespace", "shop", "--skip-confirm", "--timeout", "600ms")
		want := "error: namespace shop is offloaded by its label and would be again: remove the label first " +
			"(kubectl label namespace shop liqo.io/enabled-)\n"
		if diff := cmp.Diff(want, errOut); code != exitFailed || diff != "" || len(s.deleted) > 0 {
			t.Errorf("exit code %d, deleted %q (-want,+got):\n%s", code, s.deleted, diff)
		}
	})
	t.Run("what somebody offloads anew", func(t *testing.T) {
		old := build.Offloading("shop").Obj()
		old.UID = "old"
		s := newStage(t, build.Namespace("shop").Label(v1beta1.LabelEnabled, "false").Obj(), old)
		s.remade = "new"
		code, _, errOut := s.run("unoffload", "namespace", "shop", "--skip-confirm", "--timeout", "600ms")
		if code != exitDone {
			t.Errorf("exit code %d: %s", code, errOut)
		}
	})
	t.Run("twins that do not go", func(t *testing.T) {
		s := newStage(t, build.Offloading("shop").Obj())
		s.stays = true
		s.status = offloadedOn(v1beta1.PhaseTerminating, map[string]v1beta1.ClusterCondition{
			"b": {Status: "False", Reason: "Terminating", Message: "2 volumes are left"},
		})
		code, _, errOut := s.run("unoffload", "namespace", "shop", "--skip-confirm", "--timeout", "600ms")
		want := "... waiting for twins to go: b: Terminating, 2 volumes are left\n" +
			"error: namespace shop still has twins after 600ms: " +
			"waiting for twins to go: b: Terminating, 2 volumes are left; it goes on by itself, see liqoctl info, " +
			"or leave them behind with --force\n"
		if diff := cmp.Diff(want, errOut); code != exitFailed || diff != "" {
			t.Errorf("exit code %d (-want,+got):\n%s", code, diff)
		}
	})
}

func TestStyledOnlyOnTerminals(t *testing.T) {
	var buf bytes.Buffer
	a := &app{Err: &buf, Styled: true}
	a.warn("x")
	a.Styled = false
	a.progress("WARNING: y")
	a.fail(errors.New("two\nlines"))
	want := "\x1b[33mwarning:\x1b[0m x\nwarning: y\nerror: two; lines\n"
	if diff := cmp.Diff(want, buf.String()); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
