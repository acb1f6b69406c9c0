package peering

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// How long an API server may take to put new roles and policies into force, and how often it is asked in that time.
const (
	fenceTimeout = 20 * time.Second
	fenceAsked   = 80
)

// trespass is a request of the identity that its roles allow and that the named policy must refuse.
type trespass struct {
	object client.Object
	policy string
}

// errOpen says that the identity may do what a policy must refuse.
var errOpen = errors.New("is not in force")

// prove asks, as the identity and as a dry run, for what the fence must refuse, until it does. An identity around which
// no fence rises, as where policies are turned off, is taken away again. No answer says nothing about the fence: then
// the identity stays, since it may be the one of a peering that works, and its new token has not been stored.
func (p *Peering) prove(ctx context.Context, token string) error {
	peer, err := p.AsPeer(token)
	if err != nil {
		return fmt.Errorf("act as the new identity: %w", err)
	}
	patience := cmp.Or(p.FenceTimeout, fenceTimeout)
	var last error
	err = wait.PollUntilContextTimeout(ctx, patience/fenceAsked, patience, true,
		func(ctx context.Context) (bool, error) {
			answer := p.trespass(ctx, peer)
			if last == nil || ctx.Err() == nil { // a request that the end of the wait cut off is no answer
				last = answer
			}
			return answer == nil, nil
		})
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled): // a fence that is rising still lets through
		return fmt.Errorf("interrupted while proving the fence; no new credential was stored: %w", ctx.Err())
	case !errors.Is(last, errOpen):
		return fmt.Errorf("whether the provider fences the identity in could not be proved; "+
			"no new credential was stored: %w", last)
	}
	account := &corev1.ServiceAccount{ObjectMeta: p.awayMeta(v1beta1.PeerServiceAccount)}
	if err := client.IgnoreNotFound(p.Away.Delete(context.WithoutCancel(ctx), account)); err != nil {
		return fmt.Errorf("the provider does not fence the identity in (%w), and taking it away failed: %w", last, err)
	}
	return fmt.Errorf("the provider does not fence the identity in, so it was taken away again: %w", last)
}

func (p *Peering) trespass(ctx context.Context, peer client.Client) error {
	for _, t := range []trespass{
		{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "unlabelled"}}, "liqo-twins"},
		{&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: v1beta1.TwinRole, Namespace: v1beta1.TenantNamespace(p.HomeID)},
			RoleRef:    clusterRole(v1beta1.TwinRole), Subjects: p.peer(),
		}, "liqo-fence"},
	} {
		err := peer.Create(ctx, t.object, client.DryRunAll)
		switch {
		case err == nil:
			return fmt.Errorf("policy %s %w", t.policy, errOpen)
		case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "'"+t.policy+"'"):
			return fmt.Errorf("policy %s did not answer: %w", t.policy, err)
		}
	}
	return nil
}
