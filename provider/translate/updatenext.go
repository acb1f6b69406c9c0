package translate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Change is one request that brings a remote pod nearer to what home wants.
type Change struct {
	// Subresource of the pod that takes it; empty for the pod itself.
	Subresource string
	// What is changed, as its user would call it.
	What []string
	// Patch is a strategic merge patch. It names the pod's UID.
	Patch []byte

	parts []string
}

// String returns what is changed as part of a sentence.
func (c *Change) String() string {
	if len(c.What) == 0 {
		return "our record"
	}
	return strings.Join(c.What, ", ")
}

// draft is a change in the making; spec and metadata are the two halves of its patch.
type draft struct {
	subresource    string
	what, parts    []string
	spec, metadata map[string]any
}

func (d *draft) add(part, what string) {
	d.parts = append(d.parts, part)
	d.what = append(d.what, what)
}

// Next returns what to ask of the provider next, given the remote pod as it is and the manager of our fields, or nil
// when there is nothing left. Subresources come first: the pod itself then records what was taken in the same request
// as everything else.
func (u *Update) Next(live *corev1.Pod, manager string) (*Change, error) {
	for _, next := range []func(*corev1.Pod, string) *draft{u.nextDebug, u.nextResize, u.nextPod} {
		if d := next(live, manager); d != nil {
			return d.change(live)
		}
	}
	return nil, nil
}

// Done says how a change ended. What was refused is not asked again; what else it came with is.
func (u *Update) Done(c *Change, refused bool) {
	for _, part := range c.parts {
		u.done[part] = refused
	}
}

// open tells whether home wants a part to be other than what the remote pod has taken.
func (u *Update) open(live *corev1.Pod) func(part string) bool {
	taken := decode(live.Annotations[v1beta1.AnnotationTaken])
	return func(part string) bool {
		_, done := u.done[part]
		return !done && u.parts[part] != "" && u.parts[part] != taken[part]
	}
}

func (u *Update) nextDebug(live *corev1.Pod, _ string) *draft {
	missing := u.missing(live)
	if _, done := u.done[partDebug]; done || len(missing) == 0 {
		return nil
	}
	d := &draft{subresource: "ephemeralcontainers", spec: map[string]any{"ephemeralContainers": missing}}
	for _, c := range missing {
		d.what = append(d.what, "ephemeral container "+c.Name)
	}
	d.parts = []string{partDebug}
	return d
}

func (u *Update) nextResize(live *corev1.Pod, _ string) *draft {
	open := u.open(live)
	d := &draft{subresource: "resize", spec: map[string]any{}}
	d.containers(u.want, live, func(want, has *corev1.Container) (string, any) {
		if !open(partResources + want.Name) {
			return "", nil
		}
		diff := differingAmounts(want.Resources, has.Resources)
		if diff == nil {
			return "", nil
		}
		d.add(partResources+want.Name, "resources of container "+want.Name)
		return "resources", diff
	})
	if open(partResources) {
		has := ptr.Deref(live.Spec.Resources, corev1.ResourceRequirements{})
		if diff := differingAmounts(*u.want.Spec.Resources, has); diff != nil {
			d.spec["resources"] = diff
			d.add(partResources, "resources")
		}
	}
	if len(d.spec) == 0 {
		return nil
	}
	return d
}

// containers puts into the spec what diff says of each container that both sides have: a field and its new value.
func (d *draft) containers(want, live *corev1.Pod, diff func(want, has *corev1.Container) (string, any)) {
	for _, list := range []struct {
		name       string
		want, live []corev1.Container
	}{
		{"initContainers", want.Spec.InitContainers, live.Spec.InitContainers},
		{"containers", want.Spec.Containers, live.Spec.Containers},
	} {
		var items []any
		for i := range list.want {
			c := &list.want[i]
			at := slices.IndexFunc(list.live, func(has corev1.Container) bool { return has.Name == c.Name })
			if at < 0 {
				continue
			}
			if field, value := diff(c, &list.live[at]); field != "" {
				items = append(items, map[string]any{"name": c.Name, field: value})
			}
		}
		if items != nil {
			d.spec[list.name] = items
		}
	}
}

// differingAmounts returns the quantities that differ. None is taken away: the API does not allow it, and what home
// does not mention may be the provider's.
func differingAmounts(want, live corev1.ResourceRequirements) map[string]map[string]string {
	has := amounts(live)
	var out map[string]map[string]string
	for at, quantity := range amounts(want) {
		if has[at] == quantity {
			continue
		}
		if out == nil {
			out = map[string]map[string]string{}
		}
		if out[at[0]] == nil {
			out[at[0]] = map[string]string{}
		}
		out[at[0]][at[1]] = quantity
	}
	return out
}

