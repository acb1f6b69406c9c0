package peering

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Peer makes the peering, or brings an existing one up to date. A *RefusedError means that nothing was changed.
func (p *Peering) Peer(ctx context.Context) error {
	home, away, err := p.check(ctx)
	if err != nil {
		return err
	}
	p.Report("both clusters answer, and you may do what is needed on them")
	objects, err := p.awayObjects(string(home.UID))
	if err != nil {
		return err
	}
	if err := applyAll(ctx, p.Away, objects); err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	p.Report("the provider has the roles, the admission fence and the identity of this consumer")
	kubeconfig, err := p.credential(ctx)
	if err != nil {
		return err
	}
	nodes, err := p.virtualNodes(ctx)
	if err != nil {
		return err
	}
	if err := applyAll(ctx, p.Home, p.homeObjects(string(away.UID), kubeconfig, nodes)); err != nil {
		return fmt.Errorf("this cluster: %w", err)
	}
	if err := errors.Join(p.narrow(ctx), p.unshare(ctx)); err != nil {
		return err
	}
	p.Report(fmt.Sprintf("virtual node %s is declared; its agent brings it up, and %s", p.NodeName, p.scoped()))
	return nil
}

// credential returns a kubeconfig of the identity, once it is proved that the fence stands.
func (p *Peering) credential(ctx context.Context) ([]byte, error) {
	request, err := requestToken(ctx, p.Away, p.HomeID, p.TokenTTL)
	if err != nil {
		return nil, err
	}
	if err := p.prove(ctx, request.Status.Token); err != nil {
		return nil, err
	}
	sentence := "the fence holds; the agent gets a token which it renews before it expires"
	granted := time.Duration(ptr.Deref(request.Spec.ExpirationSeconds, 0)) * time.Second
	if granted != p.TokenTTL {
		sentence += fmt.Sprintf(" (the provider grants %s, not %s)",
			duration.HumanDuration(granted), duration.HumanDuration(p.TokenTTL))
	}
	p.Report(sentence)
	return p.kubeconfig(request.Status.Token)
}

func applyAll(ctx context.Context, c client.Client, objects []client.Object) error {
	for _, object := range objects {
		if err := apply(ctx, c, object); err != nil {
			return err
		}
	}
	return nil
}

// apply makes an object as given. Fields that others have set and that are ours to say are taken over: the names are
// ours, and what they grant is not up to anybody else.
func apply(ctx context.Context, c client.Client, object client.Object) error {
	gvk, err := apiutil.GVKForObject(object, c.Scheme())
	if err != nil {
		return fmt.Errorf("apply %s: %w", object.GetName(), err)
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", gvk.Kind, object.GetName(), err)
	}
	fields["apiVersion"], fields["kind"] = gvk.GroupVersion().String(), gvk.Kind
	delete(fields, "status")
	body, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", gvk.Kind, object.GetName(), err)
	}
	patch := client.RawPatch(types.ApplyYAMLPatchType, body)
	if err := c.Patch(ctx, object, patch, client.FieldOwner(FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply %s %s: %w", gvk.Kind, object.GetName(), err)
	}
	return nil
}
