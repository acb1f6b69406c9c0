package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
)

func TestAListThatNeverEndsIsNotCollected(t *testing.T) {
	var parts atomic.Int32
	filling := strings.Repeat("x", maxAnswer/4)
	c := connect(t, provider(t, func(w http.ResponseWriter, r *http.Request) {
		parts.Add(1)
		next := "more"
		if r.URL.Query().Get("labelSelector") != "" && r.URL.Query().Get("continue") != "" {
			next = ""
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"continue":%q},"items":[{"metadata":`+
			`{"name":"web","annotations":{"a":%q}}}]}`, next, filling)
	}), Options{Timeout: time.Minute}) // so much takes its time under the race detector
	config := c.Config()
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	client, err := kubernetes.NewForConfigAndClient(config, c.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	list := func(selector string) error {
		_, _, err := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.CoreV1().Pods("shop").List(ctx, o)
		}).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
		return err
	}
	for range 2 { // the second time it begins anew
		parts.Store(0)
		if err := list(""); !errors.Is(err, ErrAnswerTooLong) {
			t.Errorf("want %v, got %v", ErrAnswerTooLong, err)
		}
		if got := parts.Load(); got != 5 {
			t.Errorf("%d parts were asked for", got)
		}
	}
	for range 5 { // a list that ends is none of them, however often it is asked for
		if err := list("a=b"); err != nil {
			t.Fatal(err)
		}
	}
}
