package translate

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// The parts of a pod that can change after its creation. Those of containers have the container's name appended.
const (
	partMetadata    = "metadata"
	partTolerations = "tolerations"
	partDeadline    = "deadline"
	partImage       = "image."
	partResources   = "resources." // without a name: the pod's own
	partDebug       = "ephemeralContainers"
)

// Lag is how far a remote pod is behind what home wants of it.
type Lag string

// The lags.
const (
	// InStep: the remote pod has taken everything.
	InStep Lag = "in step"
	// Drifted: it has taken everything, but labels or annotations were changed at the provider.
	Drifted Lag = "drifted"
	// Behind: home has changed something that it has not taken.
	Behind Lag = "behind"
)

// Update is what home wants of a remote pod that exists, and how far that has been tried.
//
// Only what home changes is sent: a provider's admission may have changed an image or a request at creation, and what
// it made of them stands until home changes them. So the remote pod itself carries, in [v1beta1.AnnotationTaken], a
// digest of each part as home last sent it. Labels and annotations are repaired as well; those that a provider adds are
// its own.
type Update struct {
	// want is the remote pod as far as it can change.
	want *corev1.Pod
	// debug are the ephemeral containers, which are not part of want: the API does not let pods be created with them.
	debug []corev1.EphemeralContainer
	// parts are the digests of want.
	parts map[string]string
	// done are the parts that need no further attempt: true for refused ones, false for those that were taken.
	done map[string]bool
}

// Wanted returns the remote pod of a home pod as it is created: [Target.Pod] with the record of what it has taken.
func (t Target) Wanted(home *corev1.Pod) *corev1.Pod {
	want := t.Pod(home)
	record(want)
	return want
}

// record returns the digests of a remote pod's parts, and writes them into its annotation.
func record(want *corev1.Pod) map[string]string {
	delete(want.Labels, v1beta1.LabelRemoteUnavailable) // about the provider, and not for it
	digests := parts(want)
	want.Annotations[v1beta1.AnnotationTaken] = encode(digests)
	return digests
}

// Update returns what home wants of the remote pod of a home pod.
func (t Target) Update(home *corev1.Pod) *Update {
	u := &Update{want: t.changeable(home), done: map[string]bool{}}
	u.parts = record(u.want)
	if len(home.Spec.EphemeralContainers) > 0 {
		u.debug = t.EphemeralContainers(home)
	}
	return u
}

// changeable returns [Target.Pod] without what cannot change; its containers are home's, of which images and resources
// are carried as they are. Most looks at a pod find it unchanged, and should not cost what making another one does.
func (t Target) changeable(home *corev1.Pod) *corev1.Pod {
	patch := ptr.Deref(t.Patch, v1beta1.OffloadingPatch{})
	return &corev1.Pod{ObjectMeta: t.metadata(home, patch), Spec: corev1.PodSpec{
		InitContainers: home.Spec.InitContainers, Containers: home.Spec.Containers, Resources: home.Spec.Resources,
		ActiveDeadlineSeconds: home.Spec.ActiveDeadlineSeconds, Tolerations: tolerations(home, patch),
	}}
}

// ID is the same for updates that want the same.
func (u *Update) ID() string {
	id := u.want.Annotations[v1beta1.AnnotationTaken]
	for _, c := range u.debug {
		id += "," + c.Name
	}
	return id
}

// Lag compares with the remote pod, of which labels, annotations and the names of ephemeral containers are enough;
// long annotations may be shortened by [Shrink].
func (u *Update) Lag(away *corev1.Pod) Lag {
	switch {
	case away.Annotations[v1beta1.AnnotationTaken] != u.want.Annotations[v1beta1.AnnotationTaken],
		len(u.missing(away)) > 0:
		return Behind
	case drifted(u.want.Labels, away.Labels), drifted(u.want.Annotations, away.Annotations):
		return Drifted
	default:
		return InStep
	}
}

func drifted(want, have map[string]string) bool {
	for key, value := range want {
		is, ok := have[key]
		if !placed(key) && (!ok || is != value && is != shrink(value)) {
			return true
		}
	}
	return false
}

// placed tells labels by which an API server says, when a pod is bound, where that is. They are sent with the creation,
// and the provider's word about its own nodes then stands.
func placed(key string) bool {
	return key == corev1.LabelTopologyZone || key == corev1.LabelTopologyRegion
}

// missing returns the ephemeral containers that the remote pod lacks. Those that it has never change.
func (u *Update) missing(away *corev1.Pod) []corev1.EphemeralContainer {
	var out []corev1.EphemeralContainer
	for _, c := range u.debug {
		has := func(a corev1.EphemeralContainer) bool { return a.Name == c.Name }
		if !slices.ContainsFunc(away.Spec.EphemeralContainers, has) {
			out = append(out, c)
		}
	}
	return out
}

