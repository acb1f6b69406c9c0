package workload

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Seen is what clusters have, as far as something may be expected of it.
type Seen struct {
	Home View
	// Away is by provider.
	Away map[string]View
}

// View is what one cluster has.
type View struct {
	Namespaces     []corev1.Namespace
	Offloadings    []v1beta1.NamespaceOffloading
	Deployments    []appsv1.Deployment
	StatefulSets   []appsv1.StatefulSet
	Jobs           []batchv1.Job
	Pods           []corev1.Pod
	ConfigMaps     []corev1.ConfigMap
	Services       []corev1.Service
	EndpointSlices []discoveryv1.EndpointSlice
}

// Look reads what home and the providers have. It reads no Secret.
func Look(ctx context.Context, home client.Client, away map[string]client.Client) (Seen, error) {
	seen := Seen{Away: map[string]View{}}
	var err error
	if seen.Home, err = look(ctx, home, true); err != nil {
		return seen, fmt.Errorf("look at home: %w", err)
	}
	for name, c := range away {
		if seen.Away[name], err = look(ctx, c, false); err != nil {
			return seen, fmt.Errorf("look at %s: %w", name, err)
		}
	}
	return seen, nil
}

func look(ctx context.Context, c client.Client, home bool) (View, error) {
	var (
		v           View
		made        = client.MatchingLabels{Mark: "true"}
		namespaces  corev1.NamespaceList
		offloadings v1beta1.NamespaceOffloadingList
		deployments appsv1.DeploymentList
		sets        appsv1.StatefulSetList
		jobs        batchv1.JobList
		pods        corev1.PodList
		configMaps  corev1.ConfigMapList
		services    corev1.ServiceList
		slices      discoveryv1.EndpointSliceList
	)
	lists := []client.ObjectList{&pods, &configMaps, &services}
	if home {
		lists = append(lists, &offloadings, &deployments, &sets, &jobs)
	}
	for _, list := range lists {
		if err := c.List(ctx, list, made); err != nil {
			return v, fmt.Errorf("list %T: %w", list, err)
		}
	}
	for _, list := range []client.ObjectList{&namespaces, &slices} { // others make these, without the mark
		if err := c.List(ctx, list); err != nil {
			return v, fmt.Errorf("list %T: %w", list, err)
		}
	}
	return View{
		Namespaces: namespaces.Items, Offloadings: offloadings.Items, Deployments: deployments.Items,
		StatefulSets: sets.Items, Jobs: jobs.Items, Pods: pods.Items, ConfigMaps: configMaps.Items,
		Services: services.Items, EndpointSlices: slices.Items,
	}, nil
}
