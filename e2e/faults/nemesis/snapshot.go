package nemesis

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

// Look returns what home and the providers of a playground disagree about now, read from their API servers directly.
func Look(e *env.Env) func(context.Context) ([]Complaint, error) {
	return func(ctx context.Context) ([]Complaint, error) {
		clusters := e.Clusters()
		views := make([]View, len(clusters))
		looks, ctx := errgroup.WithContext(ctx)
		for i, c := range clusters {
			looks.Go(func() (err error) {
				views[i], err = view(ctx, c.Name, c.Client(), i == 0)
				return err
			})
		}
		if err := looks.Wait(); err != nil {
			return nil, err
		}
		return Disagreements(views[0], views[1:]), nil
	}
}

// view reads a cluster. Our kinds are at home only.
func view(ctx context.Context, cluster string, c client.Client, home bool) (View, error) {
	var (
		nodes      corev1.NodeList
		namespaces corev1.NamespaceList
		maps       v1beta1.NamespaceMapList
		pods       corev1.PodList
		configMaps corev1.ConfigMapList
		services   corev1.ServiceList
	)
	lists := []client.ObjectList{&pods, &configMaps, &services, &namespaces}
	if home {
		lists = append(lists, &nodes, &maps)
	}
	for _, list := range lists {
		if err := c.List(ctx, list); err != nil {
			return View{}, fmt.Errorf("look at %s: %w", cluster, err)
		}
	}
	return View{
		Cluster: cluster, Nodes: nodes.Items, Namespaces: namespaces.Items, Maps: maps.Items, Pods: pods.Items,
		ConfigMaps: configMaps.Items, Services: services.Items,
	}, nil
}
