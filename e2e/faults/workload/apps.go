package workload

import (
	"fmt"
	"slices"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Bounds of what is in one namespace.
const (
	appsEach  = 4
	notesEach = 3
	// largest is how many pods an app has at most.
	largest = 4
)

// createApp makes something with pods. Their ends take their time, or nothing could happen while they end.
func (p *Plan) createApp(s site, step *Step) {
	ns := p.world.in(s)
	a := &app{
		kind: oneOf(p, deployment, deployment, deployment, statefulSet, statefulSet, job, job, pod),
		away: p.chance(3), version: 1, takes: oneOf(p, "", "1s", "2s", "3s"),
	}
	a.name = fmt.Sprintf("%s-%d", map[kind]string{deployment: "web", statefulSet: "db", job: "job", pod: "pod"}[a.kind],
		p.steps)
	switch a.kind {
	case deployment:
		a.pods, a.restarts = p.between(1, largest), oneOf[int32](p, 0, 0, 2)
		if !p.chance(3) {
			a.service = 1
		}
	case statefulSet:
		a.pods, a.parallel, a.service = p.between(1, largest-1), p.chance(2), 1
	case job:
		p.describeJob(a)
	case pod:
		a.pods, a.ends = 1, oneOf(p, "", "", "Succeeded", "Failed")
		if a.ends == "" {
			a.restarts = oneOf[int32](p, 0, 0, 3)
		}
	}
	ns.apps = append(ns.apps, a)
	step.About, step.Apply = about(a.kind, ns, a.name), ns.objects(a)
}

// describeJob decides what a Job has to do. Of every third indexed one, the pods of one index fail, so that it ends
// without that index.
func (p *Plan) describeJob(a *app) {
	a.completions, a.indexed = p.between(2, 6), p.chance(2)
	a.pods = p.between(1, 3)
	a.runs = oneOf(p, "1s", "3s", "8s")
	if a.indexed && p.chance(3) {
		a.fails = ptr.To(p.between(0, int(a.completions)-1))
	}
}

// scale changes how many pods there are, as far as there is room. Now and then there are none.
func (p *Plan) scale(s site, step *Step) {
	ns := p.world.in(s)
	s.app.pods = min(p.between(0, largest), s.app.pods+max(0, p.world.room()))
	step.About = fmt.Sprintf("%s to %d", about(s.app.kind, ns, s.app.name), s.app.pods)
	step.Apply = []client.Object{ns.controller(s.app)}
}

func (p *Plan) roll(s site, step *Step) {
	ns := p.world.in(s)
	s.app.version++
	step.About, step.Apply = about(s.app.kind, ns, s.app.name), []client.Object{ns.controller(s.app)}
}

func (p *Plan) pause(s site, step *Step) {
	ns := p.world.in(s)
	s.app.paused = !s.app.paused
	step.About, step.Apply = about(s.app.kind, ns, s.app.name), []client.Object{ns.controller(s.app)}
}

func (p *Plan) changeService(s site, step *Step) {
	ns := p.world.in(s)
	s.app.service++
	step.About, step.Apply = about(s.app.kind, ns, s.app.name), []client.Object{ns.serviceOf(s.app)}
}

func (p *Plan) deleteApp(s site, step *Step) {
	ns := p.world.in(s)
	ns.apps = slices.DeleteFunc(ns.apps, func(a *app) bool { return a == s.app })
	step.About = about(s.app.kind, ns, s.app.name)
	for _, obj := range ns.objects(s.app) {
		step.Delete = append(step.Delete, Deletion{Object: obj})
	}
}

// kill deletes one pod: of a StatefulSet by its name, of a Deployment whichever comes at that place.
func (p *Plan) kill(s site, step *Step, grace *int64) {
	ns := p.world.in(s)
	nth := p.rng.IntN(int(s.app.pods))
	step.About = fmt.Sprintf("%s: the pod at %d", about(s.app.kind, ns, s.app.name), nth)
	d := Deletion{Object: ns.podOf(s.app), Grace: grace}
	if s.app.kind == statefulSet {
		d.Object.SetName(fmt.Sprintf("%s-%d", s.app.name, nth))
	} else {
		d.Nth = &nth
	}
	step.Delete = []Deletion{d}
}

// replacePod deletes a bare pod and makes another of its name, as people do who change what cannot be changed.
func (p *Plan) replacePod(s site, step *Step) {
	ns := p.world.in(s)
	old := ns.podOf(s.app)
	s.app.version++
	s.app.away = p.chance(2)
	step.About = about(s.app.kind, ns, s.app.name)
	step.Delete = []Deletion{{Object: old, Grace: oneOf(p, nil, nil, ptr.To[int64](0))}}
	step.Apply = []client.Object{ns.podOf(s.app)}
}
