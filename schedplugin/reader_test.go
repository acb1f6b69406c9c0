package schedplugin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// answer writes an API server's refusal.
func answer(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "said the server",
	}
	_ = json.NewEncoder(w).Encode(status)
}

func reading(t *testing.T, handler http.HandlerFunc) *reader {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	r, err := newReader(&rest.Config{
		Host: server.URL,
		// As kube-scheduler's own client is, which our kinds do not understand.
		ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeProtobuf}, QPS: 50, Burst: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestIdentityIsWhatTheServerSays(t *testing.T) {
	off := build.Offloading("shop").Obj()
	off.APIVersion, off.Kind = v1beta1.GroupVersion.String(), "NamespaceOffloading"
	off.UID, off.Generation, off.DeletionTimestamp = "u-1", 7, &metav1.Time{Time: time.Unix(1, 0)}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    identity
		wantErr bool
	}{
		"there is one": {
			handler: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(off)
			},
			want: identity{UID: "u-1", Generation: 7, Deleting: true},
		},
		"there is none, or no such kind": {
			handler: func(w http.ResponseWriter, _ *http.Request) { answer(w, 404, metav1.StatusReasonNotFound) },
		},
		"it is not for us to see": {
			handler: func(w http.ResponseWriter, _ *http.Request) { answer(w, 403, metav1.StatusReasonForbidden) },
		},
		"the server is in trouble": {
			handler: func(w http.ResponseWriter, _ *http.Request) { answer(w, 500, metav1.StatusReasonInternalError) },
			wantErr: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := reading(t, func(w http.ResponseWriter, q *http.Request) {
				const path = "/apis/offloading.liqo.io/v1beta1/namespaces/shop/namespaceoffloadings/offloading"
				if q.URL.Path != path {
					t.Errorf("asked for %s, want %s", q.URL.Path, path)
				}
				if accept := q.Header.Get("Accept"); !strings.HasPrefix(accept, "application/json") {
					t.Errorf("asked for %s, which custom resources do not speak", accept)
				}
				if rv := q.URL.Query().Get("resourceVersion"); rv != "" {
					t.Errorf("asked for resource version %s: only a consistent read proves anything", rv)
				}
				test.handler(w, q)
			})
			got, err := r.identity(t.Context(), "shop")
			if (err != nil) != test.wantErr {
				t.Errorf("error %v, want one: %v", err, test.wantErr)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

// kind serves one kind the way an API server does that lacks it at first, and then has one object of it.
type kind struct {
	refusals atomic.Int32 // still to be given
	code     int
	reason   metav1.StatusReason
	list     runtime.Object
}

func (k *kind) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	query := q.URL.Query()
	switch {
	case query.Get("sendInitialEvents") != "": // the stream that not every server offers
		answer(w, 422, metav1.StatusReasonInvalid)
	case k.refusals.Add(-1) >= 0:
		answer(w, k.code, k.reason)
	case query.Get("watch") != "":
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		<-q.Context().Done()
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(k.list)
	}
}

func TestKindsThatComeLate(t *testing.T) {
	for name, k := range map[string]*kind{
		"the definition is missing": {code: 404, reason: metav1.StatusReasonNotFound},
		"the right is missing":      {code: 403, reason: metav1.StatusReasonForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			k.refusals.Store(2)
			k.list = &v1beta1.NamespaceOffloadingList{
				TypeMeta: metav1.TypeMeta{APIVersion: v1beta1.GroupVersion.String(), Kind: "NamespaceOffloadingList"},
				ListMeta: metav1.ListMeta{ResourceVersion: "5"},
				Items:    []v1beta1.NamespaceOffloading{*build.Offloading("shop").Obj()},
			}
			r := reading(t, k.ServeHTTP)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			heard := make(chan string, 10)
			go watch(ctx, r.rest, offloadingsResource, sink[v1beta1.NamespaceOffloading]{
				absent:  func() { heard <- "absent" },
				replace: func(all []*v1beta1.NamespaceOffloading) { heard <- all[0].Namespace },
			})
			for _, want := range []string{"absent", "absent", "shop"} {
				select {
				case got := <-heard:
					if got != want {
						t.Errorf("heard %q, want %q", got, want)
					}
				case <-ctx.Done():
					t.Fatalf("never heard %q", want)
				}
			}
		})
	}
}

func TestTroubleIsNoAnswer(t *testing.T) {
	k := &kind{code: 500, reason: metav1.StatusReasonInternalError, list: &v1beta1.NamespaceOffloadingList{
		TypeMeta: metav1.TypeMeta{APIVersion: v1beta1.GroupVersion.String(), Kind: "NamespaceOffloadingList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "5"},
	}}
	k.refusals.Store(1)
	r := reading(t, k.ServeHTTP)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f := newFixture(t)
	f.policies.read = false
	listed := make(chan struct{})
	go watch(ctx, r.rest, offloadingsResource, sink[v1beta1.NamespaceOffloading]{
		absent:  func() { t.Error("an internal error was taken for an answer") },
		replace: func([]*v1beta1.NamespaceOffloading) { close(listed) },
	})
	select {
	case <-listed:
	case <-ctx.Done():
		t.Fatal("never tried again")
	}
}

func TestSinkPassesEverythingOn(t *testing.T) {
	var heard []string
	s := sink[v1beta1.NamespaceMap]{
		put:     func(m *v1beta1.NamespaceMap) { heard = append(heard, "put "+m.Name) },
		drop:    func(m *v1beta1.NamespaceMap) { heard = append(heard, "drop "+m.Name) },
		replace: func(all []*v1beta1.NamespaceMap) { heard = append(heard, "replace "+all[0].Name) },
	}
	m := build.Map("provider-1").Obj()
	for _, err := range []error{s.Add(m), s.Update(m), s.Delete(m), s.Replace([]any{m}, "1"), s.Resync()} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"put provider-1", "put provider-1", "drop provider-1", "replace provider-1"}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	if s.Add("text") == nil || s.Replace([]any{"text"}, "1") == nil {
		t.Error("something else than a NamespaceMap was passed on")
	}
}
