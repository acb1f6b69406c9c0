package nemesis

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

// credentialFaults are what becomes of an agent's identity on a provider.
func credentialFaults() []Fault {
	const rotation = 15 * time.Second
	return []Fault{
		Fault{
			Name: "credential-rotated", Does: "the credential for a provider is replaced four times a minute",
			Breaks: Credential, Hold: time.Minute,
			Inject: func(ctx context.Context, s *Scene) (Heal, error) {
				return Repeat(ctx, func() time.Duration { return rotation },
					func(ctx context.Context) error { return peer(ctx, s) })
			},
		}.here(30*time.Second).needs(HomeServer, ProviderServer),
		Fault{
			Name: "credential-revoked", Does: "the agent's identity on a provider is deleted for 30 s, then made anew",
			Breaks: Credential, Hold: 30 * time.Second, Inject: revoked,
		}.here(time.Minute).needs(HomeServer, ProviderServer),
	}
}

// peer repeats the command by which the provider was peered with, which gives it a new credential.
func peer(ctx context.Context, s *Scene) error {
	away := s.Env.Cluster(s.Provider)
	out, err := s.Env.Liqoctl(ctx, "peer", "--remote-kubeconfig="+away.Kubeconfig,
		"--remote-cluster-id="+away.Name, "--remote-server="+away.ProxiedServer(), "--node-name="+away.Name,
		"--label=liqo.io/provider="+away.Name,
		"--label="+corev1.LabelTopologyRegion+"=region-"+strings.TrimPrefix(away.Name, "provider-"))
	if err != nil {
		return fmt.Errorf("peer with %s again: %w\n%s", away.Name, err, out)
	}
	return nil
}

func revoked(ctx context.Context, s *Scene) (Heal, error) {
	identity := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1beta1.TenantNamespace(env.Consumer), Name: v1beta1.PeerServiceAccount,
	}}
	heal := func(ctx context.Context) error { return peer(ctx, s) }
	if err := client.IgnoreNotFound(provider(s).Delete(ctx, identity)); err != nil {
		return heal, fmt.Errorf("delete the identity: %w", err)
	}
	return heal, nil
}
