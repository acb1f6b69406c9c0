package remote

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// pour writes n bytes of nothing, unless the reader has had enough.
func pour(w io.Writer, n int) {
	chunk := make([]byte, 1<<20)
	for ; n > 0; n -= len(chunk) {
		if _, err := w.Write(chunk[:min(n, len(chunk))]); err != nil {
			return
		}
	}
}

// bomb is a few kilobytes that become n bytes.
func bomb(t *testing.T, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	pour(w, n)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestHowMuchOfAnAnswerIsRead(t *testing.T) {
	const namespaces, tooMuch = "/api/v1/namespaces/", maxAnswer + 1
	const pods, objects, inPods = namespaces + "shop/pods", namespaces + "shop/configmaps", namespaces + "pods/secrets"
	small := bomb(t, tooMuch)
	for name, tc := range map[string]struct {
		path string
		code int
		gzip bool
		size int
		cut  bool
	}{
		"as much as allowed":                      {path: pods, code: 200, size: maxAnswer},
		"a byte more":                             {path: pods, code: 200, size: tooMuch, cut: true},
		"a small answer that is not":              {path: pods, code: 200, gzip: true, size: tooMuch, cut: true},
		"a refusal":                               {path: pods, code: 403, size: tooMuch, cut: true},
		"a watch":                                 {path: pods + "?watch=true", code: 200, size: tooMuch},
		"no watch":                                {path: pods + "?watch=false", code: 200, size: tooMuch, cut: true},
		"a watch that is refused":                 {path: pods + "?watch=1", code: 410, size: tooMuch, cut: true},
		"a log":                                   {path: pods + "/web/log?follow=true", code: 200, size: tooMuch},
		"a log that is refused":                   {path: pods + "/web/log", code: 500, size: tooMuch, cut: true},
		"an object that is called log":            {path: objects + "/log", code: 200, size: tooMuch, cut: true},
		"one in a namespace that is called pods":  {path: inPods + "/log", code: 200, size: tooMuch, cut: true},
		"a pod that is called log":                {path: pods + "/log", code: 200, size: tooMuch, cut: true},
		"discovery, by a path of a few words":     {path: "/log", code: 200, size: tooMuch, cut: true},
		"a log behind a path of the API server's": {path: "/clusters/x" + pods + "/web/log", code: 200, size: tooMuch},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, provider(t, func(w http.ResponseWriter, _ *http.Request) {
				if tc.gzip {
					w.Header().Set("Content-Encoding", "gzip")
					w.WriteHeader(tc.code)
					_, _ = w.Write(small)
					return
				}
				w.WriteHeader(tc.code)
				pour(w, tc.size)
			}), Options{})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.config.Host+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if cut := errors.Is(err, ErrAnswerTooLong); cut != tc.cut || !cut && err != nil {
				t.Errorf("want cut %t, got %v", tc.cut, err)
			}
			if want := int64(min(tc.size, maxAnswer)); tc.cut && n != want || !tc.cut && n != int64(tc.size) {
				t.Errorf("read %d bytes", n)
			}
			if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
				t.Error("there is more")
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAClientSaysThatAnAnswerIsTooLong(t *testing.T) {
	small := bomb(t, maxAnswer+1)
	c := connect(t, provider(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(small)
	}), Options{})
	client, err := kubernetes.NewForConfigAndClient(c.Config(), c.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Pods("shop").Get(t.Context(), "web", metav1.GetOptions{})
	const want = "the provider's answer is too long: GET /api/v1/namespaces/shop/pods/web: more than 64 MiB"
	if !errors.Is(err, ErrAnswerTooLong) || !strings.Contains(err.Error(), want) {
		t.Errorf("want %q, got %v", want, err)
	}
}
