package suite

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// I11: what is in a Secret shows up in no log however much is logged, in no other object, no metric and no argument
// list; nor does the token that is our key to the provider. In a playground of its own, since it logs a lot.
func TestASecretShowsUpNowhere(t *testing.T) {
	root, err := env.RepositoryRoot()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	own := env.Start(t, env.Options{
		Ours: raced(root), Providers: 1, Nodes: 1, Peer: true, Agent: []string{"-v=10"}, Manager: []string{"-v=10"},
	})
	w := &world{WithT: NewWithT(t), t: t, ctx: t.Context(), home: own.Consumer().Client(), ns: "canary"}
	w.SetDefaultEventuallyTimeout(later)
	w.SetDefaultEventuallyPollingInterval(poll)
	there := own.Providers()[0].Client()
	w.create(build.Namespace(w.ns).Obj())
	w.remote()

	birds := canaries{}
	hide := func(s *corev1.Secret, why string) *corev1.Secret {
		s.Data["key"] = []byte(birds.new(why))
		return s
	}
	w.create(hide(secret(w.ns, "variable", ""), "a variable"), hide(secret(w.ns, "volume", ""), "a volume"),
		hide(secret(w.ns, "taken", ""), "a name that is taken"),
		hide(secret(w.ns, "frozen", ""), "what is replaced"))
	w.Expect(there.Create(w.ctx, secret(w.twin(), "taken", "theirs"))).To(Succeed())
	w.create(build.Pod("web").Namespace(w.ns).Spec(func(s *corev1.PodSpec) {
		s.Containers[0].Env = []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "variable"}, Key: "key",
			},
		}}}
		for _, name := range []string{"volume", "taken", "frozen"} {
			s.Volumes = append(s.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
				Secret: &corev1.SecretVolumeSource{SecretName: name},
			}})
		}
	}).Obj())
	w.running(1)
	arrives := func(name, value string) {
		w.Eventually(func() (string, error) {
			var s corev1.Secret
			err := w.get(there, w.twin(), name, &s)
			return string(s.Data["key"]), err
		}).Should(Equal(value))
	}
	// Each way to write: create, patch, replace, repair, delete; and a foreign object that is only looked at.
	next := hide(secret(w.ns, "volume", ""), "a change")
	w.Expect(w.home.Update(w.ctx, next)).To(Succeed())
	arrives("volume", string(next.Data["key"]))
	frozen := hide(secret(w.ns, "frozen", ""), "a replacement")
	frozen.Immutable = ptr.To(true)
	w.Expect(w.home.Update(w.ctx, frozen)).To(Succeed())
	arrives("frozen", string(frozen.Data["key"]))
	w.Expect(there.Update(w.ctx, func() *corev1.Secret {
		var s corev1.Secret
		w.Expect(w.get(there, w.twin(), "volume", &s)).To(Succeed())
		s.Data["key"] = []byte(birds.new("what somebody else wrote"))
		return &s
	}())).To(Succeed())
	arrives("volume", string(next.Data["key"]))
	w.Eventually(func() (string, error) {
		var all corev1.EventList
		err := w.home.List(w.ctx, &all, client.InNamespace(w.ns))
		return fmt.Sprint(all.Items), err
	}).Should(ContainSubstring("FailedReflection"))
	w.deleted(secret(w.ns, "volume", ""))
	w.Eventually(func() error { return w.get(there, w.twin(), "volume", &corev1.Secret{}) }).
		Should(MatchError(notFound, "not found"))
	birds["our key to the provider"] = []string{w.key(own.Providers()[0].Name)}

	for name, text := range w.everything(own) {
		for why, forms := range birds {
			for _, form := range forms {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("the content of %s is in %s: ...%q...", why, name, text[max(0, at-200):at])
				}
			}
		}
	}
	for _, component := range []string{env.Manager, env.AgentOf(own.Providers()[0].Name)} {
		path, err := own.LogPath(env.Consumer, component)
		w.Expect(err).NotTo(HaveOccurred())
		log, err := os.ReadFile(path)
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(string(log)).To(ContainSubstring("Verbosity is limited"), "%s was asked to log all", component)
	}
}

// canaries are strings that are nowhere else, in the forms in which they could be seen, by what they are the content
// of.
type canaries map[string][]string

// new returns a canary that can be told by any 13 of its characters: dumps of binary messages have 16 in a row.
func (c canaries) new(why string) string {
	unit := "cAn" + string(uuid.NewUUID())[:4]
	bird := strings.Repeat(unit, 6)
	c[why] = []string{unit, base64.StdEncoding.EncodeToString([]byte(bird))}
	return bird
}

// key returns the token with which the agent acts on a provider.
func (w *world) key(provider string) string {
	w.t.Helper()
	var vn v1beta1.VirtualNode
	w.Expect(w.get(w.home, v1beta1.TenantNamespace(provider), provider, &vn)).To(Succeed())
	var s corev1.Secret
	w.Expect(w.get(w.home, vn.Namespace, vn.Spec.KubeconfigSecretRef.Name, &s)).To(Succeed())
	config, err := clientcmd.RESTConfigFromKubeConfig(s.Data[v1beta1.KubeconfigKey])
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(config.BearerToken).NotTo(BeEmpty())
	return config.BearerToken
}

// everything is what a playground shows to those who may not read Secrets: all logs, all other objects, all metrics of
// ours and all command lines.
func (w *world) everything(own *env.Env) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	logs, err := filepath.Glob(filepath.Join(own.Dir(), "*", "*.log"))
	w.Expect(err).NotTo(HaveOccurred())
	for _, path := range logs {
		text, err := os.ReadFile(path)
		w.Expect(err).NotTo(HaveOccurred())
		out["log "+strings.TrimPrefix(path, own.Dir())] = string(text)
	}
	for _, p := range own.Processes() {
		raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "cmdline"))
		w.Expect(err).NotTo(HaveOccurred())
		out["arguments of "+p.Component+" of "+p.Cluster] = string(bytes.ReplaceAll(raw, []byte{0}, []byte(" ")))
		if p.Component == env.Manager || strings.HasPrefix(p.Component, env.Agent) {
			text, err := own.Cluster(p.Cluster).Metrics(w.ctx, p.Component)
			w.Expect(err).NotTo(HaveOccurred())
			out["metrics of "+p.Component] = text
		}
	}
	for _, c := range own.Clusters() {
		for kind, text := range w.objects(c) {
			out["objects of "+c.Name+": "+kind] = text
		}
	}
	w.Expect(out).To(HaveKey("objects of provider-1: Pod"), "something was looked at")
	return out
}

// objects are all of a cluster but its Secrets, by kind.
func (w *world) objects(c *env.Cluster) map[string]string {
	w.t.Helper()
	d, err := discovery.NewDiscoveryClientForConfig(c.Config())
	w.Expect(err).NotTo(HaveOccurred())
	lists, err := d.ServerPreferredResources()
	w.Expect(err).NotTo(HaveOccurred())
	out := map[string]string{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		w.Expect(err).NotTo(HaveOccurred())
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || resource.Kind == "Secret" {
				continue
			}
			var all unstructured.UnstructuredList
			all.SetGroupVersionKind(version.WithKind(resource.Kind + "List"))
			w.Expect(c.Client().List(context.Background(), &all)).To(Succeed(), resource.Kind)
			text, err := all.MarshalJSON()
			w.Expect(err).NotTo(HaveOccurred())
			out[resource.Kind] += string(text)
		}
	}
	return out
}
