package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/reflection/remote"
)

// maxTokens is how many tokens a pod gets: each is asked from home again every 48 minutes or sooner, and all are in one
// Secret.
const maxTokens = 8

// reconcile makes the Secret of one pod what it should be. It returns when to look again if nothing happens.
func (t *Tokens) reconcile(ctx context.Context, h holder) (time.Duration, error) {
	if h.uid == "" {
		return 0, t.survey(ctx, h.Namespace)
	}
	w := t.twin(h.Namespace)
	if w == nil {
		t.forget(h.uid) // its Secret goes with the twin
		return 0, nil
	}
	home, _, known := t.pods.homePod(h.key)
	switch {
	case !w.synced(): // everything is looked at once it is
		if known {
			t.forgetUnused(home, h.uid)
		}
		return 0, nil
	case home == nil && !known:
		return lateWatch, nil
	case home == nil || home.UID != h.uid:
		return t.orphan(ctx, w, h)
	default:
		return t.settle(ctx, w, home)
	}
}

// settle is for a pod that is there.
func (t *Tokens) settle(ctx context.Context, w *tokenTwin, home *corev1.Pod) (time.Duration, error) {
	if !t.wants(home) {
		return 0, t.drop(ctx, w, home.UID)
	}
	return t.keep(ctx, w, home)
}

// forgetUnused forgets a UID that is not that of a pod that wants tokens; without a Secret, nothing brings it up again.
func (t *Tokens) forgetUnused(home *corev1.Pod, uid types.UID) {
	if home == nil || home.UID != uid || !t.wants(home) {
		t.forget(uid)
	}
}

// keep renews the tokens of a pod when it is time, and puts them back when they are gone.
func (t *Tokens) keep(ctx context.Context, w *tokenTwin, home *corev1.Pod) (time.Duration, error) {
	seen := w.secret(home.UID)
	if seen == nil && !t.placed(home) {
		t.tell(home, "") // what was refused was of a remote pod that is not there any more
		return 0, nil    // whoever creates the remote pod sees to the first ones
	}
	if wait := t.due(home.UID, seen); wait > 0 {
		return wait, nil
	}
	refusal, err := t.deliver(ctx, home, w.away, seen)
	if err != nil {
		return 0, err
	}
	t.tell(home, refusal)
	if refusal != "" {
		return 0, errTokenRefused
	}
	return t.due(home.UID, nil), nil
}

// placed tells whether a remote pod of this home pod exists, as far as anybody remembers.
func (t *Tokens) placed(home *corev1.Pod) bool {
	k := key{Namespace: home.Namespace, Name: home.Name}
	return t.pods.memory.get(k, home.UID).away != "" || translate.Existed(home)
}

// due returns for how long nothing is to be done about the Secret that the watch shows.
func (t *Tokens) due(uid types.UID, seen *corev1.Secret) time.Duration {
	now := t.clock.Now()
	is, ok := t.issue(uid)
	if !ok {
		if seen == nil {
			return 0
		}
		// Written before a restart. What a provider may have made of the date must not make a token outlive its use.
		at, err := time.Parse(time.RFC3339, seen.Annotations[v1beta1.AnnotationTokenRefresh])
		if err != nil || at.After(now.Add(time.Hour)) {
			return 0
		}
		is = issue{version: seen.ResourceVersion, refresh: at}
		t.remember(uid, is)
	}
	if is.shown(seen) {
		return is.refresh.Sub(now)
	}
	return min(is.refresh.Sub(now), is.at.Add(tokenRepairs).Sub(now))
}

