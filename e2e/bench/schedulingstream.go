package main

import (
	"context"
	"slices"
)

// streamed are the sides that also take part with a stream of pods. There the proof that a policy is in force, which
// waiting pods share, is the dearest.
func streamed(s side) bool {
	return slices.Contains([]string{bare, bareScattered, "ordinary", "scattered", "both"}, s.name)
}

// stream lets pods of a side be created by another process, so many a second, and returns when all are.
func (c *schedulingCluster) stream(ctx context.Context, s side, prefix string, o schedulingOptions) error {
	return errand{
		Kubeconfig: c.home.Kubeconfig, Namespaces: s.namespaces, Away: s.away,
		Prefix: prefix, Pods: o.pods, Pace: o.pace,
	}.run(ctx)
}
