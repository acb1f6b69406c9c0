package namespacemap

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestAPanicLeavesThePlaceToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
		p.refuse = func(keys []string) error {
			if slices.Contains(keys, "k1") {
				p.refuse = nil
				panic("boom")
			}
			return nil
		}
		first := start(t, g, p, "k0")
		var caught any
		go func() {
			defer func() { caught = recover() }()
			_, err := g.setDesired(t.Context(), p, shopMap, "k1", "k1-a")
			t.Errorf("no panic, but %v", err)
		}()
		synctest.Wait()
		beside := start(t, g, p, "k2")
		p.answer()
		if caught != "boom" {
			t.Errorf("the panic became %v", caught)
		}
		if !first.done || first.err != nil {
			t.Errorf("the one before: done %v, %v", first.done, first.err)
		}
		if !beside.done || !errors.Is(beside.err, errBrokenOff) {
			t.Errorf("the one beside: done %v, %v", beside.done, beside.err)
		}
		if after := start(t, g, p, "k3"); !after.done || after.err != nil {
			t.Errorf("the one after: done %v, %v", after.done, after.err)
		}
		if len(g.places) > 0 {
			t.Errorf("nobody writes, and yet it is remembered: %v", g.places)
		}
	})
}

func TestAPanicTakesNoAnswerBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
		p.refuse = func(keys []string) error {
			if len(keys) > 1 {
				return apierrors.NewBadRequest("one at a time")
			}
			if keys[0] == "k2" {
				panic("boom")
			}
			return nil
		}
		start(t, g, p, "k0")
		go func() {
			defer func() { _ = recover() }()
			_, _ = g.setDesired(t.Context(), p, shopMap, "k1", "k1-a")
		}()
		synctest.Wait()
		answered := start(t, g, p, "k1b")
		broken := start(t, g, p, "k2")
		p.answer()
		if !answered.done || answered.err != nil {
			t.Errorf("written before the panic: done %v, %v", answered.done, answered.err)
		}
		if !broken.done || !errors.Is(broken.err, errBrokenOff) {
			t.Errorf("written by the panic: done %v, %v", broken.done, broken.err)
		}
	})
}
