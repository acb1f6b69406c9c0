package reflection

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

const (
	// eventReporter is who the events at home are from: a provider does not get to say that it is somebody else.
	eventReporter = "virtual-kubelet"
	// maxEventMessage is what a provider may have told in one event (SEC-12).
	maxEventMessage = 1024
	maxEventReason  = 128
	// fallbackReason is the reason of an event that has none which can be shown.
	fallbackReason = "RemoteEvent"
)

// route is what an event passes on its way home.
type route struct {
	origin, destination string // ids of home and of the provider
	home, away          string // namespaces
}

// homeEvent returns what an event on the provider becomes at home, about the given home object. It takes over nothing
// that the provider could use to pass for somebody else, or to write where it should not.
func (r route) homeEvent(src *corev1.Event, about corev1.ObjectReference, now metav1.Time) *corev1.Event {
	first, last := occurred(src, now)
	about.FieldPath = remote.Shown(src.InvolvedObject.FieldPath, maxEventReason)
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.home, Name: r.eventName(src, about.Name),
			Labels: map[string]string{v1beta1.LabelOrigin: r.destination, v1beta1.LabelDestination: r.origin},
			Annotations: map[string]string{
				v1beta1.AnnotationRemoteEvent: string(src.UID), v1beta1.AnnotationRemoteVersion: src.ResourceVersion,
			},
		},
		InvolvedObject: about,
		Type:           eventType(src.Type),
		Reason:         eventReason(src.Reason),
		Message:        r.eventMessage(src),
		Count:          eventCount(src),
		FirstTimestamp: first,
		LastTimestamp:  last,
		Source:         corev1.EventSource{Component: eventReporter},

		ReportingController: eventReporter,
		ReportingInstance:   r.destination,
	}
}

// eventName is the same for each occurrence of one event, and no other's: names of two providers, and those that the
// components at home give, do not meet.
func (r route) eventName(src *corev1.Event, about string) string {
	sum := sha256.Sum256([]byte(r.destination + "/" + src.Namespace + "/" + src.Name + "/" + string(src.UID)))
	suffix := "." + hex.EncodeToString(sum[:8])
	if most := validation.DNS1123SubdomainMaxLength - len(suffix); len(about) > most {
		about = strings.TrimRight(about[:most], "-.")
	}
	return about + suffix
}

// eventMessage says where it happened, with the home name of the namespace.
func (r route) eventMessage(src *corev1.Event) string {
	text := r.destination + ": " + renamed(src.Message, r.away, r.home)
	return remote.Shown(text, maxEventMessage)
}

// renamed replaces the name of a twin where it stands before a slash, as in "Successfully assigned shop-a/web to n1".
func renamed(text, away, home string) string {
	if away == home || away == "" {
		return text
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, away+"/")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		if inName(before) {
			out.WriteString(away)
		} else {
			out.WriteString(home)
		}
		out.WriteByte('/')
		text = after
	}
}

// inName says whether what comes after text is the rest of a longer name.
func inName(text string) bool {
	last, _ := utf8.DecodeLastRuneInString(text)
	return last != utf8.RuneError && (last == '-' || last == '.' || unicode.IsLetter(last) || unicode.IsDigit(last))
}

func eventReason(text string) string {
	text = strings.TrimSpace(remote.Shown(strings.ReplaceAll(text, "\n", " "), maxEventReason))
	if text == "" {
		return fallbackReason
	}
	return text
}

func eventType(text string) string {
	if text == corev1.EventTypeWarning {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

// eventCount is how often an event has happened, in either of the two ways in which that is told.
func eventCount(src *corev1.Event) int32 {
	count := max(src.Count, 1)
	if src.Series != nil {
		count = max(count, src.Series.Count)
	}
	return count
}

// occurred returns when an event happened first and last.
func occurred(src *corev1.Event, now metav1.Time) (first, last metav1.Time) {
	first, last = src.FirstTimestamp, src.LastTimestamp
	if src.Series != nil && last.Before(&metav1.Time{Time: src.Series.LastObservedTime.Time}) {
		last = metav1.Time{Time: src.Series.LastObservedTime.Time}
	}
	for _, t := range []metav1.Time{{Time: src.EventTime.Time}, src.CreationTimestamp, now} {
		if first.IsZero() {
			first = t
		}
	}
	if last.Before(&first) {
		last = first
	}
	return first, last
}

// wellFormed says whether the names in an event are as short as those that an API server gives.
func wellFormed(src *corev1.Event) bool {
	about := &src.InvolvedObject
	for _, text := range []string{
		src.Name, string(src.UID), src.ResourceVersion, string(about.UID), about.Name, about.Namespace, about.Kind,
		about.APIVersion,
	} {
		if len(text) > validation.DNS1123SubdomainMaxLength {
			return false
		}
	}
	return src.UID != "" && src.InvolvedObject.Name != ""
}

// beginning does not keep the rest of a text in memory.
func beginning(text string, most int) string { return strings.Clone(text[:min(len(text), most)]) }

// leanEvent keeps of an event on the provider what is told of it at home, and no more than a little of texts that can
// be of any length.
func leanEvent(src *corev1.Event) *corev1.Event {
	about := src.InvolvedObject
	about.FieldPath, about.ResourceVersion = beginning(about.FieldPath, 2*maxEventReason), ""
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: src.Namespace, Name: src.Name, UID: src.UID, ResourceVersion: src.ResourceVersion,
			CreationTimestamp: src.CreationTimestamp,
		},
		InvolvedObject: about,
		Reason:         beginning(src.Reason, 2*maxEventReason),
		Message:        beginning(src.Message, 2*maxEventMessage),
		Type:           eventType(src.Type), Count: src.Count, Series: src.Series,
		FirstTimestamp: src.FirstTimestamp, LastTimestamp: src.LastTimestamp, EventTime: src.EventTime,
	}
}
