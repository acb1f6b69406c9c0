package namespacemap

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestSettle(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "namespaceoffloadings"}, "offloading", nil)
	wrapped := fmt.Errorf("patch status: %w", conflict)
	other := errors.New("boom")
	tests := map[string]struct {
		err      error
		wantRace bool
	}{
		"nothing":                          {},
		"a lost race":                      {err: wrapped, wantRace: true},
		"something else":                   {err: other},
		"two lost races":                   {err: errors.Join(conflict, nil, wrapped), wantRace: true},
		"a lost race, then something else": {err: errors.Join(wrapped, other)},
		"something else, then a lost race": {err: errors.Join(other, wrapped)},
		"both, deep inside":                {err: errors.Join(errors.Join(wrapped, fmt.Errorf("so: %w", other)))},
		"both, joined and then wrapped":    {err: fmt.Errorf("so: %w", errors.Join(wrapped, other))},
		"lost races, joined, wrapped and joined": {
			err: errors.Join(fmt.Errorf("so: %w", errors.Join(wrapped))), wantRace: true,
		},
		"one after the other": {err: fmt.Errorf("%w (after: %w)", wrapped, other)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			result, err := settle(tc.err)
			if race := result.RequeueAfter == retryConflict; race != tc.wantRace {
				t.Errorf("taken for a lost race: %v, want %v", race, tc.wantRace)
			}
			want := tc.err
			if tc.wantRace {
				want = nil
			}
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}
