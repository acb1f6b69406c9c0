package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	// askers is how many requests the benchmark itself has under way at once.
	askers = 16
	// namespacesTimeout bounds each direction.
	namespacesTimeout = 30 * time.Minute
)

// namespaces is one run of that part.
type namespaces struct {
	env   *env.Env
	count int
	// seen holds the NamespaceOffloadings, so that waiting costs the API server one watch.
	seen cache.Cache
}

// measureNamespaces offloads many namespaces at once on all providers, and takes them back.
func measureNamespaces(ctx context.Context, o options) (_ report, err error) {
	fmt.Fprintf(os.Stderr, "starting a home cluster and %d providers ...\n", o.providers)
	up, down, err := playground(ctx, env.Options{Bin: o.bin, Providers: o.providers, Peer: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	ctx, cancel := context.WithTimeout(ctx, 2*namespacesTimeout)
	defer cancel()
	n := &namespaces{env: up, count: o.namespaces}
	if err := n.watch(ctx); err != nil {
		return nil, err
	}
	r := &namespacesResult{Namespaces: o.namespaces, Providers: o.providers}
	fmt.Fprintf(os.Stderr, "creating %d namespaces at home ...\n", n.count)
	err = n.each(ctx, func(ctx context.Context, name string) error {
		return up.Consumer().Client().Create(ctx, build.Namespace(name).Obj())
	})
	if err != nil {
		return nil, fmt.Errorf("create namespaces: %w", err)
	}
	if err := pause(ctx, calm); err != nil {
		return nil, err
	}
	for _, direction := range []struct {
		name  string
		store *direction
		ask   func(context.Context, string) error
		done  func(context.Context) (int, error)
	}{{"offload", &r.Up, n.offload, n.ready}, {"un-offload", &r.Down, n.unoffload, n.gone}} {
		fmt.Fprintf(os.Stderr, "%s %d namespaces ...\n", direction.name, n.count)
		if *direction.store, err = n.measure(ctx, direction.ask, direction.done); err != nil {
			return nil, fmt.Errorf("%s: %w", direction.name, err)
		}
		if direction.store == &r.Up {
			if r.Maps, err = n.maps(ctx); err != nil {
				return nil, err
			}
		}
	}
	for _, u := range up.Usage() {
		r.Memory = append(r.Memory, memory{u.Cluster, u.Component, u.PeakRSS})
	}
	r.Leftovers, err = n.leftovers(ctx)
	return r, err
}

func (n *namespaces) watch(ctx context.Context) error {
	log.SetLogger(logr.Discard()) // what the cache would say is not what is measured
	scheme, err := env.Scheme()
	if err != nil {
		return err
	}
	n.seen, err = cache.New(n.env.Consumer().Config(), cache.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("make a cache: %w", err)
	}
	if _, err := n.seen.GetInformer(ctx, &v1beta1.NamespaceOffloading{}); err != nil {
		return fmt.Errorf("watch offloadings: %w", err)
	}
	go func() { _ = n.seen.Start(ctx) }() // ends with ctx
	if !n.seen.WaitForCacheSync(ctx) {
		return errors.New("watch offloadings: it was not answered in time")
	}
	return nil
}

// each does something for every namespace, some at once.
func (n *namespaces) each(ctx context.Context, do func(context.Context, string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askers)
	for i := range n.count {
		group.Go(func() error { return do(ctx, fmt.Sprintf("team-%04d", i)) })
	}
	return group.Wait()
}

func (n *namespaces) offload(ctx context.Context, name string) error {
	return n.env.Consumer().Client().Create(ctx, build.Offloading(name).Obj())
}

func (n *namespaces) unoffload(ctx context.Context, name string) error {
	return n.env.Consumer().Client().Delete(ctx, build.Offloading(name).Obj())
}

// ready returns how many namespaces have all their twins.
func (n *namespaces) ready(ctx context.Context) (int, error) {
	var all v1beta1.NamespaceOffloadingList
	if err := n.seen.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return 0, err
	}
	ready := 0
	for i := range all.Items {
		if all.Items[i].Status.OffloadingPhase == v1beta1.PhaseReady {
			ready++
		}
	}
	return ready, nil
}

// gone returns how many namespaces are as if they never had been offloaded.
func (n *namespaces) gone(ctx context.Context) (int, error) {
	var all v1beta1.NamespaceOffloadingList
	err := n.seen.List(ctx, &all, client.UnsafeDisableDeepCopy)
	return n.count - len(all.Items), err
}

// measure asks for all at once and takes down what it costs until the last is done.
func (n *namespaces) measure(ctx context.Context, ask func(context.Context, string) error,
	done func(context.Context) (int, error)) (direction, error) {
	ctx, cancel := context.WithTimeout(ctx, namespacesTimeout)
	defer cancel()
	b := &bench{env: n.env}
	audits, err := b.audits()
	if err != nil {
		return direction{}, err
	}
	cpu, start := b.cpu(), time.Now()
	if err := n.each(ctx, ask); err != nil {
		return direction{}, err
	}
	d := direction{Asked: time.Since(start).Seconds(), Writes: map[string]int{}}
	count := 0
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (_ bool, err error) {
		count, err = done(ctx)
		return count == n.count, err
	})
	if err != nil {
		return direction{}, fmt.Errorf("%d of %d are done: %w", count, n.count, err)
	}
	d.Seconds = time.Since(start).Seconds()
	d.CPU = b.cpuSince(cpu)
	if err := pause(ctx, calm); err != nil { // what follows the last one, such as late events, belongs to it as well
		return direction{}, err
	}
	return d, d.count(audits)
}

