package remote

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/util/workqueue"
)

func TestWhatFailedIsTriedAtOnceWhenAsked(t *testing.T) {
	retries := NewRetries(workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Hour, 8*time.Hour))
	queue := workqueue.NewTypedRateLimitingQueue[string](retries)
	defer queue.ShutDown()
	hurried := func() []string {
		retries.Hurry(queue.Add)
		got := []string{}
		for queue.Len() > 0 {
			item, _ := queue.Get()
			got = append(got, item)
			queue.Done(item)
		}
		slices.Sort(got)
		return got
	}
	queue.AddRateLimited("shop")
	queue.AddRateLimited("bank")
	queue.AddRateLimited("bank")
	if queue.Len() != 0 {
		t.Fatal("what failed does not wait")
	}
	if diff := cmp.Diff([]string{"bank", "shop"}, hurried()); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if pause := retries.When("bank"); pause != 4*time.Hour {
		t.Errorf("after three failures the pause is %s", pause)
	}
	queue.Forget("bank")
	if diff := cmp.Diff([]string{"shop"}, hurried()); diff != "" {
		t.Errorf("what was done since is tried again, -want,+got:\n%s", diff)
	}
}
