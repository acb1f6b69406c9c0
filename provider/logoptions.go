package provider

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// parseLogOptions reads the query of a log request, which is that of the API server's pods/log. The conversion that the
// API server uses for it is not part of any library.
func parseLogOptions(query url.Values) (*corev1.PodLogOptions, error) {
	opts := &corev1.PodLogOptions{}
	for name, field := range map[string]*bool{
		"follow": &opts.Follow, "previous": &opts.Previous, "timestamps": &opts.Timestamps,
	} {
		if err := parse(query, name, strconv.ParseBool, func(v bool) { *field = v }); err != nil {
			return nil, err
		}
	}
	for name, field := range map[string]**int64{
		"sinceSeconds": &opts.SinceSeconds, "tailLines": &opts.TailLines, "limitBytes": &opts.LimitBytes,
	} {
		if err := parse(query, name, parseInt64, func(v int64) { *field = &v }); err != nil {
			return nil, err
		}
	}
	if err := parse(query, "sinceTime", parseTime, func(v metav1.Time) { opts.SinceTime = &v }); err != nil {
		return nil, err
	}
	if stream := query.Get("stream"); stream != "" {
		opts.Stream = &stream
	}
	return opts, nil
}

// parse hands the value of a parameter to set, if there is one.
func parse[T any](query url.Values, name string, read func(string) (T, error), set func(T)) error {
	text := query.Get(name)
	if text == "" {
		return nil
	}
	value, err := read(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	set(value)
	return nil
}

func parseInt64(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

func parseTime(text string) (metav1.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	return metav1.NewTime(t), err
}
