package eviction

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// The API server asks to come back in ten seconds: that is for us to do, not for the client in the middle of a round.
func TestARefusedEvictionIsNotRepeated(t *testing.T) {
	const why = "The disruption budget web is still being processed by the server."
	refusal := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Reason: metav1.StatusReasonTooManyRequests, Code: http.StatusTooManyRequests,
		Details: &metav1.StatusDetails{
			RetryAfterSeconds: 10,
			Causes:            []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: why}},
		},
	}
	var asked []string
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		asked = append(asked, request.Method+" "+request.URL.Path)
		w.Header().Set("Retry-After", "10")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		if err := json.NewEncoder(w).Encode(refusal); err != nil {
			t.Error(err)
		}
	}))
	defer home.Close()
	evictor, err := NewEvictor(&rest.Config{Host: home.URL}, home.Client())
	if err != nil {
		t.Fatal(err)
	}
	err = evictor.Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}})
	if !apierrors.IsTooManyRequests(err) {
		t.Errorf("error %v", err)
	}
	if said, held := heldBack(err); !held || said != why {
		t.Errorf("held %v: %s", held, said)
	}
	if len(asked) != 1 || asked[0] != "POST /api/v1/namespaces/shop/pods/web/eviction" {
		t.Errorf("asked %v", asked)
	}
}

func TestAnEvictorOfNoCluster(t *testing.T) {
	if _, err := NewEvictor(&rest.Config{Host: "http://[::1"}, http.DefaultClient); err == nil {
		t.Error("an address that is none was taken for one")
	}
}
