package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/faults/nemesis"
	"github.com/twinspace/twinspace/e2e/faults/workload"
	"github.com/twinspace/twinspace/e2e/history"
)

const (
	// restWithin is how long it may take, without any fault, until everything that users asked for is there.
	restWithin = 3 * time.Minute
	// idleFor is for how long nobody does anything, to count what is written nevertheless.
	idleFor = time.Minute
)

// rest has everybody stop and returns what then is not as users asked for; after that nothing happens for a while.
func (l *lab) rest(ctx context.Context) ([]string, error) {
	asked, cancel := context.WithTimeout(ctx, restWithin)
	defer cancel()
	if err := l.work.Rest(asked); err != nil {
		return []string{fmt.Sprintf("at rest: users could not do what they wanted: %v", err)}, nil
	}
	l.say("nobody asks for anything more")
	unmet, err := l.unmet(ctx)
	if err != nil || len(unmet) > 0 {
		return unmet, err
	}
	l.say("everything is as users asked for; nobody does anything for %s", idleFor)
	l.book.Note(history.Note{Kind: history.Rest, Bound: metav1.Duration{Duration: idleFor / 2}})
	l.book.Note(history.Note{Kind: history.IdleBegin})
	select {
	case <-l.clock.After(idleFor):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.book.Note(history.Note{Kind: history.IdleEnd})
	return nil, nil
}

// unmet waits until everything is as users asked for, and home and providers agree; what is not is returned.
func (l *lab) unmet(ctx context.Context) ([]string, error) {
	var (
		unmet  []string
		unseen error
	)
	err := wait.PollUntilContextTimeout(ctx, time.Second, restWithin, true, func(ctx context.Context) (bool, error) {
		seen, err := l.look(ctx)
		var complaints []nemesis.Complaint
		if err == nil {
			complaints, err = nemesis.Look(l.env)(ctx)
		}
		if err != nil { // what was seen before says more, if anything was
			unseen = err
			return false, nil
		}
		unmet, unseen = l.work.Expect().Unmet(seen), nil
		for _, c := range complaints {
			unmet = append(unmet, c.String())
		}
		return len(unmet) == 0, nil
	})
	if err == nil || !wait.Interrupted(err) || ctx.Err() != nil {
		return nil, err
	}
	if unseen != nil {
		unmet = append(unmet, unseen.Error())
	}
	for i := range unmet {
		unmet[i] = "at rest: " + unmet[i]
	}
	return unmet, nil
}

// look reads what the clusters have, without what is not the users'.
func (l *lab) look(ctx context.Context) (workload.Seen, error) {
	away := map[string]client.Client{}
	for _, c := range l.env.Providers() {
		away[c.Name] = c.Client()
	}
	seen, err := workload.Look(ctx, l.env.Consumer().Client(), away)
	for name, view := range seen.Away {
		view.Namespaces = slices.DeleteFunc(view.Namespaces, func(ns corev1.Namespace) bool {
			return nemesis.IsStage(ns.Annotations[v1beta1.AnnotationTwinHomeName])
		})
		seen.Away[name] = view
	}
	return seen, err
}
