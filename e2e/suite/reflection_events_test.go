package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// R11: what a provider says about remote pods and copies is heard at home, once, about the home objects.
func TestEventsOfAProviderComeHomeOnce(t *testing.T) {
	w := newWorld(t, "tidings")
	w.remoteOn("provider-1")
	there := away("provider-1")
	settings, theirs := configMap(w.ns, "settings", "one"), configMap(w.twin(), "theirs", "one")
	w.create(settings, build.Pod("web").Namespace(w.ns).Obj())
	w.Expect(there.Create(w.ctx, theirs)).To(Succeed())
	pod := w.running(1)[0]
	var copied corev1.ConfigMap
	w.Eventually(func() error { return w.get(there, w.twin(), "settings", &copied) }).Should(Succeed())

	// told returns how often each message from the provider is at home about an object.
	told := func(about client.Object) func() (map[string]int32, error) {
		return func() (map[string]int32, error) {
			var all corev1.EventList
			err := w.home.List(w.ctx, &all, client.InNamespace(w.ns))
			counts := map[string]int32{}
			for _, e := range all.Items {
				if e.InvolvedObject.UID == about.GetUID() && e.ReportingInstance == "provider-1" {
					counts[e.Message] += e.Count
				}
			}
			return counts, err
		}
	}
	say := func(name, kind string, about client.Object) *corev1.Event {
		e := &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.twin(), Name: name},
			InvolvedObject: corev1.ObjectReference{
				APIVersion: "v1", Kind: kind, Namespace: w.twin(), Name: about.GetName(), UID: about.GetUID(),
			},
			Type: corev1.EventTypeNormal, Reason: "Looked", Message: name, Count: 1,
			Source:         corev1.EventSource{Component: "somebody"},
			FirstTimestamp: metav1.Now(), LastTimestamp: metav1.Now(),
		}
		w.Expect(there.Create(w.ctx, e)).To(Succeed())
		return e
	}
	var remote corev1.Pod
	w.Expect(w.get(there, w.twin(), pod.Name, &remote)).To(Succeed())
	say("about-the-pod", "Pod", &remote)
	w.Eventually(told(&pod)).Should(HaveKeyWithValue("provider-1: about-the-pod", BeEquivalentTo(1)))
	w.Expect(told(&pod)()).NotTo(HaveKey(ContainSubstring("assigned")), "home's scheduler has said so already")

	say("about-theirs", "ConfigMap", theirs)
	first := say("about-ours", "ConfigMap", &copied)
	w.Eventually(told(settings)).Should(Equal(map[string]int32{"provider-1: about-ours": 1}))
	first.Count, first.LastTimestamp = 7, metav1.Now()
	w.Expect(there.Update(w.ctx, first)).To(Succeed())
	w.Eventually(told(settings)).Should(Equal(map[string]int32{"provider-1: about-ours": 7}), "it is counted on")

	w.Expect(playground.Kill(w.ctx, env.Consumer, env.AgentOf("provider-1"))).To(Succeed())
	w.Expect(revive(w.ctx, "provider-1")).To(Succeed())
	say("about-ours-again", "ConfigMap", &copied)
	both := map[string]int32{"provider-1: about-ours": 7, "provider-1: about-ours-again": 1}
	w.Eventually(told(settings)).Should(Equal(both))
	w.Consistently(told(settings)).Should(Equal(both), "nothing is told again after a restart")

	var all corev1.EventList
	w.Expect(w.home.List(w.ctx, &all, client.InNamespace(w.ns))).To(Succeed())
	for _, e := range all.Items {
		w.Expect(e.Message).NotTo(ContainSubstring("about-theirs"), "it is about an object that is not ours")
	}
}
