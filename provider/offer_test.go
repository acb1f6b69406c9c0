package provider

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
)

func worker(name, arch string, change func(*corev1.Node)) *corev1.Node {
	n := build.Node(name)
	n.Status.Capacity = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("3500m")}
	n.Status.NodeInfo = corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: arch}
	if change != nil {
		change(n)
	}
	return n
}

func TestOfferOf(t *testing.T) {
	cpus := func(s string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(s)}
	}
	for name, tc := range map[string]struct {
		nodes []*corev1.Node
		want  Offer
	}{
		"no nodes": {nil, Offer{OS: "linux", Arch: "amd64"}},
		"two nodes": {
			[]*corev1.Node{worker("a", "arm64", nil), worker("b", "arm64", nil)},
			Offer{OS: "linux", Arch: "arm64", Capacity: cpus("8"), Allocatable: cpus("7")},
		},
		"those that take no pods do not count": {
			[]*corev1.Node{
				worker("a", "arm64", nil),
				worker("cordoned", "amd64", func(n *corev1.Node) { n.Spec.Unschedulable = true }),
				worker("broken", "amd64",
					func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown }),
				worker("silent", "amd64", func(n *corev1.Node) { n.Status.Conditions = nil }),
				worker("leaving", "amd64", func(n *corev1.Node) { n.DeletionTimestamp = ptr.To(metav1.Now()) }),
			},
			Offer{OS: "linux", Arch: "arm64", Capacity: cpus("4"), Allocatable: cpus("3500m")},
		},
		"most nodes decide": {
			[]*corev1.Node{worker("a", "amd64", nil), worker("b", "arm64", nil), worker("c", "arm64", nil)},
			Offer{OS: "linux", Arch: "arm64", Capacity: cpus("12"), Allocatable: cpus("10500m")},
		},
		"a tie does not flap": {
			[]*corev1.Node{worker("a", "s390x", nil), worker("b", "arm64", nil)},
			Offer{OS: "linux", Arch: "arm64", Capacity: cpus("8"), Allocatable: cpus("7")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var kept []*corev1.Node
			for _, n := range tc.nodes {
				slim, err := onlyOffer(n.DeepCopy())
				if err != nil {
					t.Fatal(err)
				}
				kept = append(kept, slim.(*corev1.Node))
			}
			if got := offerOf(kept); !equality.Semantic.DeepEqual(tc.want, got) {
				t.Errorf("-want,+got:\n%s", cmp.Diff(tc.want, got))
			}
		})
	}
}

func TestOffersFollowTheNodes(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	away := fake.NewClientset(worker("a", "arm64", nil))
	o := NewOffers(away, provider)
	heard := make(chan Offer, 10)
	o.Notify(func() {
		offer, _ := o.Current()
		heard <- offer
	})
	if _, known := o.Current(); known {
		t.Error("something is offered before anything is known")
	}
	done := make(chan error, 1)
	go func() { done <- o.Start(ctx) }()
	for _, want := range []string{"3500m", "7"} {
		if got := <-heard; got.Allocatable.Cpu().Cmp(resource.MustParse(want)) != 0 {
			t.Errorf("want %s cpus, got %v", want, got.Allocatable)
		}
		if want == "3500m" {
			must(t, away.CoreV1().Nodes().Create, worker("b", "arm64", nil))
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
