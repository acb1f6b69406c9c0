package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWhatNeedsAComponentEndsWithIt(t *testing.T) {
	alive := func() (string, bool) { return "", false }
	ended := func() (string, bool) { return agentName(), true }
	forever := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	refused := errors.New("refused")
	for name, test := range map[string]struct {
		ended func() (string, bool)
		do    func(context.Context) error
		want  string
	}{
		"the agent ended, and pods are waited for": {ended, forever, agentName() + " ended by itself"},
		"all is well":                       {alive, func(context.Context) error { return nil }, ""},
		"an error of another cause is that": {alive, func(context.Context) error { return refused }, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := attended(ctx, time.Millisecond, test.ended, test.do)
			if (err != nil) != (test.want != "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if ctx.Err() != nil {
				t.Error("it was waited for to the end")
			}
		})
	}
}
