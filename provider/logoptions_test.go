package provider

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
)

func TestLogOptionsAreReadAsClientsWriteThem(t *testing.T) {
	for name, want := range map[string]*corev1.PodLogOptions{
		"everything":                 {},
		"the last ten lines":         {TailLines: ptr.To[int64](10)},
		"no line at all":             {TailLines: ptr.To[int64](0)},
		"follow, with timestamps":    {Follow: true, Timestamps: true},
		"the container before":       {Previous: true},
		"the last minute":            {SinceSeconds: ptr.To[int64](60)},
		"since a moment":             {SinceTime: &metav1.Time{Time: time.Unix(1_700_000_000, 0)}},
		"a kilobyte of the errors":   {LimitBytes: ptr.To[int64](1024), Stream: ptr.To("Stderr")},
		"as much as kubectl can ask": {Follow: true, TailLines: ptr.To[int64](1), LimitBytes: ptr.To[int64](2)},
	} {
		t.Run(name, func(t *testing.T) {
			query, err := scheme.ParameterCodec.EncodeParameters(want, corev1.SchemeGroupVersion)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseLogOptions(query)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("options of %s (-want +got):\n%s", query.Encode(), diff)
			}
		})
	}
}

func TestLogOptionsThatCannotBeReadAreNamed(t *testing.T) {
	for _, query := range []string{"follow=perhaps", "tailLines=ten", "sinceTime=yesterday", "limitBytes=1e3"} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(query, "=")
		if _, err := parseLogOptions(values); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("parseLogOptions(%s) = %v, want an error that begins with %s", query, err, name)
		}
	}
}
