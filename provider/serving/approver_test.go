package serving

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/e2e/build"
)

// server is the API server as it describes itself, in a cluster without ServiceCIDRs.
func server() (*corev1.Service, *discoveryv1.EndpointSlice) {
	meta := metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}
	return &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1", "fd00:96::1"},
		}}, &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{"192.0.2.10"}}, {Addresses: []string{"192.0.2.11"}},
			},
		}
}

func TestReservedAddresses(t *testing.T) {
	worker := build.Node("worker-1")
	worker.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.1.0.1"}}
	milan, rome := virtual("milan", "milan-id", "10.1.0.7"), virtual("rome", "rome-id", "10.1.0.8")
	service, slice := server()
	for name, tc := range map[string]struct {
		had  []client.Object
		want map[netip.Addr]string
	}{
		"those of ordinary nodes and of the API server": {
			[]client.Object{worker, milan, rome, service, slice}, map[netip.Addr]string{
				netip.MustParseAddr("10.1.0.1"):   "node worker-1",
				netip.MustParseAddr("10.96.0.1"):  "the API server",
				netip.MustParseAddr("fd00:96::1"): "the API server",
				netip.MustParseAddr("192.0.2.10"): "the API server",
				netip.MustParseAddr("192.0.2.11"): "the API server",
			},
		},
		"an API server that does not say where it is": {
			[]client.Object{worker}, map[netip.Addr]string{netip.MustParseAddr("10.1.0.1"): "node worker-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			live := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(tc.had...).Build()
			f := facts{others: map[netip.Addr]string{}}
			if err := (&Approver{Live: live}).reservedAddresses(t.Context(), &f); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, f.others, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestNothingIsApprovedWhileTheAPIServersAddressesCannotBeRead(t *testing.T) {
	service, slice := server()
	for _, kind := range []client.Object{service, slice} {
		live := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(service, slice).WithInterceptorFuncs(
			interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey,
				into client.Object, opts ...client.GetOption,
			) error {
				if reflect.TypeOf(into) == reflect.TypeOf(kind) {
					return errors.New("no")
				}
				return c.Get(ctx, key, into, opts...)
			}}).Build()
		f := facts{others: map[netip.Addr]string{}}
		err := (&Approver{Live: live}).reservedAddresses(t.Context(), &f)
		if err == nil || !strings.Contains(err.Error(), "default/kubernetes: no") {
			t.Errorf("%T: want the error, got %v", kind, err)
		}
	}
}