// shown tells whether what the watch shows is what we wrote, or older. Then nobody has touched it since.
func (is issue) shown(seen *corev1.Secret) bool {
	if seen == nil {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(seen.ResourceVersion, is.version)
	return err == nil && order <= 0
}

// deliver asks home for the tokens of a pod and puts them into its Secret. Seen is that Secret, if there is one.
func (t *Tokens) deliver(
	ctx context.Context, home *corev1.Pod, away string, seen *corev1.Secret,
) (refusal string, err error) {
	if n := len(t.pods.opts.Access.Tokens(home)); n > maxTokens {
		t.pods.opts.Metrics.token(tokenRefused)
		return fmt.Sprintf("the pod asks for %d different tokens of home, and gets %d at most", n, maxTokens), nil
	}
	data, life, err := t.request(ctx, home)
	if err != nil {
		return t.judge(err, "home gives the pod no token of its ServiceAccount")
	}
	now := t.clock.Now()
	refresh := now.Add(life * 4 / 5)
	got, err := t.put(ctx, t.secret(home, away, data, refresh), seen)
	if err != nil {
		return t.judge(remote.Discreet(err), "the provider does not take the Secret with the pod's tokens")
	}
	t.pods.opts.Metrics.token(tokenIssued)
	t.remember(home.UID, issue{version: got.ResourceVersion, at: now, refresh: refresh})
	return "", nil
}

// errNotOurs says that somebody else has the name of a Secret that we would create.
var errNotOurs = errors.New("a Secret of that name exists and is not ours")

// judge turns an answer that is about this pod into a sentence for its user.
func (t *Tokens) judge(err error, what string) (string, error) {
	if errors.Is(err, errNotOurs) || isRefusal(err) && !apierrors.IsConflict(err) {
		t.pods.opts.Metrics.token(tokenRefused)
		return what + ": " + err.Error(), nil
	}
	return "", fmt.Errorf("%s: %w", what, err)
}

// request returns the tokens by their keys, and how long the first to end lives. That is what the server says they
// live, not the time until it says they end, which is by its clock.
func (t *Tokens) request(ctx context.Context, home *corev1.Pod) (map[string][]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	data, life := map[string][]byte{}, time.Hour
	for _, token := range t.pods.opts.Access.Tokens(home) {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &token.Seconds,
			BoundObjectRef: &authenticationv1.BoundObjectReference{
				APIVersion: "v1", Kind: "Pod", Name: home.Name, UID: home.UID,
			},
		}}
		if token.Audience != "" {
			request.Spec.Audiences = []string{token.Audience}
		}
		got, err := t.pods.opts.Home.CoreV1().ServiceAccounts(home.Namespace).CreateToken(ctx,
			cmp.Or(home.Spec.ServiceAccountName, "default"), request, metav1.CreateOptions{FieldManager: fieldManager})
		if err != nil {
			return nil, 0, err
		}
		data[token.Key] = []byte(got.Status.Token)
		if s := got.Spec.ExpirationSeconds; s != nil {
			life = min(life, time.Duration(*s)*time.Second)
		}
	}
	return data, life, nil
}

func (t *Tokens) secret(home *corev1.Pod, away string, data map[string][]byte, refresh time.Time) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: away, Name: translate.TokenSecret(home.UID),
			Labels: map[string]string{
				v1beta1.LabelOrigin: t.pods.opts.Origin, v1beta1.LabelDestination: t.pods.opts.Destination,
				v1beta1.LabelTokenOf: string(home.UID),
			},
			Annotations: map[string]string{
				v1beta1.AnnotationTokenPod:     home.Name,
				v1beta1.AnnotationTokenRefresh: refresh.UTC().Format(time.RFC3339),
			},
		},
		Type: corev1.SecretTypeOpaque, Data: data,
	}
}

// put creates the Secret, or changes the one that is there if it is ours.
func (t *Tokens) put(ctx context.Context, want, seen *corev1.Secret) (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api := t.pods.opts.Away.CoreV1().Secrets(want.Namespace)
	if seen == nil {
		got, err := api.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
		if !apierrors.IsAlreadyExists(err) {
			return got, err
		}
		if seen, err = api.Get(ctx, want.Name, metav1.GetOptions{}); err != nil {
			return nil, err
		}
		for _, label := range []string{v1beta1.LabelOrigin, v1beta1.LabelTokenOf} {
			if seen.Labels[label] != want.Labels[label] {
				return nil, fmt.Errorf("%s/%s: %w", want.Namespace, want.Name, errNotOurs)
			}
		}
	}
	patch, err := secretPatch(want, seen)
	if err != nil {
		return nil, err
	}
	got, err := api.Patch(ctx, want.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if apierrors.IsInvalid(err) { // somebody made it immutable
		err = api.Delete(ctx, want.Name, metav1.DeleteOptions{
			Preconditions: metav1.NewUIDPreconditions(string(seen.UID)),
		})
		if err == nil {
			return api.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
		}
	}
	if apierrors.IsNotFound(err) {
		return api.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
	}
	return got, err
}

// secretPatch changes exactly the object, in exactly the state, that was looked at.
func secretPatch(want, seen *corev1.Secret) ([]byte, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": seen.UID, "resourceVersion": seen.ResourceVersion, "labels": want.Labels,
			"annotations": want.Annotations,
		},
		"data": want.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("encode Secret: %w", err)
	}
	return patch, nil
}

// orphan deletes the Secret of a pod that is gone. The watches of home know only our Nodes' pods, so home is asked.
func (t *Tokens) orphan(ctx context.Context, w *tokenTwin, h holder) (time.Duration, error) {
	calling, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	home, err := t.pods.opts.Home.CoreV1().Pods(h.Namespace).Get(calling, h.Name, metav1.GetOptions{})
	switch {
	case err == nil && home.UID == h.uid:
		return backoffMax, nil // of a Node that we do not serve, or not yet
	case err != nil && !apierrors.IsNotFound(err):
		return 0, fmt.Errorf("look for the home pod: %w", err)
	}
	return 0, t.drop(ctx, w, h.uid)
}

// drop deletes the Secret of a pod that wants no tokens.
func (t *Tokens) drop(ctx context.Context, w *tokenTwin, uid types.UID) error {
	if seen := w.secret(uid); seen != nil {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err := t.pods.opts.Away.CoreV1().Secrets(w.away).Delete(ctx, seen.Name, metav1.DeleteOptions{
			Preconditions: metav1.NewUIDPreconditions(string(seen.UID)),
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete the Secret with tokens: %w", err)
		}
	}
	t.forget(uid)
	return nil
}
