package provider

import (
	"fmt"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	clientgotesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// tokensOf is a home pod that asks for n tokens.
func tokensOf(n int) *corev1.Pod {
	var sources []corev1.VolumeProjection
	for i := range n {
		sources = append(sources, corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Path: fmt.Sprintf("t%d", i), Audience: fmt.Sprintf("audience-%d", i)}})
	}
	return build.Pod("web").Namespace("shop").UID("1").Node("vn-1").Phase(corev1.PodRunning).
		Annotation(v1beta1.AnnotationAPIServerSupport, v1beta1.APIServerSupportHome).
		Spec(func(spec *corev1.PodSpec) {
			spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: sources}}}}
		}).Obj()
}

func TestHowManyTokensAPodGets(t *testing.T) {
	for name, tc := range map[string]struct {
		asks, gets  int
		wantRefusal string
	}{
		"as many as allowed": {asks: 8, gets: 8},
		"one more": {
			asks: 9, wantRefusal: "the pod asks for 9 different tokens of home, and gets 8 at most",
		},
	} {
		t.Run(name, func(t *testing.T) {
			home, away, access := fake.NewClientset(), fake.NewClientset(), translate.Access{Host: "home", Port: "6443"}
			given := 0
			home.PrependReactor("create", "serviceaccounts",
				func(clientgotesting.Action) (bool, runtime.Object, error) {
					given++
					return true, &authenticationv1.TokenRequest{
						Status: authenticationv1.TokenRequestStatus{Token: "secret"}}, nil
				})
			p := NewPods(PodsOptions{Home: home, Away: away, Origin: "home", Access: access})
			t.Cleanup(p.queue.ShutDown)
			tokens := NewTokens(p, clocktesting.NewFakeClock(time.Now()))
			t.Cleanup(tokens.queue.ShutDown)
			w := &work{
				facts: facts{home: tokensOf(tc.asks)}, space: twin{away: "shop-a"},
				target: translate.Target{Access: access},
			}
			refusal, err := p.prepare(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			if refusal != tc.wantRefusal || given != tc.gets {
				t.Errorf("home was asked for %d tokens; refusal %q", given, refusal)
			}
			secrets, err := away.CoreV1().Secrets("shop-a").List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for i := range secrets.Items {
				got += len(secrets.Items[i].Data)
			}
			if got != tc.gets {
				t.Errorf("the twin has %d tokens, want %d", got, tc.gets)
			}
		})
	}
}

func TestWhatWasToldAboutAPodIsForgottenWithIt(t *testing.T) {
	const refusal = "no"
	work := func(t *testing.T, tokens *Tokens) {
		t.Helper()
		for tokens.queue.Len() > 0 {
			h, _ := tokens.queue.Get()
			tokens.queue.Done(h)
			if h.uid == "" {
				continue // looks for what earlier runs have left
			}
			if _, err := tokens.reconcile(t.Context(), h); err != nil {
				t.Error(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		happens func(*testing.T, *Tokens, *corev1.Pod)
		want    map[types.UID]string
	}{
		"it finishes, and never had a token": {
			happens: func(t *testing.T, tokens *Tokens, pod *corev1.Pod) {
				pod.Status.Phase = corev1.PodSucceeded
				tokens.podChanged(pod)
				work(t, tokens)
			},
		},
		"it goes while nobody can see what is in the twin": {
			happens: func(t *testing.T, tokens *Tokens, pod *corev1.Pod) {
				tokens.TwinReady("shop", "shop-a")
				tokens.pods.released = true // so all pods are known: none
				tokens.podChanged(pod)
				work(t, tokens)
			},
		},
		"nobody knows yet whether it is there": {
			happens: func(t *testing.T, tokens *Tokens, pod *corev1.Pod) {
				tokens.TwinReady("shop", "shop-a")
				tokens.podChanged(pod)
				work(t, tokens)
			},
			want: map[types.UID]string{"1": refusal},
		},
		"its remote pod is made anew": {
			happens: func(t *testing.T, tokens *Tokens, pod *corev1.Pod) {
				pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
				away := tokens.pods.opts.Away
				empty := coreinformers.NewFilteredSecretInformer(away, "shop-a", 0, cache.Indexers{}, nil)
				if _, err := tokens.keep(t.Context(), &tokenTwin{informer: empty}, pod); err != nil {
					t.Error(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPods(PodsOptions{
				Home: fake.NewClientset(), Away: fake.NewClientset(), Origin: "home",
				Recorder: events.NewFakeRecorder(10), Access: translate.Access{Host: "home", Port: "6443"},
			})
			t.Cleanup(p.queue.ShutDown)
			tokens, pod := NewTokens(p, clocktesting.NewFakeClock(time.Now())), tokensOf(1)
			t.Cleanup(tokens.queue.ShutDown)
			tokens.tell(pod, refusal)
			tc.happens(t, tokens, pod)
			if len(tokens.told) != len(tc.want) || tokens.told[pod.UID] != tc.want[pod.UID] {
				t.Errorf("want %v, got %v", tc.want, tokens.told)
			}
		})
	}
}
