package main

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/storage"
)

// volumes registers what makes the home volumes of claims whose data are on the provider.
func (a *agent) volumes(view *homeView, recorder record.EventRecorder) (*storage.Volumes, error) {
	home, err := client.NewWithWatch(a.home, client.Options{Scheme: a.mgr.GetScheme()})
	if err != nil {
		return nil, fmt.Errorf("make a client of home: %w", err)
	}
	away, err := a.awayClient()
	if err != nil {
		return nil, err
	}
	volumes, err := storage.New(storage.Options{
		Origin: a.opts.clusterID, Provider: a.opts.remoteClusterID, Home: home, Away: away,
		Offered: view.storageClasses, Events: recorder, Clock: a.opts.Clock(),
	})
	if err != nil {
		return nil, err
	}
	a.away.OnRecovery(volumes.Retry)
	return volumes, a.mgr.Add(volumes)
}

// storageClasses returns what a virtual Node of ours offers, and false for any other Node.
func (v *homeView) storageClasses(node string) ([]v1beta1.StorageType, bool) {
	var virtual v1beta1.VirtualNode
	at := client.ObjectKey{Namespace: v1beta1.TenantNamespace(v.clusterID), Name: node}
	if node == "" || v.home.Get(context.Background(), at, &virtual) != nil {
		return nil, false // the cache lacks it
	}
	if create := virtual.Spec.CreateNode; create != nil && !*create {
		return nil, false
	}
	return virtual.Spec.StorageClasses, true
}
