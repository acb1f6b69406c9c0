package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	// arrival bounds how long anything that is reflected may take to arrive.
	arrival = 5 * time.Minute
	// requestsUnderWay is how many changes may be under way at once.
	requestsUnderWay = 64
)

// pairing is a home cluster and one provider, between which objects are reflected.
type pairing struct {
	env        *env.Env
	home, away *env.Cluster
}

func newPairing(up *env.Env) *pairing {
	return &pairing{env: up, home: up.Consumer(), away: up.Providers()[0]}
}

// measureLatencies changes objects of each kind at each rate and looks at when the copies followed.
func measureLatencies(ctx context.Context, up *env.Env, o reflectionOptions) ([]latency, error) {
	const namespace = "rates"
	p := newPairing(up)
	fmt.Fprintf(os.Stderr, "making %d objects of each kind ...\n", o.spread)
	counts := map[string]int{}
	for _, s := range o.specimens {
		counts[s.resource] = o.spread
	}
	if err := errors.Join(p.fill(ctx, namespace, o.specimens, counts), pause(ctx, calm)); err != nil {
		return nil, err
	}
	var all []latency
	for _, s := range o.specimens {
		for _, rate := range o.rates {
			l, err := p.latency(ctx, namespace, s, rate, o)
			if err != nil {
				return nil, fmt.Errorf("%s at %d per second: %w", s.resource, rate, err)
			}
			fmt.Fprintf(os.Stderr, "%s at %d per second: p50 %s, p99 %s\n", s.resource, rate, l.P50, l.P99)
			all = append(all, *l)
		}
	}
	return all, nil
}

// fill offloads a new namespace, makes so many objects of each kind in it, and waits until they are reflected.
func (p *pairing) fill(ctx context.Context, namespace string, all []specimen, counts map[string]int) error {
	if err := (&bench{env: p.env}).prepare(ctx, away, namespace); err != nil {
		return err
	}
	return p.populate(ctx, namespace, all, counts)
}

// populate is fill for a namespace that is offloaded already.
func (p *pairing) populate(ctx context.Context, namespace string, all []specimen, counts map[string]int) error {
	c := p.home.Client()
	service := build.Service(namespace, leader)
	service.Spec.Selector = nil
	objects := []client.Object{service}
	for _, s := range all {
		for i := range counts[s.resource] {
			objects = append(objects, s.make(metav1.ObjectMeta{Namespace: namespace, Name: specimenName(i)}))
		}
	}
	if err := each(len(objects), func(i int) error { return c.Create(ctx, objects[i]) }); err != nil {
		return fmt.Errorf("make objects: %w", err)
	}
	pod := holder(namespace, counts[secrets().resource], counts[claims().resource])
	if err := c.Create(ctx, pod); err != nil {
		return fmt.Errorf("make a pod that refers to them: %w", err)
	}
	for _, s := range all {
		if err := p.arrived(ctx, namespace, s, counts[s.resource]); err != nil {
			return err
		}
	}
	return nil
}

// arrived waits until so many objects of a kind are reflected.
func (p *pairing) arrived(ctx context.Context, namespace string, s specimen, want int) error {
	count := 0
	err := wait.PollUntilContextTimeout(ctx, 10*poll, arrival, true, func(ctx context.Context) (_ bool, err error) {
		count, err = p.copies(ctx, s, client.InNamespace(namespace+"-"+env.Consumer))
		return count >= want, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d %s are reflected: %w", count, want, s.resource, err)
	}
	return nil
}

// copies counts the objects of a kind on the provider that are made of specimens.
func (p *pairing) copies(ctx context.Context, s specimen, opts ...client.ListOption) (int, error) {
	return copiesOn(ctx, p.away, s, append(opts, client.MatchingLabels{v1beta1.LabelOrigin: env.Consumer})...)
}

func copiesOn(ctx context.Context, away *env.Cluster, s specimen, opts ...client.ListOption) (int, error) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(s.kind.GroupVersion().WithKind(s.kind.Kind + "List"))
	if err := away.Client().List(ctx, &list, opts...); err != nil {
		return 0, fmt.Errorf("list copies of %s: %w", s.resource, err)
	}
	count := 0
	for i := range list.Items {
		// The provider's controllers give its own EndpointSlices the labels of our Services.
		reflected := list.Items[i].Annotations[v1beta1.AnnotationHomeUID] != ""
		if reflected && strings.HasPrefix(list.Items[i].Name, specimenPrefix) {
			count++
		}
	}
	return count, nil
}

