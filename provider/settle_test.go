package provider

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// theTwin is a namespace of the provider that is marked as the twin of shop.
func theTwin() runtime.Object {
	return build.Namespace("shop-home").Label(v1beta1.LabelRemoteClusterID, "home").
		Annotation(v1beta1.AnnotationTwinHomeName, "shop").Obj()
}

func TestUnmentionedNamespace(t *testing.T) {
	noAnswer := errors.New("no answer")
	others := build.Namespace("other").Label(v1beta1.LabelRemoteClusterID, "elsewhere").
		Annotation(v1beta1.AnnotationTwinHomeName, "shop").Obj()
	for name, tc := range map[string]struct {
		after     time.Duration
		mapped    bool
		err       error // of home
		there     runtime.Object
		away      error
		unhealthy error
		want      twinPhase
	}{
		"unmapped, and the provider has none":       {want: twinGone},
		"unmapped, and the provider has somebody's": {there: others, want: twinGone},
		"mapped":                                        {mapped: true, want: twinUnknown},
		"mapped, and long ago":                          {after: noTwin, mapped: true, want: twinUnknown},
		"unmapped, and the provider has one":            {there: theTwin(), want: twinUnknown},
		"long ago unmapped, and the provider has one":   {after: noTwin, there: theTwin(), want: twinUnknown},
		"unmapped, and the provider does not answer":    {away: noAnswer, want: twinUnknown},
		"long ago unmapped, and it does not answer":     {after: noTwin, away: noAnswer, want: twinGone},
		"unmapped, and the provider cannot be reached":  {unhealthy: noAnswer, want: twinUnknown},
		"long ago unmapped, and it cannot be reached":   {after: noTwin, unhealthy: noAnswer, want: twinGone},
		"home does not say whether there is a mapping":  {err: noAnswer, want: twinUnknown},
		"home does not say so, and has not for a while": {after: noTwin, err: noAnswer, want: twinUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
			away := fake.NewClientset()
			if tc.there != nil {
				away = fake.NewClientset(tc.there)
			}
			away.PrependReactor("list", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
				return tc.away != nil, nil, tc.away
			})
			p := NewPods(PodsOptions{
				Origin: "home", Away: away, Clock: clock, Health: &fakeHealth{err: tc.unhealthy},
				Mapped: func(context.Context, string) (bool, error) { return tc.mapped, tc.err },
			})
			defer p.queue.ShutDown()
			p.started = clock.Now()
			clock.Step(tc.after)
			w := &work{key: key{Namespace: "shop", Name: "web"}, facts: facts{twin: twinUnknown}}
			if err := p.settleTwin(t.Context(), w); !errors.Is(err, tc.err) || w.twin != tc.want {
				t.Errorf("want %s, got %s, %v", tc.want, w.twin, err)
			}
		})
	}
}

func TestManyPodsAskTheProviderOnce(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	away := fake.NewClientset(theTwin())
	p := NewPods(PodsOptions{Origin: "home", Away: away, Clock: clock})
	defer p.queue.ShutDown()
	for range 10 {
		if homes, err := p.twinnedHomes(t.Context()); err != nil || !homes.Has("shop") || homes.Len() != 1 {
			t.Errorf("got %v, %v", homes, err)
		}
	}
	if asked := len(away.Actions()); asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	clock.Step(twinnedFor)
	_, _ = p.twinnedHomes(t.Context())
	if asked := len(away.Actions()); asked != 2 {
		t.Errorf("later, it was asked %d times", asked)
	}
}
