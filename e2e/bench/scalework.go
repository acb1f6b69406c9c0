package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// scaleMixture is what a namespace of part scale holds besides pods. Nothing refers to a Secret, so that scope cluster
// watches none.
func scaleMixture() map[string]int {
	return map[string]int{configMaps().resource: 6, services().resource: 2, endpointSlices().resource: 2}
}

func objectsOf(mixture map[string]int) int {
	n := 0
	for _, count := range mixture {
		n += count
	}
	return n
}

// workOf marks the pods of part scale.
const workOf = "bench.twinspace/scale"

// work offloads namespaces with objects and pods to all virtual nodes, and returns when everything is there and runs.
func (f *scaleFleet) work(ctx context.Context) error {
	aliases := f.env.Aliases()
	fmt.Fprintf(os.Stderr, "offloading %d namespaces to %d virtual nodes ...\n", f.opts.namespaces, len(aliases))
	home := f.env.Consumer().Client()
	if err := f.teams.each(ctx, func(ctx context.Context, name string) error {
		return errors.Join(home.Create(ctx, build.Namespace(name).Obj()), f.teams.offload(ctx, name),
			furnishHome(ctx, home, name))
	}); err != nil {
		return fmt.Errorf("offload namespaces: %w", err)
	}
	if err := f.await(ctx, "namespaces are offloaded", f.opts.namespaces, f.teams.ready); err != nil {
		return err
	}
	if err := f.teams.each(ctx, func(ctx context.Context, name string) error {
		return each(len(aliases)*f.opts.pods, func(i int) error {
			return home.Create(ctx, scalePod(name, aliases[i%len(aliases)].Name, i/len(aliases)))
		})
	}); err != nil {
		return fmt.Errorf("make pods: %w", err)
	}
	pods := f.opts.namespaces * f.opts.pods * len(aliases)
	if err := f.await(ctx, "pods run", pods, f.running); err != nil {
		return err
	}
	return f.await(ctx, "objects have copies", f.opts.namespaces*objectsOf(scaleMixture())*len(aliases), f.copies)
}

// furnishHome makes the objects of a namespace.
func furnishHome(ctx context.Context, home client.Client, namespace string) error {
	service := build.Service(namespace, leader)
	service.Spec.Selector = nil
	objects := []client.Object{service}
	for _, s := range specimens() {
		for i := range scaleMixture()[s.resource] {
			objects = append(objects, s.make(metav1.ObjectMeta{Namespace: namespace, Name: specimenName(i)}))
		}
	}
	for _, obj := range objects {
		if err := home.Create(ctx, obj); err != nil {
			return fmt.Errorf("make %s: %w", obj.GetName(), err)
		}
	}
	return nil
}

// scalePod is the i-th pod of a namespace on a virtual node.
func scalePod(namespace, node string, i int) *corev1.Pod {
	return build.Pod(fmt.Sprintf("%s-%d", node, i)).Namespace(namespace).Label(workOf, "true").
		NodeSelector(corev1.LabelHostname, node).Request(corev1.ResourceCPU, "10m").Obj()
}

// await waits until there are so many of something.
func (f *scaleFleet) await(ctx context.Context, what string, want int, count func(context.Context) (int, error)) error {
	got := 0
	err := wait.PollUntilContextTimeout(ctx, 10*poll, roundTimeout, true,
		func(ctx context.Context) (_ bool, err error) {
			got, err = count(ctx)
			return got >= want, err
		})
	if err != nil {
		return fmt.Errorf("%d of %d %s: %w", got, want, what, err)
	}
	return nil
}

// running counts the pods at home that run.
func (f *scaleFleet) running(ctx context.Context) (int, error) {
	var pods corev1.PodList
	if err := f.env.Consumer().Client().List(ctx, &pods, client.HasLabels{workOf}); err != nil {
		return 0, fmt.Errorf("list pods: %w", err)
	}
	n := 0
	for i := range pods.Items {
		if pods.Items[i].Status.Phase == corev1.PodRunning {
			n++
		}
	}
	return n, nil
}

// copies counts the objects of all namespaces that are on the providers, once for each alias.
func (f *scaleFleet) copies(ctx context.Context) (int, error) {
	n := 0
	for _, a := range f.env.Aliases() {
		for _, s := range specimens() {
			if scaleMixture()[s.resource] == 0 {
				continue
			}
			count, err := copiesFrom(ctx, a, s)
			if err != nil {
				return 0, err
			}
			n += count
		}
	}
	return n, nil
}

func copiesFrom(ctx context.Context, a env.Alias, s specimen) (int, error) {
	return copiesOn(ctx, a.Cluster, s, client.MatchingLabels{v1beta1.LabelOrigin: a.HomeID})
}
