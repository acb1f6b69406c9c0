package main

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/reflection"
)

// tellOf has told at home what happens on the provider to what the subjects know.
func (a *agent) tellOf(home, away client.WithWatch, counts *reflection.Metrics, of ...reflection.Subjects) error {
	events, err := reflection.NewEvents(reflection.EventsOptions{
		Origin: a.opts.clusterID, Destination: a.opts.remoteClusterID, Home: home, Away: away,
		Subjects: of, Scope: a.scope, Metrics: counts, Clock: a.opts.Clock(),
	})
	if err != nil {
		return err
	}
	a.events = events
	return a.mgr.Add(events)
}
