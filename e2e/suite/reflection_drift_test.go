package suite

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// conditionsOn returns the conditions of the namespace's twin on a provider, by type.
func (w *world) conditionsOn(provider string) map[string]v1beta1.ClusterCondition {
	out := map[string]v1beta1.ClusterCondition{}
	for _, c := range w.offloading().Status.RemoteNamespacesConditions[provider] {
		out[c.Type] = c
	}
	return out
}

// meddle edits a copy whenever it is as home wants it, under a name of its own, until it is stopped.
func (w *world) meddle(provider, name string) (stop func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			var live corev1.ConfigMap
			err := away(provider).Get(ctx, client.ObjectKey{Namespace: w.twin(), Name: name}, &live)
			if err == nil && live.Data["key"] != "theirs" {
				live.Data["key"] = "theirs"
				_ = away(provider).Update(ctx, &live, client.FieldOwner("stubborn-operator"))
			}
			return false, nil
		})
	}()
	return func() {
		cancel()
		<-done
	}
}

// R4, R5: what others do to copies, or have in their place, can be read at home, and is not there any more when it is
// over.
func TestWhoStandsInTheWayOfReflectionIsNamedAtHome(t *testing.T) {
	w := newWorld(t, "dispute")
	w.remote()
	foreign := configMap(w.twin(), "taken", "theirs")
	w.Expect(away("provider-2").Create(w.ctx, foreign)).To(Succeed())
	w.create(configMap(w.ns, "taken", "ours"), configMap(w.ns, "settings", "ours"), configMap(w.ns, "kept", "ours"))
	kept := configMap(w.ns, "kept", "ours")
	kept.Annotations = map[string]string{v1beta1.AnnotationSkipReflection: ""}
	w.Expect(w.home.Update(w.ctx, kept)).To(Succeed())
	w.Eventually(func() error { return w.get(away("provider-1"), w.twin(), "settings", &corev1.ConfigMap{}) }).
		Should(Succeed())
	stop := w.meddle("provider-1", "settings")
	defer stop()

	w.Eventually(func() v1beta1.ClusterCondition { return w.conditionsOn("provider-1")[v1beta1.ConditionConflict] }).
		Should(And(HaveField("Reason", "Conflict"), HaveField("Message", And(
			ContainSubstring("configmaps/settings: "), ContainSubstring("stubborn-operator keeps changing it")))))
	w.Eventually(func() v1beta1.ClusterCondition { return w.conditionsOn("provider-2")[v1beta1.ConditionConflict] }).
		Should(And(HaveField("Reason", "NameTaken"), HaveField("Message", ContainSubstring("configmaps/taken: "))))
	w.Expect(w.conditionsOn("provider-2")).NotTo(HaveKey(v1beta1.ConditionNotReflected))
	w.Expect(w.offloading().Status.OffloadingPhase).To(Equal(v1beta1.PhaseReady), "the twins are there")

	out, code := w.liqoctl("info", "namespace", w.ns)
	w.Expect(code).To(Equal(0), out)
	w.Expect(out).To(MatchRegexp(`configmaps/settings +Conflict +.*stubborn-operator keeps changing it`))
	w.Expect(out).To(MatchRegexp(`configmaps/taken +NameTaken +.*not ours`))
	w.Expect(out).To(MatchRegexp(`configmaps +kept +annotation liqo.io/skip-reflection asks for it`))
	w.Expect(out).To(MatchRegexp(`secrets +Referenced`))
	out, code = w.liqoctl("info")
	w.Expect(code).To(Equal(0), out)
	w.Expect(out).To(ContainSubstring("of namespace dispute not all is reflected as it should be: " +
		"Conflict on provider-1, Conflict on provider-2"))

	stop()
	w.Expect(away("provider-2").Delete(w.ctx, foreign)).To(Succeed())
	for _, provider := range providers() {
		w.Eventually(func() map[string]v1beta1.ClusterCondition { return w.conditionsOn(provider) }).
			WithTimeout(contested).ShouldNot(HaveKey(v1beta1.ConditionConflict), provider)
		var m v1beta1.NamespaceMap
		w.Expect(w.get(w.home, v1beta1.TenantNamespace(provider), provider, &m)).To(Succeed())
		w.Expect(m.Status.Reflection).NotTo(HaveKey(w.ns))
	}
	var settings corev1.ConfigMap
	w.Expect(w.get(away("provider-1"), w.twin(), "settings", &settings)).To(Succeed())
	w.Expect(settings.Data).To(HaveKeyWithValue("key", "ours"))
}
