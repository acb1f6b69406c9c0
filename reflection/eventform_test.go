package reflection

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/twinspace/twinspace/api/v1beta1"
)

var (
	eventTime = metav1.Unix(1_900_000_000, 0)
	testRoute = route{origin: "home", destination: "provider-1", home: testHome, away: testAway}
)

// remoteEvent is an event on the provider about a pod there.
func remoteEvent(name string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: testAway, Name: name, UID: types.UID(name + "-uid"), ResourceVersion: "7",
			CreationTimestamp: eventTime,
		},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: testAway, Name: "web", UID: "away-web", ResourceVersion: "5",
			FieldPath: "spec.containers{app}",
		},
		Type: corev1.EventTypeNormal, Reason: "Started", Message: "Started container app", Count: 1,
		Source:         corev1.EventSource{Component: "kubelet", Host: "worker-1"},
		FirstTimestamp: eventTime, LastTimestamp: eventTime,
		ReportingController: "kubelet", ReportingInstance: "worker-1",
	}
}

// homePod is what the event is about at home.
func homePod() corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: testHome, Name: "web", UID: "home-web"}
}

func TestAnEventAtHomeNamesUsAndTheHomeObject(t *testing.T) {
	got := testRoute.homeEvent(remoteEvent("web.1"), homePod(), eventTime)
	want := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: testHome, Name: got.Name,
			Labels: map[string]string{
				"offloading.liqo.io/origin": "provider-1", "offloading.liqo.io/destination": "home",
			},
			Annotations: map[string]string{
				"offloading.liqo.io/remote-event": "web.1-uid", "offloading.liqo.io/remote-version": "7",
			},
		},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: testHome, Name: "web", UID: "home-web",
			FieldPath: "spec.containers{app}",
		},
		Type: "Normal", Reason: "Started", Message: "provider-1: Started container app", Count: 1,
		FirstTimestamp: eventTime, LastTimestamp: eventTime,
		Source:              corev1.EventSource{Component: "virtual-kubelet"},
		ReportingController: "virtual-kubelet", ReportingInstance: "provider-1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestWhatAProviderSaysIsMadeFit(t *testing.T) {
	for name, c := range map[string]struct {
		change      func(e *corev1.Event)
		wantMessage string
		wantReason  string
		wantType    string
		wantCount   int32
	}{
		"an ordinary warning": {
			change: func(e *corev1.Event) {
				e.Type, e.Reason, e.Message, e.Count = "Warning", "BackOff", "Back-off restarting", 3
			},
			wantMessage: "provider-1: Back-off restarting", wantReason: "BackOff", wantType: "Warning", wantCount: 3,
		},
		"the twin is called as at home": {
			change:      func(e *corev1.Event) { e.Message = "Successfully assigned shop-home/web to n1" },
			wantMessage: "provider-1: Successfully assigned shop/web to n1",
		},
		"what only ends like the twin's name is left alone": {
			change: func(e *corev1.Event) {
				e.Message = "image my-shop-home/web, é-shop-home/x and (shop-home/y) of shop-home"
			},
			wantMessage: "provider-1: image my-shop-home/web, é-shop-home/x and (shop/y) of shop-home",
		},
		"no type": {
			change: func(e *corev1.Event) { e.Type = "Catastrophe" }, wantType: "Normal",
		},
		"no reason": {
			change: func(e *corev1.Event) { e.Reason = " \n" }, wantReason: "RemoteEvent",
		},
		"a reason of two lines, with colours": {
			change: func(e *corev1.Event) { e.Reason = "A\nB\x1b[31m" }, wantReason: "A B [31m",
		},
		"bytes that are no text": {
			change: func(e *corev1.Event) { e.Message = "a\xff\x00\u202eb" }, wantMessage: "provider-1: a   b",
		},
		"a count below one": {
			change: func(e *corev1.Event) { e.Count = -4 }, wantCount: 1,
		},
		"a series": {
			change: func(e *corev1.Event) {
				e.Count, e.Series = 0, &corev1.EventSeries{Count: 9}
			},
			wantCount: 9,
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := remoteEvent("web.1")
			c.change(src)
			got := testRoute.homeEvent(src, homePod(), eventTime)
			plain := testRoute.homeEvent(remoteEvent("web.1"), homePod(), eventTime)
			want := []any{
				or(c.wantMessage, plain.Message), or(c.wantReason, "Started"), or(c.wantType, "Normal"),
				or(c.wantCount, int32(1)),
			}
			if diff := cmp.Diff(want, []any{got.Message, got.Reason, got.Type, got.Count}); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

func TestMessagesOfAProviderAreShort(t *testing.T) {
	for name, text := range map[string]string{
		"of one byte each":    strings.Repeat("x", 1<<20),
		"of two bytes each":   strings.Repeat("é", 1<<19),
		"of four, and offset": "x" + strings.Repeat("😀", 1<<18),
	} {
		t.Run(name, func(t *testing.T) {
			src := remoteEvent("web.1")
			src.Message, src.Reason = text, text
			src.InvolvedObject.FieldPath = text
			got := testRoute.homeEvent(leanEvent(src), homePod(), eventTime)
			if len(got.Message) > 1024 || len(got.Message) < 1000 || !strings.HasSuffix(got.Message, "...") {
				t.Errorf("the message has %d bytes", len(got.Message))
			}
			if len(got.Reason) > 128 || len(got.InvolvedObject.FieldPath) > 128 {
				t.Errorf("reason has %d bytes, path %d", len(got.Reason), len(got.InvolvedObject.FieldPath))
			}
			if !utf8.ValidString(got.Message) || !utf8.ValidString(got.Reason) {
				t.Error("a character was cut in two")
			}
		})
	}
}

func TestTimesOfAnEvent(t *testing.T) {
	at := func(minutes int) metav1.Time {
		return metav1.NewTime(eventTime.Add(time.Duration(minutes) * time.Minute))
	}
	micro := func(minutes int) metav1.MicroTime { return metav1.MicroTime{Time: at(minutes).Time} }
	for name, c := range map[string]struct {
		event               *corev1.Event
		wantFirst, wantLast metav1.Time
	}{
		"the old way": {
			&corev1.Event{FirstTimestamp: at(1), LastTimestamp: at(3)}, at(1), at(3),
		},
		"the new way, once": {
			&corev1.Event{EventTime: micro(1)}, at(1), at(1),
		},
		"the new way, a series": {
			&corev1.Event{EventTime: micro(1), Series: &corev1.EventSeries{LastObservedTime: micro(5)}}, at(1), at(5),
		},
		"only when it was made": {
			&corev1.Event{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(2)}}, at(2), at(2),
		},
		"nothing is said": {&corev1.Event{}, at(9), at(9)},
		"last before first": {
			&corev1.Event{FirstTimestamp: at(4), LastTimestamp: at(3)}, at(4), at(4),
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, last := occurred(c.event, at(9))
			if diff := cmp.Diff([]metav1.Time{c.wantFirst, c.wantLast}, []metav1.Time{first, last}); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

func TestNamesOfEvents(t *testing.T) {
	name := func(change func(*corev1.Event), r route, about string) string {
		src := remoteEvent("web.1")
		change(src)
		return r.eventName(src, about)
	}
	same := func(*corev1.Event) {}
	plain := name(same, testRoute, "web")
	if again := name(func(e *corev1.Event) { e.Count, e.ResourceVersion = 8, "9" }, testRoute, "web"); again != plain {
		t.Errorf("it happened again and is called %s instead of %s", again, plain)
	}
	other := testRoute
	other.destination = "provider-2"
	for what, got := range map[string]string{
		"another event":                  name(func(e *corev1.Event) { e.UID = "else" }, testRoute, "web"),
		"an event on another provider":   name(same, other, "web"),
		"an event of another name":       name(func(e *corev1.Event) { e.Name = "else" }, testRoute, "web"),
		"an event of a longer home name": name(same, testRoute, strings.Repeat("a.", 120)+"bcdefghijklm"),
	} {
		if got == plain {
			t.Errorf("%s has the same name", what)
		}
		if problems := validation.IsDNS1123Subdomain(got); len(problems) > 0 {
			t.Errorf("%s: %q: %v", what, got, problems)
		}
	}
}

func TestEventsWithOverlongNamesAreNotHeard(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		change func(*corev1.Event)
		want   bool
	}{
		"an ordinary one":             {func(*corev1.Event) {}, true},
		"no UID":                      {func(e *corev1.Event) { e.UID = "" }, false},
		"about nothing":               {func(e *corev1.Event) { e.InvolvedObject.Name = "" }, false},
		"a long UID":                  {func(e *corev1.Event) { e.UID = types.UID(long) }, false},
		"a long name":                 {func(e *corev1.Event) { e.Name = long }, false},
		"a long version":              {func(e *corev1.Event) { e.ResourceVersion = long }, false},
		"about an object of long UID": {func(e *corev1.Event) { e.InvolvedObject.UID = types.UID(long) }, false},
		"about a long name":           {func(e *corev1.Event) { e.InvolvedObject.Name = long }, false},
		"about a long namespace":      {func(e *corev1.Event) { e.InvolvedObject.Namespace = long }, false},
		"about a long kind":           {func(e *corev1.Event) { e.InvolvedObject.Kind = long }, false},
		"about a long version":        {func(e *corev1.Event) { e.InvolvedObject.APIVersion = long }, false},
	} {
		t.Run(name, func(t *testing.T) {
			src := remoteEvent("web.1")
			c.change(src)
			if got := wellFormed(src); got != c.want {
				t.Errorf("wellFormed is %v", got)
			}
		})
	}
}

func TestWhatIsKeptOfAnEventIsShort(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	src := remoteEvent("web.1")
	src.Reason, src.Message, src.Type, src.Action, src.ReportingInstance = long, long, long, long, long
	src.InvolvedObject.FieldPath, src.InvolvedObject.ResourceVersion = long, long
	src.Annotations, src.Source.Host = map[string]string{"a": long}, long
	text, err := json.Marshal(leanEvent(src))
	if err != nil || len(text) > 4096 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// FuzzHomeEvent: whatever a provider says, what is written at home is short, readable and about the home object.
func FuzzHomeEvent(f *testing.F) {
	f.Add("Started", "Started container shop-home/web", "Normal", int32(1), "spec.containers{app}", "web.1")
	f.Add("\x00", "\xff\xfe", "", int32(-1), "\u202e", "")
	f.Fuzz(func(t *testing.T, reason, message, kind string, count int32, path, name string) {
		src := remoteEvent(name)
		src.Reason, src.Message, src.Type, src.Count, src.InvolvedObject.FieldPath = reason, message, kind, count, path
		got := testRoute.homeEvent(leanEvent(src), homePod(), eventTime)
		if got.Namespace != testHome || got.InvolvedObject.UID != "home-web" ||
			got.Source.Component != "virtual-kubelet" || got.Labels[v1beta1.LabelOrigin] != "provider-1" {
			t.Errorf("it is about something else: %+v", got)
		}
		if len(got.Message) > 1024 || len(got.Reason) > 128 || got.Reason == "" || got.Count < 1 {
			t.Errorf("it is not fit: %+v", got)
		}
		if !utf8.ValidString(got.Message + got.Reason + got.InvolvedObject.FieldPath) {
			t.Errorf("it is no text: %+v", got)
		}
		if problems := validation.IsDNS1123Subdomain(got.Name); len(problems) > 0 {
			t.Errorf("%q: %v", got.Name, problems)
		}
	})
}
