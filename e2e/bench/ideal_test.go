package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/e2e/build"
)

func TestTheIdealLoopDoesNoMoreThanItMust(t *testing.T) {
	pod := func(namespace string, phase corev1.PodPhase, leaves bool) *corev1.Pod {
		p := build.Pod("web").Namespace(namespace).Phase(phase).Obj()
		if leaves {
			p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}
		return p
	}
	here := func(phase corev1.PodPhase, leaves bool) *corev1.Pod { return pod("shop", phase, leaves) }
	there := func(phase corev1.PodPhase, leaves bool) *corev1.Pod { return pod("shop"+idealSuffix, phase, leaves) }
	for name, test := range map[string]struct {
		home, away *corev1.Pod
		want       []string
	}{
		"nothing is there":     {},
		"a pod came":           {home: here("Pending", false), want: []string{"away create pods"}},
		"the remote pod waits": {home: here("Pending", false), away: there("Pending", false)},
		"the remote pod runs": {
			here("Pending", false), there("Running", false), []string{"home patch pods/status"},
		},
		"both run":                  {home: here("Running", false), away: there("Running", false)},
		"the pod shall go":          {here("Running", true), there("Running", false), []string{"away delete pods"}},
		"both go":                   {home: here("Running", true), away: there("Running", true)},
		"the remote pod has gone":   {home: here("Running", true), want: []string{"home delete pods"}},
		"the pod has gone by force": {away: there("Running", false), want: []string{"away delete pods"}},
		"the remote pod follows it": {away: there("Running", true)},
	} {
		t.Run(name, func(t *testing.T) {
			home, away := fake.NewClientset(), fake.NewClientset()
			l := &idealLoop{
				home: home, away: away,
				homePods: coreinformers.NewPodInformer(home, "", 0, cache.Indexers{}),
				theirs:   coreinformers.NewPodInformer(away, "", 0, cache.Indexers{}),
			}
			for informer, pod := range map[cache.SharedIndexInformer]*corev1.Pod{
				l.homePods: test.home, l.theirs: test.away,
			} {
				if pod != nil {
					if err := informer.GetIndexer().Add(pod); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := l.step(t.Context(), cache.NewObjectName("shop", "web")); err != nil {
				t.Fatal(err)
			}
			var did []string
			for where, c := range map[string]*fake.Clientset{"home": home, "away": away} {
				for _, a := range c.Actions() {
					what := a.GetResource().Resource
					if a.GetSubresource() != "" {
						what += "/" + a.GetSubresource()
					}
					did = append(did, where+" "+a.GetVerb()+" "+what)
				}
			}
			if diff := cmp.Diff(test.want, did); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}
