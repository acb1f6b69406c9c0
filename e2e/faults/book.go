package main

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/history"
)

// book is what is written down while things happen.
type book struct {
	home *history.Recorder
	away []*history.Recorder

	mu     sync.Mutex
	forced map[types.UID]bool
}

func openBook(ctx context.Context, l *lab) (*book, error) {
	b := &book{forced: map[types.UID]bool{}}
	for _, c := range l.env.Clusters() {
		set, err := kubernetes.NewForConfig(c.Config())
		if err != nil {
			return nil, err
		}
		r, err := history.Record(ctx, c.Name, set.CoreV1().Pods(metav1.NamespaceAll))
		if err != nil {
			return nil, err
		}
		if c.Name == env.Consumer {
			b.home = r
		} else {
			b.away = append(b.away, r)
		}
	}
	return b, nil
}

// Note writes down what is done.
func (b *book) Note(n history.Note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n.Kind == history.Action && n.Name == history.ForceDelete {
		b.forced[n.UID] = true
	}
}

func (b *book) verdict(ctx context.Context) ([]string, error) {
	h := history.History{Slack: 2 * time.Second, Forced: b.forced}
	var err error
	if h.Home, err = b.home.Changes(ctx); err != nil {
		return nil, err
	}
	for _, r := range b.away {
		changes, err := r.Changes(ctx)
		if err != nil {
			return nil, err
		}
		h.Away = append(h.Away, changes...)
	}
	return append(h.Broken(), h.AtRest(providers()...)...), nil
}
