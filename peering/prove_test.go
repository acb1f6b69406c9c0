package peering_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// TestNoFence: where policies are not in force, the identity is taken away again and home gets nothing.
func TestNoFence(t *testing.T) {
	home, away := cluster("uid-a"), cluster("uid-b")
	p := story(t, home, away, &said{})
	p.AsPeer = func(string) (client.Client, error) {
		return fake.NewClientBuilder().WithScheme(scheme(t)).Build(), nil // whatever is asked is done
	}
	p.FenceTimeout = time.Second
	err := p.Peer(t.Context())
	if err == nil || !strings.Contains(err.Error(), "policy liqo-twins is not in force") {
		t.Errorf("got %v", err)
	}
	absent(t, p.Away, serviceAccount("liqo-tenant-a", v1beta1.PeerServiceAccount))
	if home.writes > 0 {
		t.Error("home was written to")
	}
}

// TestNoProof: a repeated peering that cannot prove the fence leaves the one that works as it was.
func TestNoProof(t *testing.T) {
	lost := &url.Error{Op: "Post", URL: "https://provider.example", Err: errors.New("connection reset")}
	tests := map[string]struct {
		answer    func(asked int) error
		interrupt bool
		want      string
	}{
		"no answer":               {answer: func(int) error { return lost }, want: "could not be proved"},
		"no answer any more":      {answer: afterwards(lost), want: "connection reset"},
		"interrupted":             {answer: func(int) error { return lost }, interrupt: true, want: "interrupted"},
		"interrupted as it rises": {answer: func(int) error { return nil }, interrupt: true, want: "interrupted"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, _ := peered(t, cluster("uid-a"), cluster("uid-b"))
			stored := credential(t, p).Token
			p.FenceTimeout = time.Second
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked := 0
			p.AsPeer = func(string) (client.Client, error) {
				return fake.NewClientBuilder().WithScheme(scheme(t)).WithInterceptorFuncs(interceptor.Funcs{
					Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
						if asked++; tt.interrupt {
							cancel()
						}
						return tt.answer(asked)
					},
				}).Build(), nil
			}
			if err := p.Peer(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			present(t, p.Away, serviceAccount("liqo-tenant-a", v1beta1.PeerServiceAccount))
			if credential(t, p).Token != stored {
				t.Error("a credential was stored without proof")
			}
		})
	}
}

// afterwards lets the first trespass through, as a fence that rises does, and then fails.
func afterwards(err error) func(int) error {
	return func(asked int) error {
		if asked == 1 {
			return nil
		}
		return err
	}
}