// latency changes objects of one kind, one after the other, so many a second.
func (p *pairing) latency(
	ctx context.Context, namespace string, s specimen, rate int, o reflectionOptions,
) (*latency, error) {
	b := &bench{env: p.env}
	audits, err := b.audits()
	if err != nil {
		return nil, err
	}
	cpu, start := b.cpu(), time.Now()
	group, changing := errgroup.WithContext(ctx)
	group.SetLimit(requestsUnderWay)
	total := rate * o.seconds
	for n := range total {
		if err := pause(changing, time.Until(start.Add(time.Duration(n)*time.Second/time.Duration(rate)))); err != nil {
			break // Wait knows why
		}
		group.Go(func() error {
			obj := s.make(metav1.ObjectMeta{Namespace: namespace, Name: specimenName(n % o.spread)})
			patch := client.RawPatch(types.MergePatchType, []byte(s.change(rate*o.seconds+n)))
			return p.home.Client().Patch(changing, obj, patch)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("change objects: %w", err)
	}
	l := &latency{Resource: s.resource, Rate: rate, Seconds: time.Since(start).Seconds()}
	if err := pause(ctx, calm); err != nil { // the last ones arrive
		return nil, err
	}
	l.CPU = b.cpuSince(cpu)[env.Consumer+" "+env.AgentOf(p.away.Name)]
	return l, p.follow(l, audits, namespace)
}

// follow takes from the audit logs what was changed at home, and when the provider had it.
func (p *pairing) follow(l *latency, audits map[string]*env.Audit, namespace string) error {
	home, err := audits[p.home.Name].Events()
	if err != nil {
		return err
	}
	away, err := audits[p.away.Name].Events()
	if err != nil {
		return err
	}
	changes := moments(home, l.Resource, namespace, func(e auditv1.Event) (time.Time, bool) {
		return e.RequestReceivedTimestamp.Time, e.Verb == "patch" && !ourUser(e)
	})
	writes := moments(away, l.Resource, namespace+"-"+env.Consumer, func(e auditv1.Event) (time.Time, bool) {
		return e.StageTimestamp.Time, env.IsWrite(e) && ourUser(e)
	})
	reads := moments(away, l.Resource, namespace+"-"+env.Consumer, func(e auditv1.Event) (time.Time, bool) {
		return e.StageTimestamp.Time, e.Verb == "get" && ourUser(e)
	})
	l.Changes, l.Writes, l.Reads = len(changes), len(writes), len(reads)
	took, missing := match(changes, writes)
	l.Missing = missing
	l.P50, l.P99, l.Max = percentile(took, 50), percentile(took, 99), percentile(took, 100)
	return nil
}

// ourUser says whether one of our components made a request.
func ourUser(e auditv1.Event) bool { return strings.Contains(e.User.Username, ":liqo") }

// moment is when something happened to an object.
type moment struct {
	object string
	at     time.Time
}

// moments are the events about the objects of a kind in a namespace that were answered well and that when knows the
// time of.
func moments(
	events []auditv1.Event, resource, namespace string, when func(auditv1.Event) (time.Time, bool),
) []moment {
	var out []moment
	for _, e := range events {
		ref := e.ObjectRef
		if e.Stage != auditv1.StageResponseComplete || ref == nil || ref.Resource != resource ||
			ref.Subresource != "" || ref.Namespace != namespace ||
			e.ResponseStatus == nil || e.ResponseStatus.Code >= 300 {
			continue
		}
		if at, ok := when(e); ok {
			// Some copies have another name.
			out = append(out, moment{strings.TrimSuffix(ref.Name, "."+env.Consumer), at})
		}
	}
	return out
}

// match returns how long after each change the write was done that belongs to it, and how many changes have none. An
// object with as many writes as changes has them in the same order; with others, a write belongs to all changes since
// the one before.
func match(changes, writes []moment) (took []time.Duration, missing int) {
	written := byObject(writes)
	for object, changed := range byObject(changes) {
		followed := written[object]
		inOrder := len(changed) == len(followed)
		for i, at := range changed {
			if !inOrder {
				i = slices.IndexFunc(followed, func(w time.Time) bool { return w.After(at) })
			}
			if i < 0 {
				missing++
				continue
			}
			took = append(took, followed[i].Sub(at))
		}
	}
	return took, missing
}

// byObject returns when something happened to each object, in order.
func byObject(all []moment) map[string][]time.Time {
	out := map[string][]time.Time{}
	for _, m := range all {
		out[m.object] = append(out[m.object], m.at)
	}
	for _, times := range out {
		slices.SortFunc(times, time.Time.Compare)
	}
	return out
}

// percentile returns the least duration that so many per cent do not exceed, or 0 of none.
func percentile(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(all), cmp.Compare)
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
