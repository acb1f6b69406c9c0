package provider

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	// noTwin is how long after the start a namespace that nobody has mentioned, and that has no mapping, counts as one
	// without a twin though the provider cannot be asked. A NamespaceMap that was deleted by hand is back sooner.
	noTwin = time.Minute
	// resettle is when to look again at a pod of which it is not known whether its namespace has a twin.
	resettle = 5 * time.Second
	// twinnedFor is how long an answer about all twins holds, and twinnedWithin how long it may take.
	twinnedFor, twinnedWithin = time.Second, 2 * time.Second
)

// settleTwin decides about a namespace that nobody mentioned. Without a mapping it has no twin when the provider says
// so, too: one whose NamespaceMap was deleted or edited by hand is still there.
func (p *Pods) settleTwin(ctx context.Context, w *work) error {
	if p.opts.Mapped == nil {
		return nil
	}
	mapped, err := p.opts.Mapped(ctx, w.Namespace)
	if err != nil {
		return fmt.Errorf("look up the mapping of %s: %w", w.Namespace, err)
	}
	if mapped {
		return nil
	}
	homes, err := p.twinnedHomes(ctx)
	p.mu.Lock()
	young := p.opts.Clock.Since(p.started) < noTwin
	p.mu.Unlock()
	if err == nil && !homes.Has(w.Namespace) || err != nil && !young {
		w.twin = twinGone
	}
	return nil
}

// twinned remembers for a moment which home namespaces the provider has twins of, since after a start many pods ask.
type twinned struct {
	mu    sync.Mutex
	until time.Time
	known sets.Set[string]
	err   error
}

// twinnedHomes returns the home namespaces that a namespace of the provider is marked with, or why that is not known.
func (p *Pods) twinnedHomes(ctx context.Context) (sets.Set[string], error) {
	t := &p.twinned
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.opts.Clock.Now().Before(t.until) {
		return t.known, t.err
	}
	t.known, t.err = p.twinnedNow(ctx)
	t.until = p.opts.Clock.Now().Add(twinnedFor)
	return t.known, t.err
}

func (p *Pods) twinnedNow(ctx context.Context) (sets.Set[string], error) {
	if p.opts.Health != nil {
		if err := p.opts.Health.Err(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, twinnedWithin)
	defer cancel()
	list, err := p.opts.Away.CoreV1().Namespaces().List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{v1beta1.LabelRemoteClusterID: p.opts.Origin}.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list twins: %w", err)
	}
	homes := sets.New[string]()
	for i := range list.Items {
		homes.Insert(list.Items[i].Annotations[v1beta1.AnnotationTwinHomeName])
	}
	return homes, nil
}
