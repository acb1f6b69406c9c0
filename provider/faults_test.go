package provider

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// faults are what was measured of virtual-kubelet v1.13.0, each with the tests that show that it does not exist here.
func faults() map[string][]string {
	return map[string][]string{
		"a deletion that arrives as DeletedFinalStateUnknown is dropped": {
			"TestADeletionThatAWatchMissedIsNotDropped", "testMissedDeletion",
		},
		"one transient error of CreatePod makes a pod fail for good": {"testTroubles"},
		"after 20 tries a pod is forgotten":                          {"TestNoPodIsGivenUp"},
		"all pods share 10 retries a second":                         {"TestPodsDoNotShareDelays"},
		"a delay grows to 1000 s":                                    {"TestBackoffIsCapped"},
		"the remote pod's metadata is sent home":                     {"testHomeMetadata"},
		"all Secrets, ConfigMaps and Services are watched":           {"testReads"},
		"Secrets of an environment become literal values":            {"testSecretsStayReferences"},
		"else, nobody tells what an environment lacks":               {"testLacks"},
		"at the start, remote pods are deleted on the word of the cache": {
			"testCacheIsNotBelieved", "testRestart",
		},
		"a home pod goes when its grace period is over, whatever still runs": {"testDelete"},
		"routes that are attached after authentication lose it":              {"TestNothingIsServedToStrangers"},
		"nodes/proxy is asked for everything":                                {"TestEachRightOpensItsOwnDoors"},
		"the two timeouts of port-forward are swapped": {
			"TestSilentStreamsEnd", "TestNothingIsLeftOfAThousandPortForwards",
		},
		"a heartbeat of the Node is a write of its status": {"testNodeSteady"},
	}
}

// A test that was renamed or is no longer run shows nothing.
func TestEveryFaultHasATestThatRuns(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	declared, mentioned := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		names := map[*ast.Ident]bool{}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				declared[f.Name.Name], names[f.Name] = true, true
			}
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && !names[id] {
				mentioned[id.Name] = true
			}
			return true
		})
	}
	for fault, tests := range faults() {
		for _, test := range tests {
			if !declared[test] || !strings.HasPrefix(test, "Test") && !mentioned[test] {
				t.Errorf("%s: there is no test %s that runs", fault, test)
			}
		}
	}
}

func TestFaultsOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]func(*shop){
		"home metadata is home's":                   testHomeMetadata,
		"only pods are watched":                     testReads,
		"an environment keeps its references":       testSecretsStayReferences,
		"nothing is deleted on the word of a cache": testCacheIsNotBelieved,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(w.shop(t, fmt.Sprintf("shop-%02d", shops.Add(1))))
		})
	}
}

func TestADeletionThatAWatchMissedIsNotDropped(t *testing.T) {
	for name, tell := range map[string]func(*Pods, any){
		"at home":         func(p *Pods, obj any) { p.homeChanged(obj) },
		"at the provider": func(p *Pods, obj any) { p.awayWent("shop", obj) },
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPods(PodsOptions{Origin: "home"})
			defer p.queue.ShutDown()
			pod := build.Pod("web").Namespace("shop").Label("offloading.liqo.io/origin", "home").Obj()
			pod.Annotations = homeUID("1")
			tell(p, cache.DeletedFinalStateUnknown{Key: "shop/web", Obj: pod})
			if n := p.queue.Len(); n != 1 {
				t.Fatalf("%d pods are to be looked at, want 1", n)
			}
			if k, _ := p.queue.Get(); k.String() != "shop/web" {
				t.Errorf("%s is to be looked at", k)
			}
		})
	}
}

// oneName is a queue that has one name whenever it is asked.
type oneName struct {
	delays
	again int
}

func (q *oneName) Get() (key, bool) { return key{Namespace: "shop", Name: "web"}, false }

func (q *oneName) AddAfter(k key, after time.Duration) {
	q.again++
	q.delays.AddAfter(k, after)
}

func TestNoPodIsGivenUp(t *testing.T) {
	const tries = 100
	pod := build.Pod("web").Namespace("shop").UID("1").Node("vn-1").
		Spec(func(s *corev1.PodSpec) { s.RestartPolicy = corev1.RestartPolicyNever }).Obj()
	away := fake.NewClientset()
	var asked int
	away.PrependReactor("create", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		return true, nil, errors.New("connection reset by peer")
	})
	home := fake.NewClientset(pod)
	p := NewPods(PodsOptions{
		Home: home, Away: away, Origin: "home", Destination: provider, Recorder: events.NewFakeRecorder(1000),
	})
	p.queue.ShutDown()
	queue := &oneName{}
	p.queue = queue
	p.nodes["vn-1"] = &node{name: "vn-1", watch: &watch{informer: synced(t, pod)}}
	p.twins["shop"] = &twin{home: "shop", away: "shop-home", phase: twinReady, watch: &watch{informer: synced(t)}}
	for range tries {
		p.next(t.Context())
	}
	if asked != tries || queue.again != tries {
		t.Errorf("of %d tries, %d were made and %d had another after them", tries, asked, queue.again)
	}
	got, err := home.CoreV1().Pods("shop").Get(context.Background(), "web", metav1.GetOptions{})
	if err != nil || got.Status.Phase != "" {
		t.Errorf("the pod is %q: %v", got.Status.Phase, err)
	}
}

