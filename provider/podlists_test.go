package provider

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/virtual-kubelet/virtual-kubelet/node/api"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// The lists of the kubelet API: what is bound to the Node, and what of it runs.
func TestPodLists(t *testing.T) {
	on := func(name string) *build.PodBuilder { return build.Pod(name).Namespace("shop").UID(name).Node("vn-1") }
	leaving := on("leaving").Obj()
	leaving.DeletionTimestamp = ptr.To(metav1.Now())
	homes := []*corev1.Pod{
		on("runs").Phase(corev1.PodRunning).Obj(), on("waits").Phase(corev1.PodPending).Obj(),
		on("done").Phase(corev1.PodSucceeded).Obj(), on("successor").Obj(), leaving,
	}
	target := translate.Target{Origin: "home", Destination: provider, Node: "vn-1", Namespace: "shop-a"}
	var remotes []*corev1.Pod
	for _, home := range homes {
		if home.Name == "waits" {
			continue
		}
		remote := target.Pod(home)
		if home.Name == "successor" {
			remote.Annotations = homeUID("another")
		}
		remotes = append(remotes, remote)
	}
	home, away := newAsked(t, homes...), newAsked(t, remotes...)
	home.synced, away.synced = true, true
	p := NewPods(PodsOptions{Origin: "home", Destination: provider})
	defer p.queue.ShutDown()
	p.nodes["vn-1"] = &node{name: "vn-1", watch: &watch{informer: home}}
	p.twins["shop"] = &twin{home: "shop", away: "shop-a", phase: twinReady, watch: &watch{informer: away}}

	routes := api.PodHandler(api.PodHandlerConfig{GetPods: p.executed, GetPodsFromKubernetes: p.bound}, true)
	for path, want := range map[string][]string{
		"/pods":         {"done", "leaving", "runs", "successor", "waits"},
		"/runningpods/": {"runs"},
	} {
		t.Run(path, func(t *testing.T) {
			var list corev1.PodList
			answer := httptest.NewRecorder()
			routes.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, http.NoBody))
			body, err := io.ReadAll(answer.Result().Body)
			if err = errors.Join(err, json.Unmarshal(body, &list)); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			var got []string
			for _, pod := range list.Items {
				got = append(got, pod.Name)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestAListThatWouldLackPodsIsRefused(t *testing.T) {
	p := NewPods(PodsOptions{})
	defer p.queue.ShutDown()
	p.nodes["vn-1"] = &node{name: "vn-1", watch: &watch{informer: newAsked(t)}}
	for name, list := range map[string]api.PodListerFunc{"/pods": p.bound, "/runningpods": p.executed} {
		if _, err := list(t.Context()); !errors.Is(err, errNotListed) {
			t.Errorf("%s: want %v, got %v", name, errNotListed, err)
		}
	}
}