// shrunk is the length from which annotations are kept as a digest only.
const shrunk = 128

// Shrink returns annotations as they may be remembered: what is long is replaced by a digest.
func Shrink(annotations map[string]string) map[string]string {
	out := make(map[string]string, len(annotations))
	for key, value := range annotations {
		if key != v1beta1.AnnotationTaken {
			value = shrink(value)
		}
		out[key] = value
	}
	return out
}

func shrink(value string) string {
	if len(value) <= shrunk {
		return value
	}
	return fmt.Sprintf("%d bytes, %s", len(value), digest([]byte(value)))
}

// parts returns a digest of each part of a remote pod that can change. Remote pods carry them, so what is digested
// stays as it is, or each of them would be changed by the next version of the agent.
func parts(pod *corev1.Pod) map[string]string {
	metadata := appendMap(nil, pod.Labels, placed)
	metadata = appendMap(metadata, pod.Annotations, func(key string) bool { return key == v1beta1.AnnotationTaken })
	out := map[string]string{partMetadata: digest(metadata)}
	s := &pod.Spec
	if len(s.Tolerations) > 0 {
		var all []byte
		for _, t := range s.Tolerations {
			for _, field := range []string{t.Key, string(t.Operator), t.Value, string(t.Effect)} {
				all = strconv.AppendQuote(all, field)
			}
			all = strconv.AppendInt(all, ptr.Deref(t.TolerationSeconds, -1), 10)
		}
		out[partTolerations] = digest(all)
	}
	if s.ActiveDeadlineSeconds != nil {
		out[partDeadline] = strconv.FormatInt(*s.ActiveDeadlineSeconds, 10)
	}
	if s.Resources != nil {
		out[partResources] = digest(appendAmounts(nil, amounts(*s.Resources)))
	}
	for _, c := range containers(s) {
		out[partImage+c.Name] = digest([]byte(c.Image))
		if a := amounts(c.Resources); resizable(s, c) && len(a) > 0 {
			out[partResources+c.Name] = digest(appendAmounts(nil, a))
		}
	}
	return out
}

func containers(s *corev1.PodSpec) []corev1.Container {
	return slices.Concat(s.InitContainers, s.Containers)
}

// resizable tells what the API lets change the resources of: init containers only as sidecars.
func resizable(s *corev1.PodSpec, c corev1.Container) bool {
	named := func(other corev1.Container) bool { return other.Name == c.Name }
	return !slices.ContainsFunc(s.InitContainers, named) ||
		ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways
}

// amounts are the quantities that can change, by "requests" or "limits" and the resource.
func amounts(r corev1.ResourceRequirements) map[[2]string]string {
	out := map[[2]string]string{}
	for kind, list := range map[string]corev1.ResourceList{"requests": r.Requests, "limits": r.Limits} {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			if q, ok := list[name]; ok {
				out[[2]string{kind, string(name)}] = q.String()
			}
		}
	}
	return out
}

// digest says whether something is what it was; it need not withstand anybody.
func digest(text []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(text) // a hash takes everything
	return strconv.FormatUint(h.Sum64(), 36)
}

// appendMap writes a map without some of its keys as fmt does with %q, which takes several times as long.
func appendMap(b []byte, m map[string]string, skip func(key string) bool) []byte {
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(m)), skip)
	return appendPairs(b, m, keys, strconv.AppendQuote)
}

// appendAmounts does the same with amounts.
func appendAmounts(b []byte, amounts map[[2]string]string) []byte {
	keys := slices.SortedFunc(maps.Keys(amounts), func(x, y [2]string) int { return slices.Compare(x[:], y[:]) })
	return appendPairs(b, amounts, keys, func(b []byte, key [2]string) []byte {
		b = strconv.AppendQuote(append(b, '['), key[0])
		return append(strconv.AppendQuote(append(b, ' '), key[1]), ']')
	})
}

func appendPairs[K comparable](b []byte, m map[K]string, keys []K, quote func([]byte, K) []byte) []byte {
	b = append(b, "map["...)
	for i, key := range keys {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendQuote(append(quote(b, key), ':'), m[key])
	}
	return append(b, ']')
}

// encode writes digests of parts as the value of an annotation, always in the same order.
func encode(parts map[string]string) string {
	var out []string
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		out = append(out, part+"="+parts[part])
	}
	return strings.Join(out, ",")
}

func decode(annotation string) map[string]string {
	out := map[string]string{}
	for item := range strings.SplitSeq(annotation, ",") {
		if part, value, ok := strings.Cut(item, "="); ok {
			out[part] = value
		}
	}
	return out
}
