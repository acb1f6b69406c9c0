package provider

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/watching"
)

// tokenTwin is a twin that may hold tokens. It is watched once it does.
type tokenTwin struct {
	home, away string
	informer   cache.SharedIndexInformer
	cancel     context.CancelFunc
}

func (w *tokenTwin) stop() {
	if w.cancel != nil {
		w.cancel()
	}
}

// synced says whether all Secrets with tokens are known.
func (w *tokenTwin) synced() bool { return w.informer != nil && w.informer.HasSynced() }

// secret returns the Secret of a home pod without its tokens, as the watch shows it, or nil.
func (w *tokenTwin) secret(home types.UID) *corev1.Secret {
	obj, ok, err := w.informer.GetStore().GetByKey(w.away + "/" + translate.TokenSecret(home))
	if err != nil || !ok {
		return nil
	}
	return obj.(*corev1.Secret)
}

// twin returns a copy of what is known of a twin, which is watched from now on; nil when it cannot be written to.
func (t *Tokens) twin(home string) *tokenTwin {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.twins[home]
	if w == nil {
		return nil
	}
	if w.informer == nil && t.ctx != nil {
		if err := t.watch(w); err != nil {
			log.FromContext(t.ctx).Error(err, "Cannot watch the Secrets of a twin", "namespace", w.away)
			return nil
		}
	}
	out := *w
	return &out
}

// watch needs the lock.
func (t *Tokens) watch(w *tokenTwin) error {
	opts := &t.pods.opts
	attempts := &watching.Attempts{
		Cluster: opts.Destination, Namespace: w.away, Resource: "secrets", Clock: opts.Clock,
	}
	secrets := watching.Through(opts.Away.CoreV1().Secrets(w.away), opts.Away,
		func(o *metav1.ListOptions) { o.LabelSelector = t.selector() })
	informer := cache.NewSharedIndexInformer(attempts.ListWatch(secrets), &corev1.Secret{}, 0, cache.Indexers{})
	if err := informer.SetTransform(withoutData); err != nil {
		return err
	}
	changed := func(obj any) { t.secretChanged(w.home, obj) }
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, DeleteFunc: changed, UpdateFunc: func(_, obj any) { changed(obj) },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.ctx)
	w.informer, w.cancel = informer, cancel
	t.running.Go(func() { informer.RunWithContext(ctx) })
	t.running.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			t.all(w.home)
		}
	})
	return nil
}

// selector is what our Secrets carry. It is not what reflected objects carry, so reflection does not take them for
// copies that have lost their source.
func (t *Tokens) selector() string {
	return fmt.Sprintf("%s=%s,%s", v1beta1.LabelOrigin, t.pods.opts.Origin, v1beta1.LabelTokenOf)
}

// all looks at every pod of a home namespace that wants tokens.
func (t *Tokens) all(home string) {
	for _, pod := range t.pods.List(home) {
		if t.wants(pod) {
			t.queue.Add(holderOf(pod))
		}
	}
}

func (t *Tokens) secretChanged(home string, obj any) {
	if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = d.Obj
	}
	if secret, ok := obj.(*corev1.Secret); ok {
		t.queue.Add(holder{
			key: key{Namespace: home, Name: secret.Annotations[v1beta1.AnnotationTokenPod]},
			uid: types.UID(secret.Labels[v1beta1.LabelTokenOf]),
		})
	}
}

// withoutData keeps tokens out of our memory.
func withoutData(obj any) (any, error) {
	if secret, ok := obj.(*corev1.Secret); ok {
		secret.Data, secret.ManagedFields = nil, nil
	}
	return obj, nil
}

// survey watches a twin that has Secrets of ours, whoever their pods were.
func (t *Tokens) survey(ctx context.Context, home string) error {
	t.mu.Lock()
	w := t.twins[home]
	t.mu.Unlock()
	if w == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := t.pods.opts.Away.CoreV1().Secrets(w.away).List(ctx,
		metav1.ListOptions{LabelSelector: t.selector(), Limit: 1})
	if err != nil {
		return fmt.Errorf("look for tokens in twin %s: %w", w.away, err)
	}
	if len(list.Items) > 0 {
		t.twin(home)
	}
	return nil
}
