package namespacemap

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// The Pod Security labels of a twin. The version is pinned, so that an upgrade of the provider does not change what
// runs; the provider's fence keeps them from being changed.
const (
	podSecurityPrefix  = "pod-security.kubernetes.io/"
	podSecurityLevel   = "baseline"
	podSecurityAdvice  = "restricted"
	podSecurityVersion = "v1.35"
)

// foreignError refuses to touch what is not ours.
type foreignError struct{ message string }

func (e *foreignError) Error() string { return e.message }

func asForeign(err error, target **foreignError) bool { return errors.As(err, target) }

// desired returns the twin as it is first written: with all marks.
func (t *Twins) desired(v *visit) *corev1.Namespace {
	level := t.PodSecurity
	if level == "" {
		level = podSecurityLevel
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: v.want,
		Labels: map[string]string{
			v1beta1.LabelRemoteClusterID:          t.Origin,
			podSecurityPrefix + "enforce":         level,
			podSecurityPrefix + "enforce-version": podSecurityVersion,
			podSecurityPrefix + "warn":            podSecurityAdvice,
			podSecurityPrefix + "warn-version":    podSecurityVersion,
			podSecurityPrefix + "audit":           podSecurityAdvice,
			podSecurityPrefix + "audit-version":   podSecurityVersion,
		},
		Annotations: map[string]string{
			v1beta1.AnnotationTwinOrigin:   t.Origin,
			v1beta1.AnnotationTwinMap:      v.m.String(),
			v1beta1.AnnotationTwinHomeName: v.home,
			v1beta1.AnnotationTwinHomeUID:  v.homeUID,
		},
	}}
}

// ours says whether a namespace on the provider is the twin of a home namespace, made for our map: a provider that home
// knows under two ids has two agents, and the twin of one is nothing that the other may take for left over.
func (t *Twins) ours(namespace *corev1.Namespace, home string) bool {
	return namespace.Labels[v1beta1.LabelRemoteClusterID] == t.Origin &&
		namespace.Annotations[v1beta1.AnnotationTwinOrigin] == t.Origin &&
		namespace.Annotations[v1beta1.AnnotationTwinMap] == v1beta1.TenantNamespace(t.ClusterID)+"/"+t.ClusterID &&
		namespace.Annotations[v1beta1.AnnotationTwinHomeName] == home
}

// acquire returns the twin, which it creates if there is none. What it finds under the name it compares, live.
func (t *Twins) acquire(ctx context.Context, v *visit) (*corev1.Namespace, error) {
	twin, err := t.read(ctx, v.want)
	if remote.Absent(err) {
		if v.accepted() {
			t.gone(v.home) // somebody deleted it
		}
		t.begun.begin(v.home, v.want)
		twin = t.desired(v)
		err = t.call(ctx, "create", func(ctx context.Context) error { return t.Away.Create(ctx, twin) })
		if apierrors.IsAlreadyExists(err) {
			twin, err = t.read(ctx, v.want)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create twin %s: %w", v.want, err)
	}
	if !t.ours(twin, v.home) {
		if !v.accepted() && !v.lost() {
			t.gone(v.home) // it never was: what waits for its end at home need not wait for us
		}
		return nil, &foreignError{fmt.Sprintf("namespace %s exists on cluster %s and is not ours: "+
			"it is left alone, and the twin is made once it is gone; or choose another name", v.want, t.ClusterID)}
	}
	return twin, nil
}

// unusable says why a twin that is ours cannot stay: it is being deleted, or belongs to an earlier home namespace.
func (t *Twins) unusable(v *visit, twin *corev1.Namespace) string {
	if !twin.DeletionTimestamp.IsZero() {
		return heldBy(twin)
	}
	uid := twin.Annotations[v1beta1.AnnotationTwinHomeUID]
	if uid != "" && uid != v.homeUID {
		return fmt.Sprintf("namespace %s belongs to an earlier namespace %s and is being replaced", twin.Name, v.home)
	}
	return ""
}

// renew gets a twin out of the way that is to be made anew.
func (t *Twins) renew(ctx context.Context, v *visit, twin *corev1.Namespace, why string) (reconcile.Result, error) {
	if twin.DeletionTimestamp.IsZero() {
		// Our cache told us the home namespace's incarnation; before anything is deleted, the API server has to.
		live := namespaceMeta(v.home)
		if err := t.Live.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
			return reconcile.Result{}, fmt.Errorf("get namespace %s: %w", v.home, err)
		}
		if string(live.UID) != v.homeUID || !live.DeletionTimestamp.IsZero() {
			return reconcile.Result{RequeueAfter: retryRequired}, nil
		}
	}
	t.leaving(v.home, twin.Name)
	if twin.DeletionTimestamp.IsZero() {
		switch err := t.delete(ctx, twin); {
		case apierrors.IsConflict(err): // it changed since we read it: nobody needs to hear of that
			return reconcile.Result{}, err
		case err != nil:
			return t.fail(ctx, v, err)
		}
	}
	err := t.record(ctx, v, terminating(v.want, "", why))
	return reconcile.Result{RequeueAfter: spread(retryTerminating, v.twins)}, err
}

// bind gives us our rights in the twin. It is only called for a namespace that was just seen to be ours.
func (t *Twins) bind(ctx context.Context, twin string) error {
	desired := t.binding(twin)
	there := &rbacv1.RoleBinding{}
	err := t.call(ctx, "read", func(ctx context.Context) error {
		return t.Away.Get(ctx, client.ObjectKeyFromObject(desired), there)
	})
	switch {
	case remote.Absent(err):
	case err != nil:
		return fmt.Errorf("get role binding in twin %s: %w", twin, err)
	case sameRights(there, desired):
		return nil
	case there.Labels[v1beta1.LabelRemoteClusterID] != t.Origin:
		return &foreignError{fmt.Sprintf("role binding %s in namespace %s of cluster %s is not ours: delete it",
			desired.Name, twin, t.ClusterID)}
	default: // somebody changed it; rights are never updated, only made anew
		err := t.call(ctx, "unbind", func(ctx context.Context) error {
			return t.Away.Delete(ctx, there, client.Preconditions{UID: ptr.To(there.UID)})
		})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete role binding in twin %s: %w", twin, err)
		}
	}
	err = t.call(ctx, "bind", func(ctx context.Context) error { return t.Away.Create(ctx, desired) })
	if err != nil {
		return fmt.Errorf("create role binding in twin %s: %w", twin, err)
	}
	return nil
}

// binding returns our rights in a twin.
func (t *Twins) binding(twin string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: twin, Name: v1beta1.TwinRole,
			Labels: map[string]string{v1beta1.LabelRemoteClusterID: t.Origin},
		},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: v1beta1.TwinRole},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Name: v1beta1.PeerServiceAccount,
			Namespace: v1beta1.TenantNamespace(t.Origin),
		}},
	}
}

// read returns a namespace of the provider as it is now.
func (t *Twins) read(ctx context.Context, name string) (*corev1.Namespace, error) {
	namespace := &corev1.Namespace{}
	return namespace, t.call(ctx, "read", func(ctx context.Context) error {
		return t.Away.Get(ctx, client.ObjectKey{Name: name}, namespace)
	})
}

// call makes one call to the provider, bounded in time.
func (t *Twins) call(ctx context.Context, operation string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := do(ctx)
	t.Metrics.count(operation, err)
	return err
}
