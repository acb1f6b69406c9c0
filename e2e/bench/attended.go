package main

import (
	"context"
	"errors"
	"time"

	"github.com/twinspace/twinspace/e2e/env"
)

// endedError says that a component ended that pods need.
type endedError struct{ component string }

func (e *endedError) Error() string {
	return e.component + " ended by itself, as one does that cannot renew its lease: is the machine too busy?"
}

// attended does something that needs our components, and ends it when one of them has ended: in a playground nobody
// starts it again, so what is waited for would not come.
func (b *bench) attended(ctx context.Context, do func(context.Context) error) error {
	return attended(ctx, time.Second, b.ended, do)
}

func attended(
	ctx context.Context, every time.Duration, ended func() (string, bool), do func(context.Context) error,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for pause(ctx, every) == nil {
			if component, gone := ended(); gone {
				cancel(&endedError{component})
				return
			}
		}
	}()
	err := do(ctx)
	var cause *endedError
	if err != nil && errors.As(context.Cause(ctx), &cause) {
		return errors.Join(cause, err)
	}
	return err
}

// ended names a component of ours that has ended.
func (b *bench) ended() (string, bool) {
	for _, p := range b.env.Processes() {
		if p.Cluster == env.Consumer && (p.Component == env.Manager || p.Component == agentName()) && !p.Alive() {
			return p.Component, true
		}
	}
	return "", false
}
