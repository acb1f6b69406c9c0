package main

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// explainer reads the facts of explanations. What is the same for all namespaces it reads once.
type explainer struct {
	home  *cluster
	clock clock.PassiveClock
	// namespace is the one asked for, "" when nobody did.
	namespace string

	common *explanation.Facts
	facts  map[string]*explanation.Facts
}

// pods explains the pods of a file or, without any, the pod of the name.
func (e *explainer) pods(
	ctx context.Context, name string, subjects []explanation.Subject,
) ([]*explanation.Explanation, error) {
	if len(subjects) == 0 {
		live, err := e.live(ctx, name)
		if err != nil {
			return nil, err
		}
		subjects = []explanation.Subject{live}
	}
	var out []*explanation.Explanation
	for _, s := range subjects {
		if s.Pod.Namespace == "" {
			s.Pod.Namespace = e.defaultNamespace()
		}
		facts, err := e.read(ctx, s.Pod.Namespace)
		if err != nil {
			return nil, err
		}
		facts = facts.Own()
		if !s.Live { // or else admission has applied its class already
			if err := e.class(ctx, facts, placement.RuntimeClass(s.Pod)); err != nil {
				return nil, err
			}
		}
		if err := e.claims(ctx, facts, s.Pod); err != nil {
			return nil, err
		}
		out = append(out, explanation.OfPod(facts, s))
	}
	return out, nil
}

func (e *explainer) ofNamespace(ctx context.Context, class string) (*explanation.Explanation, error) {
	facts, err := e.read(ctx, e.namespace)
	if err != nil {
		return nil, err
	}
	if err := e.class(ctx, facts, class); err != nil {
		return nil, err
	}
	if found, read := facts.Classes[class]; read && found == nil {
		return nil, fmt.Errorf("there is no RuntimeClass %q: kubectl get runtimeclasses lists those there are", class)
	}
	return explanation.OfNamespace(facts, class), nil
}

func (e *explainer) defaultNamespace() string {
	switch {
	case e.namespace != "":
		return e.namespace
	case e.home.Namespace != "":
		return e.home.Namespace
	}
	return metav1.NamespaceDefault
}

// live reads a pod that exists.
func (e *explainer) live(ctx context.Context, name string) (explanation.Subject, error) {
	pod, namespace := &corev1.Pod{}, e.defaultNamespace()
	err := e.home.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod)
	if apierrors.IsNotFound(err) {
		if _, err := e.read(ctx, namespace); err != nil { // perhaps there is no such namespace
			return explanation.Subject{}, err
		}
		return explanation.Subject{}, fmt.Errorf("there is no pod %q in namespace %s: name another with --namespace, "+
			"or give the pod in a file with --filename", name, namespace)
	}
	if err != nil {
		return explanation.Subject{}, fmt.Errorf("read pod %s/%s: %w", namespace, name, err)
	}
	return explanation.Subject{Pod: pod, Live: true}, nil
}

// read reads the facts about a namespace.
func (e *explainer) read(ctx context.Context, namespace string) (*explanation.Facts, error) {
	if facts := e.facts[namespace]; facts != nil {
		return facts, nil
	}
	facts := &explanation.Facts{
		Namespace: namespace, Classes: map[string]*nodev1.RuntimeClass{}, Unread: map[explanation.Source]string{},
	}
	var ns corev1.Namespace
	err := e.home.Get(ctx, client.ObjectKey{Name: namespace}, &ns)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no namespace %q: create it first with kubectl create namespace %s",
			namespace, namespace)
	}
	if err := settle(facts, explanation.Namespaces, err); err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", namespace, err)
	}
	facts.Labels = ns.Labels
	off := &v1beta1.NamespaceOffloading{}
	err = e.home.Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1beta1.OffloadingName}, off)
	if !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		if err := settle(facts, explanation.Offloadings, err); err != nil {
			return nil, fmt.Errorf("read the offloading of namespace %s: %w", namespace, err)
		}
		if err == nil {
			facts.Offloading = off
		}
	}
	if err := e.cluster(ctx, facts); err != nil {
		return nil, err
	}
	if e.facts == nil {
		e.facts = map[string]*explanation.Facts{}
	}
	e.facts[namespace] = facts
	return facts, nil
}

