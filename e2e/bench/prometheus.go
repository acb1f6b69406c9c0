package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/twinspace/twinspace/e2e/env"
)

// sample is one value of a metric.
type sample struct {
	labels map[string]string
	value  float64
}

// samples returns the values of a metric from what a /metrics endpoint answers.
func samples(text, metric string) ([]sample, error) {
	var out []sample
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), metric)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		s := sample{labels: map[string]string{}}
		if end := strings.LastIndex(rest, "}"); end >= 0 {
			for pair := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSuffix(rest[1:end], ","), `"`), `",`) {
				key, value, _ := strings.Cut(pair, `="`)
				s.labels[key] = value
			}
			rest = rest[end+1:]
		}
		number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		var err error
		if s.value, err = strconv.ParseFloat(number, 64); err != nil {
			return nil, fmt.Errorf("read metric %s: %w", metric, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// ask returns the sum of a metric of a component over all its labels.
func ask(ctx context.Context, c *env.Cluster, component, metric string) (float64, error) {
	text, err := c.Metrics(ctx, component)
	if err != nil {
		return 0, err
	}
	all, err := samples(text, metric)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, s := range all {
		sum += s.value
	}
	return sum, nil
}
