package suite

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

// C1: exit codes, and one line that says what is wrong and what to do.
func TestTheCommandLineRefusesWhatItCannotDo(t *testing.T) {
	w := newWorld(t, "commands")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"an unknown flag": {[]string{"offload", "namespace", w.ns, "--nope"}, 2, "unknown flag: --nope"},
		"an unknown strategy": {
			[]string{"offload", "namespace", w.ns, "--pod-offloading-strategy", "remote"}, 2, "LocalAndRemote",
		},
		"a bad selector":      {[]string{"offload", "namespace", w.ns, "-l", "a in ("}, 2, "a in ("},
		"no namespace":        {[]string{"offload", "namespace"}, 2, "NAME"},
		"a missing namespace": {[]string{"offload", "namespace", "nowhere"}, 1, "nowhere"},
		"a missing kubeconfig of the provider": {
			[]string{"peer", "--remote-kubeconfig", "/does/not/exist"}, 1, "/does/not/exist",
		},
		"peering with oneself": {
			[]string{"peer", "--remote-kubeconfig", playground.Consumer().Kubeconfig}, 1, "itself",
		},
		"a name too long": {
			[]string{
				"offload", "namespace", w.ns, "--namespace-mapping-strategy", "SelectedName",
				"--remote-namespace-name", strings.Repeat("x", 64),
			}, 1, "63",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			out, code := w.liqoctl(test.args...)
			g.Expect(code).To(Equal(test.code), out)
			g.Expect(out).To(ContainSubstring(test.says))
		})
	}
	w.Expect(w.get(w.home, w.ns, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})).
		To(MatchError(notFound, "not found"), "nothing was half applied")
}

// C1: what -o prints is what is applied.
func TestWhatOffloadPrintsIsWhatItApplies(t *testing.T) {
	w := newWorld(t, "printed")
	args := []string{"--pod-offloading-strategy", "Remote", "-l", "liqo.io/provider=provider-1"}
	out, code := w.liqoctl(append([]string{"offload", "namespace", w.ns, "-o", "yaml"}, args...)...)
	w.Expect(code).To(Equal(0), out)
	var printed v1beta1.NamespaceOffloading
	w.Expect(yaml.UnmarshalStrict([]byte(out), &printed)).To(Succeed())
	w.Expect(w.get(w.home, w.ns, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})).
		To(MatchError(notFound, "not found"), "it applies nothing")

	w.offload(args...)
	printed.Spec.PodEvictionStrategy = v1beta1.EvictNever // liqoctl leaves it to its owner; this is the default
	w.Expect(w.offloading().Spec).To(Equal(printed.Spec))
}

func TestInfoShowsThePeeringsAndTheOffloadedNamespaces(t *testing.T) {
	w := newWorld(t, "shown")
	w.offload()
	out, code := w.liqoctl("info")
	w.Expect(code).To(Equal(0), out)
	for _, want := range []string{env.Consumer, "provider-1", "provider-2", w.ns, "Ready"} {
		w.Expect(out).To(ContainSubstring(want))
	}
	out, code = w.liqoctl("info", "peer", "provider-1")
	w.Expect(code).To(Equal(0), out)
	w.Expect(out).To(ContainSubstring("provider-1"))
	w.Expect(out).NotTo(ContainSubstring("provider-2"))
}