// cluster adds what is the same for all namespaces.
func (e *explainer) cluster(ctx context.Context, facts *explanation.Facts) error {
	if e.common == nil {
		common, err := e.readCluster(ctx)
		if err != nil {
			return err
		}
		e.common = common
	}
	facts.Nodes, facts.Maps, facts.VirtualNodes = e.common.Nodes, e.common.Maps, e.common.VirtualNodes
	facts.Beside = e.common.Beside
	for source, why := range e.common.Unread {
		facts.Unread[source] = why
	}
	return nil
}

func (e *explainer) readCluster(ctx context.Context) (*explanation.Facts, error) {
	facts := &explanation.Facts{Unread: map[explanation.Source]string{}}
	var (
		nodes    corev1.NodeList
		maps     v1beta1.NamespaceMapList
		declared v1beta1.VirtualNodeList
		lease    coordinationv1.Lease
	)
	for _, list := range []struct {
		source explanation.Source
		into   client.ObjectList
	}{{explanation.Nodes, &nodes}, {explanation.Maps, &maps}, {explanation.VirtualNodes, &declared}} {
		err := e.home.List(ctx, list.into)
		if meta.IsNoMatchError(err) {
			continue // the kind does not exist, so there are none
		}
		if err := settle(facts, list.source, err); err != nil {
			return nil, fmt.Errorf("list %s: %w", list.source, err)
		}
	}
	facts.Nodes, facts.Maps, facts.VirtualNodes = nodes.Items, maps.Items, declared.Items
	key := client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: v1beta1.SchedulerName}
	err := e.home.Get(ctx, key, &lease)
	if err := settle(facts, explanation.Leases, client.IgnoreNotFound(err)); err != nil {
		return nil, fmt.Errorf("read the lease of the scheduler: %w", err)
	}
	facts.Beside = err == nil && e.runs(&lease)
	return facts, nil
}

// leaseFresh is how old the last sign of life of a scheduler may be. It gives one every few seconds; the rest is for
// its successor to start, and for clocks that differ.
const leaseFresh = 5 * time.Minute

// runs says that a scheduler holds its lease. One that was uninstalled leaves it behind.
func (e *explainer) runs(lease *coordinationv1.Lease) bool {
	renewed := lease.Spec.RenewTime
	return ptr.Deref(lease.Spec.HolderIdentity, "") != "" && renewed != nil && e.clock.Since(renewed.Time) < leaseFresh
}

// class adds a RuntimeClass.
func (e *explainer) class(ctx context.Context, facts *explanation.Facts, name string) error {
	if name == "" {
		return nil
	}
	class := &nodev1.RuntimeClass{}
	err := e.home.Get(ctx, client.ObjectKey{Name: name}, class)
	if apierrors.IsNotFound(err) {
		facts.Classes[name] = nil
		return nil
	}
	if settled := settle(facts, explanation.RuntimeClasses, err); settled != nil {
		return fmt.Errorf("read RuntimeClass %s: %w", name, settled)
	}
	if err == nil {
		facts.Classes[name] = class
	}
	return nil
}

// rights names, for each source, the right that reads it.
var rights = map[explanation.Source]string{
	explanation.Namespaces:     "get namespaces",
	explanation.Offloadings:    "get namespaceoffloadings.offloading.liqo.io",
	explanation.Maps:           "list namespacemaps.offloading.liqo.io",
	explanation.Nodes:          "list nodes",
	explanation.VirtualNodes:   "list virtualnodes.offloading.liqo.io",
	explanation.RuntimeClasses: "get runtimeclasses.node.k8s.io",
	explanation.Leases:         "get the lease kube-system/" + v1beta1.SchedulerName,
	explanation.Claims:         "get persistentvolumeclaims",
	explanation.Volumes:        "get persistentvolumes",
	explanation.StorageClasses: "get storageclasses.storage.k8s.io",
}

// settle takes note of a missing right and returns every other error.
func settle(facts *explanation.Facts, source explanation.Source, err error) error {
	if apierrors.IsForbidden(err) {
		facts.Unread[source] = "you may not " + rights[source]
		return nil
	}
	return err
}