// synced is an informer that knows all there is.
func synced(t *testing.T, pods ...*corev1.Pod) cache.SharedIndexInformer {
	t.Helper()
	a := newAsked(t, pods...)
	a.synced = true
	return a
}

func TestPodsDoNotShareDelays(t *testing.T) {
	p := NewPods(PodsOptions{})
	defer p.queue.ShutDown()
	for i := range 10_000 {
		if after := p.limiter.When(key{Name: fmt.Sprint(i)}); after != backoffBase {
			t.Fatalf("pod %d comes back after %s, want %s", i, after, backoffBase)
		}
	}
}

func testHomeMetadata(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	pod := build.Pod("web").Namespace(s.ns).Node(s.node()).Label("app", "web").Annotation("note", "n").Obj()
	pod.Finalizers = []string{"home.example/hold"}
	pod.OwnerReferences = []metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "1", Controller: ptr.To(true)},
	}
	home := must(s.T, s.home.CoreV1().Pods(s.ns).Create, pod)
	away := s.remote(home)
	if len(away.Finalizers)+len(away.OwnerReferences) > 0 || away.UID == home.UID {
		s.Errorf("the remote pod has home's identity: %+v", away.ObjectMeta)
	}
	s.edit(s.away, s.twin, "web", func(pod *corev1.Pod) {
		pod.Labels["theirs"], pod.Annotations["theirs"] = "x", "x"
		pod.Finalizers = []string{"provider.example/hold"}
	})
	s.run(away)
	got := s.phase(home, corev1.PodRunning)
	for _, m := range []*metav1.ObjectMeta{&home.ObjectMeta, &got.ObjectMeta} {
		m.ManagedFields, m.ResourceVersion = nil, ""
	}
	if diff := cmp.Diff(home.ObjectMeta, got.ObjectMeta); diff != "" {
		s.Errorf("a status has changed metadata, -want,+got:\n%s", diff)
	}
	s.edit(s.away, s.twin, "web", func(pod *corev1.Pod) { pod.Finalizers = nil })
	s.edit(s.home, s.ns, "web", func(pod *corev1.Pod) { pod.Finalizers = nil })
}

func testReads(s *shop) {
	var audits []*env.Audit
	for _, plane := range s.planes {
		audit, err := plane.Audit()
		if err != nil {
			s.Fatal(err)
		}
		audits = append(audits, audit)
	}
	p, _ := s.agent(func(o *PodsOptions) {
		o.Home, o.Away = clientset(s.T, s.planes[0], "reads-"+s.ns), clientset(s.T, s.planes[1], "reads-"+s.ns)
	})
	p.TwinReady(s.ns, s.twin)
	s.running("web")
	for i, audit := range audits {
		recorded, err := audit.Events()
		if err != nil {
			s.Fatal(err)
		}
		got := map[string]bool{}
		for _, e := range recorded {
			if e.UserAgent == "reads-"+s.ns && e.ObjectRef != nil && (e.Verb == "list" || e.Verb == "watch") {
				got[e.ObjectRef.Resource] = true
			}
		}
		if diff := cmp.Diff(map[string]bool{"pods": true}, got); diff != "" {
			s.Errorf("plane %d: lists and watches, -want,+got:\n%s", i, diff)
		}
	}
}

func testSecretsStayReferences(s *shop) {
	must(s.T, s.home.CoreV1().Secrets(s.ns).Create, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"key": "canary"},
	})
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	from := &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}, Key: "key",
	}}
	home := must(s.T, s.home.CoreV1().Pods(s.ns).Create, build.Pod("web").Namespace(s.ns).Node(s.node()).
		Spec(func(spec *corev1.PodSpec) {
			spec.Containers[0].Env = []corev1.EnvVar{{Name: "KEY", ValueFrom: from}}
		}).Obj())
	away := s.remote(home)
	want := []corev1.EnvVar{{Name: "KEY", ValueFrom: from}}
	if diff := cmp.Diff(want, away.Spec.Containers[0].Env); diff != "" {
		s.Errorf("-want,+got:\n%s", diff)
	}
}

// testCacheIsNotBelieved has an agent that sees none of the home pods, as after a mistake in its watch, and their
// remote pods.
func testCacheIsNotBelieved(s *shop) {
	p, stop := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	_, away := s.running("web")
	_, orphan := s.running("orphan")
	stop()
	s.deleteHome("orphan", ptr.To[int64](0))
	p, _ = s.agent(nil)
	p.Release(s.node())
	p.TwinReady(s.ns, s.twin)
	s.gone(s.awayPod, orphan) // so it looks at what there is
	s.never("the remote pod of a living pod is deleted", func() error {
		got, err := s.awayPod("web")
		if err == nil && (got.UID != away.UID || got.DeletionTimestamp != nil) {
			return errors.New("it is")
		}
		return err
	})
}
