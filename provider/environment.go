package provider

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A pod whose environment refers to something that home does not have is not started over there, as a kubelet would not
// start it here. The reasons are those of virtual-kubelet's own pod controller, which tools and its conformance suite
// know. What volumes refer to is for the provider's kubelet, which waits for it by itself.

// lack is something that a pod's environment refers to and that home does not have.
type lack struct {
	reason, message string
	optional        bool
}

// reference is one place of a pod's environment that names a ConfigMap or a Secret; without a key it is all of it.
type reference struct {
	kind, name, key string
	optional        bool
}

// references returns what the environment of a pod's containers comes from.
func references(spec *corev1.PodSpec) []reference {
	var out []reference
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			for _, from := range list[i].EnvFrom {
				out = append(out, ofSource(from)...)
			}
			for _, env := range list[i].Env {
				out = append(out, ofVariable(env.ValueFrom)...)
			}
		}
	}
	return out
}

const (
	kindConfigMap = "ConfigMap"
	kindSecret    = "Secret"
)

func ofSource(from corev1.EnvFromSource) []reference {
	switch {
	case from.ConfigMapRef != nil:
		r := from.ConfigMapRef
		return []reference{{kind: kindConfigMap, name: r.Name, optional: is(r.Optional)}}
	case from.SecretRef != nil:
		r := from.SecretRef
		return []reference{{kind: kindSecret, name: r.Name, optional: is(r.Optional)}}
	default:
		return nil
	}
}

func ofVariable(from *corev1.EnvVarSource) []reference {
	switch {
	case from == nil:
		return nil
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		return []reference{{kindConfigMap, r.Name, r.Key, is(r.Optional)}}
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		return []reference{{kindSecret, r.Name, r.Key, is(r.Optional)}}
	default:
		return nil
	}
}

func is(b *bool) bool { return b != nil && *b }

// lacks returns what is missing at home of a pod's environment. Each object is read once. One that we may not read is
// taken to be there: the provider's kubelet will say what is wrong.
func (p *Pods) lacks(ctx context.Context, home *corev1.Pod) ([]lack, error) {
	type object struct{ kind, name string }
	read := map[object]keys{}
	var out []lack
	for _, r := range references(&home.Spec) {
		at := object{r.kind, r.name}
		has, known := read[at]
		if !known {
			var err error
			if has, err = p.keysOf(ctx, home.Namespace, r); err != nil {
				return nil, err
			}
			read[at] = has
		}
		if l, missing := has.lack(r); missing {
			out = append(out, l)
		}
	}
	return out, nil
}

// keys are what an object holds.
type keys struct {
	absent, unknown bool
	has             map[string]bool
}

// lack says what a reference misses in its object, if it does.
func (k keys) lack(r reference) (lack, bool) {
	prefix := "Mandatory"
	if r.optional {
		prefix = "Optional"
	}
	switch {
	case k.unknown:
		return lack{}, false
	case k.absent:
		return lack{
			reason: prefix + r.kind + "NotFound", optional: r.optional,
			message: fmt.Sprintf("%s %q not found", r.kind, r.name),
		}, true
	case r.key != "" && !k.has[r.key]:
		return lack{
			reason: prefix + r.kind + "KeyNotFound", optional: r.optional,
			message: fmt.Sprintf("%s %q has no key %q", r.kind, r.name, r.key),
		}, true
	default:
		return lack{}, false
	}
}

func (p *Pods) keysOf(ctx context.Context, namespace string, r reference) (keys, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out := keys{has: map[string]bool{}}
	var err error
	if r.kind == kindSecret {
		var s *corev1.Secret
		if s, err = p.opts.Home.CoreV1().Secrets(namespace).Get(ctx, r.name, metav1.GetOptions{}); err == nil {
			collect(out.has, s.Data)
		}
	} else {
		var m *corev1.ConfigMap
		if m, err = p.opts.Home.CoreV1().ConfigMaps(namespace).Get(ctx, r.name, metav1.GetOptions{}); err == nil {
			collect(out.has, m.Data)
			collect(out.has, m.BinaryData)
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		return keys{absent: true}, nil
	case apierrors.IsForbidden(err):
		return keys{unknown: true}, nil
	case err != nil:
		return keys{}, fmt.Errorf("read %s %s: %w", r.kind, r.name, err)
	}
	return out, nil
}

func collect[T any](names map[string]bool, data map[string]T) {
	for name := range data {
		names[name] = true
	}
}

// environment returns what a pod may start without. If it may not, that is told at home, and the error says when to
// look again.
func (p *Pods) environment(ctx context.Context, w *work) ([]lack, error) {
	lacks, err := p.lacks(ctx, w.home)
	if err != nil {
		return nil, err
	}
	for _, l := range lacks {
		if !l.optional {
			return nil, p.refuse(ctx, w, l.reason, l.message)
		}
	}
	return lacks, nil
}

// mention tells the user what a pod starts without.
func (p *Pods) mention(home *corev1.Pod, lacks []lack) {
	for _, l := range lacks {
		p.opts.Recorder.Eventf(home, nil, corev1.EventTypeWarning, l.reason, "Offload", "%s", l.message)
	}
}
