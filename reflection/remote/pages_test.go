package remote

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
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
		for _, part := range []string{
			`{"kind":"PodList","apiVersion":"v1","metadata":{"continue":"`, next,
			`"},"items":[{"metadata":{"name":"web","annotations":{"a":"`, filling, `"}}}]}`,
		} {
			_, _ = io.WriteString(w, part)
		}
	}), Options{Timeout: time.Minute}) // so much takes its time under the race detector
	config := c.Config()
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	client, err := kubernetes.NewForConfigAndClient(config, c.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	// Parts are not decoded: that takes the race detector seconds for each.
	list := func(selector string) error {
		for next := ""; ; next = "more" {
			part, err := client.CoreV1().RESTClient().Get().Namespace("shop").Resource("pods").
				VersionedParams(&metav1.ListOptions{LabelSelector: selector, Limit: 500, Continue: next},
					scheme.ParameterCodec).Do(t.Context()).Raw()
			if err != nil || !bytes.Contains(part[:100], []byte(`"continue":"more"`)) {
				return err
			}
		}
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
