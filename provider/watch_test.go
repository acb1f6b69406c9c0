package provider

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/watching"
)

// asked is an informer that counts what it is asked.
type asked struct {
	cache.SharedIndexInformer
	indexer *askedIndexer
	synced  bool
	syncs   int
}

func (a *asked) GetIndexer() cache.Indexer { return a.indexer }
func (a *asked) GetStore() cache.Store     { return a.indexer }

func (a *asked) HasSynced() bool {
	a.syncs++
	return a.synced
}

type askedIndexer struct {
	cache.Indexer
	lists int
}

func (a *askedIndexer) List() []any {
	a.lists++
	return a.Indexer.List()
}

func newAsked(t *testing.T, pods ...*corev1.Pod) *asked {
	t.Helper()
	a := &asked{indexer: &askedIndexer{Indexer: cache.NewIndexer(cache.MetaNamespaceKeyFunc, byNamespace())}}
	for _, pod := range pods {
		if err := a.indexer.Add(pod); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// What happens to one namespace happens often, and must not cost a walk over the pods of all.
func TestWakingANamespaceReadsOnlyIts(t *testing.T) {
	home := newAsked(t, build.Pod("web").Namespace("shop").Obj(), build.Pod("till").Namespace("bank").Obj())
	away := newAsked(t, build.Pod("old").Namespace("shop-a").Obj())
	p := NewPods(PodsOptions{})
	defer p.queue.ShutDown()
	p.nodes["vn-1"] = &node{name: "vn-1", watch: &watch{informer: home}}
	p.nodes["vn-2"] = &node{name: "vn-2"} // its watch could not begin
	p.twins["shop"] = &twin{home: "shop", watch: &watch{informer: away}}
	p.twins["bank"] = &twin{home: "bank"}
	p.Wake("shop")
	got := map[string]bool{}
	for range p.queue.Len() {
		k, _ := p.queue.Get()
		got[k.String()] = true
	}
	if diff := cmp.Diff(map[string]bool{"shop/web": true, "shop/old": true}, got); diff != "" {
		t.Errorf("woken (-want,+got):\n%s", diff)
	}
	if home.indexer.lists > 0 {
		t.Error("all pods of the Node were listed")
	}
}

func TestASyncedWatchIsNotAskedAgain(t *testing.T) {
	a := newAsked(t)
	w := &watch{informer: a}
	if w.hasSynced() || (*watch)(nil).hasSynced() {
		t.Error("it has synced before its informer")
	}
	a.synced = true
	for range 3 {
		if !w.hasSynced() {
			t.Error("it has not synced")
		}
	}
	if a.syncs != 2 {
		t.Errorf("its informer was asked %d times", a.syncs)
	}
}

func TestAWatchOfPodsDoesNotEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependWatchReactor("pods", func(clienttesting.Action) (bool, apiwatch.Interface, error) {
			stream := apiwatch.NewFake()
			stream.Stop() // its connection has ended
			return true, stream, nil
		})
		p := NewPods(PodsOptions{})
		defer p.queue.ShutDown()
		o := watchOptions{client: client, namespace: "shop", tweak: func(*metav1.ListOptions) {}}
		begun := time.Now()
		pods := cache.ToListerWatcherWithContext(p.listWatch(o))
		stream, err := pods.WatchWithContext(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Stop()
		for range stream.ResultChan() {
			t.Error("it brought something")
		}
		if took := time.Since(begun); took != watching.ShortestWatch {
			t.Errorf("it ended after %s", took)
		}
	})
}

// client-go's reflector would ask less and less often, up to once in a minute.
func TestAWatchOfPodsThatCannotBeginIsTriedEveryFewSeconds(t *testing.T) {
	const refused = 24 // of which the last comes after RefusalPatience, also if all pauses happen to be short
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		asked := 0
		client.PrependWatchReactor("pods", func(clienttesting.Action) (bool, apiwatch.Interface, error) {
			if asked++; asked <= refused {
				return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("not yet"))
			}
			return true, apiwatch.NewFake(), nil
		})
		metrics := NewMetrics(prometheus.NewRegistry())
		p := NewPods(PodsOptions{Metrics: metrics})
		defer p.queue.ShutDown()
		o := watchOptions{client: client, namespace: "shop", tweak: func(*metav1.ListOptions) {}}
		begun := time.Now()
		pods := cache.ToListerWatcherWithContext(p.listWatch(o))
		stream, err := pods.WatchWithContext(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stream.Stop()
		if took := time.Since(begun); took > refused*5*time.Second {
			t.Errorf("it began after %s", took)
		}
		if testutil.ToFloat64(metrics.failures) == 0 {
			t.Error("a refusal that lasts was not counted")
		}
	})
}