// nextPod is for what the pod itself takes. When its spec was refused, its labels and annotations still go.
func (u *Update) nextPod(live *corev1.Pod, manager string) *draft {
	if _, done := u.done[partMetadata]; done {
		return nil
	}
	d := &draft{spec: map[string]any{}, metadata: map[string]any{}}
	u.images(d, live)
	u.tolerations(d, live)
	u.deadline(d, live)
	if len(d.parts) == 0 {
		d.parts = []string{partMetadata} // nothing else that could be refused
	}
	owned := ownedKeys(live, manager)
	labels := differing(u.want.Labels, live.Labels, owned["f:labels"])
	annotations := differing(u.want.Annotations, live.Annotations, owned["f:annotations"])
	d.put("labels", labels)
	d.put("annotations", annotations)
	if taken := u.taken(live); taken != live.Annotations[v1beta1.AnnotationTaken] {
		annotations[v1beta1.AnnotationTaken] = taken
		d.metadata["annotations"] = annotations
	}
	if len(d.spec)+len(d.metadata) == 0 {
		return nil
	}
	return d
}

func (d *draft) put(field string, diff map[string]any) {
	if len(diff) > 0 {
		d.metadata[field] = diff
		d.what = append(d.what, field)
	}
}

func (u *Update) images(d *draft, live *corev1.Pod) {
	open := u.open(live)
	d.containers(u.want, live, func(want, has *corev1.Container) (string, any) {
		if has.Image == want.Image || !open(partImage+want.Name) {
			return "", nil
		}
		d.add(partImage+want.Name, "image of container "+want.Name)
		return "image", want.Image
	})
}

// tolerations are only ever added, and their seconds changed; what the provider added stays.
func (u *Update) tolerations(d *draft, live *corev1.Pod) {
	if !u.open(live)(partTolerations) {
		return
	}
	all, changed := slices.Clone(live.Spec.Tolerations), false
	for _, t := range u.want.Spec.Tolerations {
		i := slices.IndexFunc(all, func(has corev1.Toleration) bool { return has.MatchToleration(&t) })
		switch {
		case i < 0:
			all, changed = append(all, t), true
		case !ptr.Equal(all[i].TolerationSeconds, t.TolerationSeconds):
			all[i], changed = t, true
		}
	}
	if changed {
		d.spec["tolerations"] = all
		d.metadata["resourceVersion"] = live.ResourceVersion // the list is sent whole
		d.add(partTolerations, "tolerations")
	}
}

// deadline is only ever made shorter.
func (u *Update) deadline(d *draft, live *corev1.Pod) {
	if !u.open(live)(partDeadline) {
		return
	}
	want, has := u.want.Spec.ActiveDeadlineSeconds, live.Spec.ActiveDeadlineSeconds
	if has == nil || *has > *want {
		d.spec["activeDeadlineSeconds"] = *want
		d.add(partDeadline, "activeDeadlineSeconds")
	}
}

// taken is what the remote pod will have taken after the next change of the pod itself: all but what was refused.
func (u *Update) taken(live *corev1.Pod) string {
	before, now := decode(live.Annotations[v1beta1.AnnotationTaken]), maps.Clone(u.parts)
	for part, refused := range u.done {
		if _, ok := now[part]; refused && ok {
			now[part] = before[part]
		}
	}
	return encode(now)
}

// differing returns what makes labels or annotations as they should be. What is no longer wanted is removed if it is
// ours.
func differing(want, have map[string]string, ours map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range want {
		if is, ok := have[key]; key != v1beta1.AnnotationTaken && !placed(key) && (!ok || is != value) {
			out[key] = value
		}
	}
	for key := range have {
		_, owned := ours["f:"+key]
		if _, ok := want[key]; owned && !ok && !placed(key) {
			out[key] = nil
		}
	}
	return out
}

// ownedKeys returns the labels and annotations that a manager has set, as the API server keeps account of them.
func ownedKeys(pod *corev1.Pod, manager string) map[string]map[string]any {
	out := map[string]map[string]any{"f:labels": {}, "f:annotations": {}}
	for _, entry := range pod.ManagedFields {
		if entry.Manager != manager || entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Metadata map[string]json.RawMessage `json:"f:metadata"`
		}
		if json.Unmarshal(entry.FieldsV1.Raw, &fields) != nil {
			continue // nothing is removed that is not known to be ours
		}
		for list, keys := range out {
			var set map[string]any
			if json.Unmarshal(fields.Metadata[list], &set) == nil {
				maps.Copy(keys, set)
			}
		}
	}
	return out
}

func (d *draft) change(live *corev1.Pod) (*Change, error) {
	metadata := map[string]any{"uid": live.UID}
	maps.Copy(metadata, d.metadata)
	body := map[string]any{"metadata": metadata}
	if len(d.spec) > 0 {
		body["spec"] = d.spec
	}
	patch, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode change of %s: %w", d.what, err)
	}
	return &Change{Subresource: d.subresource, What: d.what, Patch: patch, parts: d.parts}, nil
}
