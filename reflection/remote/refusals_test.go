package remote

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes"
)

func TestARefusalForWantOfARightIsToldOf(t *testing.T) {
	const inTwin = `User "system:serviceaccount:liqo-tenant-a:liqo-a" cannot delete resource "pods" in API group "" ` +
		`in the namespace "shop-a"`
	plain := json.NewSerializerWithOptions(json.DefaultMetaFactory, nil, nil, json.SerializerOptions{})
	encodings := map[string]runtime.Encoder{
		runtime.ContentTypeJSON:     plain,
		runtime.ContentTypeProtobuf: protobuf.NewSerializer(nil, nil),
	}
	for name, tc := range map[string]struct {
		code  int
		words string
		want  []string
	}{
		"in a namespace":  {http.StatusForbidden, inTwin, []string{"shop-a"}},
		"with the reason": {http.StatusForbidden, inTwin + ": RBAC: clusterrole not found", []string{"shop-a"}},
		"of the cluster": {http.StatusForbidden,
			`User "a" cannot list resource "nodes" in API group "" at the cluster scope`, nil},
		"by admission":                    {http.StatusForbidden, "exceeded quota: compute, requested: pods=1", nil},
		"by admission, in a lot of words": {http.StatusForbidden, strings.Repeat("no ", longestRefusal), nil},
		"not a refusal":                   {http.StatusConflict, inTwin, nil},
	} {
		for contentType, encoding := range encodings {
			t.Run(name+", "+contentType, func(t *testing.T) {
				answer := apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New(tc.words)).Status()
				answer.Code = int32(tc.code) //nolint:gosec // G115: one of those above
				answer.SetGroupVersionKind(metav1.Unversioned.WithKind("Status"))
				c := connect(t, provider(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", contentType)
					w.WriteHeader(tc.code)
					_ = encoding.Encode(&answer, w)
				}), Options{})
				var told []string
				c.OnRefusal(func(namespace string) { told = append(told, namespace) })
				config := c.Config()
				config.AcceptContentTypes, config.ContentType = contentType, contentType
				client, err := kubernetes.NewForConfigAndClient(config, c.HTTPClient())
				if err != nil {
					t.Fatal(err)
				}
				err = client.CoreV1().Pods("shop-a").Delete(t.Context(), "web", metav1.DeleteOptions{})
				if err == nil || !strings.HasSuffix(err.Error(), tc.words) {
					t.Errorf("who asked hears %v", err)
				}
				if diff := cmp.Diff(tc.want, told); diff != "" {
					t.Errorf("-want,+got:\n%s", diff)
				}
			})
		}
	}
}
