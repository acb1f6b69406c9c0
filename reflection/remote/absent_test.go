package remote_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/twinspace/twinspace/reflection/remote"
)

func TestAbsent(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"an API server says that there is none": {apierrors.NewNotFound(pods, "web"), true},
		"it says so, and somebody adds a word":  {fmt.Errorf("read pod: %w", apierrors.NewNotFound(pods, "web")), true},
		"a load balancer has no API server behind it": {
			err: apierrors.NewGenericServerResponse(http.StatusNotFound, "get", pods, "web", "404", 0, true),
		},
		"there is no answer":    {err: errors.New("connection refused")},
		"it is there":           {},
		"it is not ours to see": {err: apierrors.NewForbidden(pods, "web", nil)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := remote.Absent(tc.err); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
