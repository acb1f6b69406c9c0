package placement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	podresource "k8s.io/component-helpers/resource"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Room is what a virtual node says of pods that its provider cannot take. Its zero value keeps no pod away.
type Room struct {
	largest corev1.ResourceList
	unfit   map[types.UID]time.Time
}

// ReadRoom reads the annotations of a virtual node. What it cannot read says nothing: a pod that does not fit is found
// out by the provider's own scheduler, one that is kept away in error by nobody.
func ReadRoom(node *corev1.Node) Room {
	return Room{
		largest: readLargest(node.Annotations[v1beta1.AnnotationLargestFree]),
		unfit:   ParseUnfit(node.Annotations[v1beta1.AnnotationUnfit]),
	}
}

// ParseUnfit reads the text of annotation offloading.liqo.io/unfit: by the UIDs of controllers, until when no more of
// their pods are sent. Entries that it cannot read are left out.
func ParseUnfit(text string) map[types.UID]time.Time {
	out := map[types.UID]time.Time{}
	for uid, raw := range entries(text) {
		var until time.Time
		if err := json.Unmarshal(raw, &until); err == nil && !until.IsZero() {
			out[types.UID(uid)] = until
		}
	}
	return out
}

// FormatUnfit writes the text that [ParseUnfit] reads, "" when there is nothing to say. Times lose what is finer than a
// second.
func FormatUnfit(unfit map[types.UID]time.Time) (string, error) {
	if len(unfit) == 0 {
		return "", nil
	}
	texts := make(map[types.UID]string, len(unfit))
	for uid, until := range unfit {
		texts[uid] = until.UTC().Format(time.RFC3339)
	}
	text, err := json.Marshal(texts)
	if err != nil {
		return "", fmt.Errorf("write annotation %s: %w", v1beta1.AnnotationUnfit, err)
	}
	return string(text), nil
}

func readLargest(text string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, raw := range entries(text) {
		var q resource.Quantity
		if err := json.Unmarshal(raw, &q); err != nil {
			continue
		}
		if q.Sign() < 0 {
			q = resource.Quantity{} // what is taken may exceed what there is; what is free is nothing then
		}
		out[corev1.ResourceName(name)] = q
	}
	return out
}

// entries returns the members of a JSON object that are not null; none if it is no object.
func entries(text string) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if text == "" || json.Unmarshal([]byte(text), &all) != nil {
		return nil
	}
	for key, raw := range all {
		if bytes.Equal(raw, []byte("null")) {
			delete(all, key)
		}
	}
	return all
}

// Misfits returns what keeps a pod off a virtual node because of what the provider has left, however much the policy
// permits it; nothing when it may go there.
func Misfits(pod *corev1.Pod, room Room) []Verdict {
	asks := asksOf(pod)
	return asks.misfits(room)
}

// asks are what a pod asks of the provider's nodes.
type asks struct {
	requests   corev1.ResourceList
	controller *metav1.OwnerReference
}

// asksOf leaves out the overhead of the home pod's RuntimeClass, which its remote pod does not have.
func asksOf(pod *corev1.Pod) asks {
	return asks{
		requests:   podresource.PodRequests(pod, podresource.PodResourcesOptions{ExcludeOverhead: true}),
		controller: metav1.GetControllerOfNoCopy(pod),
	}
}

func (a *asks) misfits(room Room) []Verdict {
	var out []Verdict
	var lacking []corev1.ResourceName
	for name, has := range room.largest {
		if request := a.requests[name]; request.Sign() > 0 && has.Cmp(request) < 0 {
			lacking = append(lacking, name)
		}
	}
	slices.Sort(lacking)
	for _, name := range lacking {
		out = append(out, tooLarge(name, room.largest[name], a.requests[name]))
	}
	if has, known := room.largest[corev1.ResourcePods]; known && has.Sign() == 0 {
		out = append(out, refuse(ReasonTooLarge, "no node of the provider takes one more pod"))
	}
	if a.controller == nil {
		return out
	}
	if until, unfit := room.unfit[a.controller.UID]; unfit {
		out = append(out, wait(ReasonUnfit, fmt.Sprintf("no node of the provider took pods of %s %s: none is sent "+
			"there before %s", a.controller.Kind, a.controller.Name, until.UTC().Format(time.RFC3339))))
	}
	return out
}

func tooLarge(name corev1.ResourceName, has, request resource.Quantity) Verdict {
	return refuse(ReasonTooLarge, fmt.Sprintf("largest free node has %s, the pod asks for %s", amount(name, has),
		request.String()))
}

// amount puts a quantity in words.
func amount(name corev1.ResourceName, q resource.Quantity) string {
	switch {
	case name == corev1.ResourceCPU && (q.MilliValue() == 1000 || q.MilliValue()%1000 != 0):
		return q.String() + " CPU"
	case name == corev1.ResourceCPU:
		return q.String() + " CPUs"
	case name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage:
		return fmt.Sprintf("%s of %s", q.String(), name)
	default:
		return fmt.Sprintf("%s %s", q.String(), name)
	}
}