// count takes what our components wrote from the audit logs, but for their signs of life.
func (d *direction) count(audits map[string]*env.Audit) error {
	for cluster, audit := range audits {
		events, err := audit.Events()
		if err != nil {
			return err
		}
		for _, event := range events {
			if counts(event) {
				d.Writes[described(cluster, event)]++
			}
		}
	}
	return nil
}

// counts says whether an event is a write of ours about namespaces.
func counts(event auditv1.Event) bool {
	return event.Stage == auditv1.StageResponseComplete && event.ObjectRef != nil && env.IsWrite(event) &&
		strings.Contains(event.User.Username, ":liqo") && !signOfLife(event.ObjectRef.Resource)
}

// described returns the side, verb and resource of a write, and how it was answered if that was not well.
func described(cluster string, event auditv1.Event) string {
	what := away
	if cluster == env.Consumer {
		what = home
	}
	what += " " + event.Verb + " " + event.ObjectRef.Resource
	if sub := event.ObjectRef.Subresource; sub != "" {
		what += "/" + sub
	}
	if event.ResponseStatus != nil && event.ResponseStatus.Code >= 300 {
		what += fmt.Sprintf(" (answered %d)", event.ResponseStatus.Code)
	}
	return what
}

func signOfLife(resource string) bool {
	switch resource {
	case "leases", "nodes", "virtualnodes", "tokenreviews", "subjectaccessreviews", "serviceaccounts":
		return true
	default:
		return false
	}
}

// maps returns how large the maps are while they hold all namespaces.
func (n *namespaces) maps(ctx context.Context) ([]mapSize, error) {
	var list v1beta1.NamespaceMapList
	if err := n.env.Consumer().Client().List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list maps: %w", err)
	}
	var sizes []mapSize
	for i := range list.Items {
		m := &list.Items[i]
		whole, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		m.ManagedFields = nil
		bare, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, mapSize{
			Cluster: m.Name, Bytes: len(whole), ManagedFields: len(whole) - len(bare), Versions: m.Generation,
		})
	}
	return sizes, nil
}

// leftovers counts what should not be there any more.
func (n *namespaces) leftovers(ctx context.Context) (map[string]int, error) {
	left := map[string]int{}
	ours := client.HasLabels{v1beta1.LabelRemoteClusterID}
	for _, provider := range n.env.Providers() {
		var twins corev1.NamespaceList
		if err := provider.Client().List(ctx, &twins, ours); err != nil {
			return nil, fmt.Errorf("list twins: %w", err)
		}
		for i := range twins.Items {
			if twins.Items[i].Annotations[v1beta1.AnnotationTwinHomeName] != "" {
				left["twins"]++
			}
		}
	}
	home := n.env.Consumer().Client()
	var bindings rbacv1.RoleBindingList
	var labelled metav1.PartialObjectMetadataList
	labelled.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	var maps v1beta1.NamespaceMapList
	err := errors.Join(home.List(ctx, &bindings, ours), home.List(ctx, &maps),
		home.List(ctx, &labelled, client.HasLabels{v1beta1.LabelSchedulingEnabled}))
	if err != nil {
		return nil, fmt.Errorf("look for leftovers: %w", err)
	}
	for i := range bindings.Items {
		if strings.HasPrefix(bindings.Items[i].Namespace, "team-") {
			left["role bindings"]++
		}
	}
	left["labelled namespaces"] = len(labelled.Items)
	for i := range maps.Items {
		left["keys of maps"] += len(maps.Items[i].Spec.DesiredMapping) + len(maps.Items[i].Status.CurrentMapping)
	}
	return left, nil
}
