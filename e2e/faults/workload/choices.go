package workload

import (
	"fmt"
	"slices"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// choice is one thing that users do now and then.
type choice struct {
	does string
	// weight is how often it is chosen, beside the others that are possible.
	weight int
	// where returns where it can be done now.
	where func(*world) []site
	// do changes the model, and says in the step what that asks for.
	do func(*Plan, site, *Step)
}

// choices returns everything that users do. Namespaces come and go far less often than what is in them changes: a
// namespace that is not there, or not offloaded, for long would have little to go wrong.
func choices() []choice {
	return slices.Concat(namespaceChoices(), appChoices(), podChoices(), configurationChoices())
}

func namespaceChoices() []choice {
	return []choice{
		{"create a namespace", 40, func(w *world) []site {
			return w.spaces(func(ns *namespace) bool { return ns == nil })
		}, (*Plan).createNamespace},
		{"offload", 20, func(w *world) []site {
			return w.spaces(func(ns *namespace) bool { return ns != nil && ns.offload == nil })
		}, (*Plan).offload},
		{"change the policy of", 3, (*world).offloaded, (*Plan).changePolicy},
		{"un-offload", 1, (*world).offloaded, (*Plan).unoffload},
		{"delete a namespace", 1, func(w *world) []site {
			return w.spaces(func(ns *namespace) bool { return ns != nil && len(ns.apps) > 0 })
		}, (*Plan).deleteNamespace},
	}
}

func (w *world) offloaded() []site {
	return w.spaces(func(ns *namespace) bool { return ns != nil && ns.offload != nil })
}

func appChoices() []choice {
	return []choice{
		{"create", 15, func(w *world) []site {
			if w.room() < largest {
				return nil
			}
			return w.spaces(func(ns *namespace) bool { return ns != nil && len(ns.apps) < appsEach })
		}, (*Plan).createApp},
		{"scale", 12, func(w *world) []site {
			return w.apps(func(a *app) bool { return a.kind == deployment || a.kind == statefulSet })
		}, (*Plan).scale},
		{"change the image of", 7, func(w *world) []site {
			return w.apps(func(a *app) bool { return a.kind != job })
		}, (*Plan).roll},
		{"pause or go on with", 3, func(w *world) []site {
			return w.apps(func(a *app) bool { return a.kind == deployment })
		}, (*Plan).pause},
		{"delete", 6, func(w *world) []site {
			return w.apps(func(*app) bool { return true })
		}, (*Plan).deleteApp},
		{"change the Service of", 5, func(w *world) []site {
			return w.apps(func(a *app) bool { return a.service > 0 })
		}, (*Plan).changeService},
	}
}

func podChoices() []choice {
	scaled := func(w *world) []site {
		return w.apps(func(a *app) bool { return a.pods > 0 && (a.kind == deployment || a.kind == statefulSet) })
	}
	return []choice{
		{"delete a pod of", 4, scaled, func(p *Plan, s site, step *Step) { p.kill(s, step, nil) }},
		{"shortly delete a pod of", 2, scaled, func(p *Plan, s site, step *Step) { p.kill(s, step, ptr.To[int64](1)) }},
		{"force-delete a pod of", 1, scaled, func(p *Plan, s site, step *Step) { p.kill(s, step, ptr.To[int64](0)) }},
		{"replace", 2, func(w *world) []site {
			return w.apps(func(a *app) bool { return a.kind == pod })
		}, (*Plan).replacePod},
	}
}

func configurationChoices() []choice {
	somewhere := func(w *world) []site { return w.spaces(func(ns *namespace) bool { return ns != nil }) }
	return []choice{
		{"change settings of", 6, somewhere, func(p *Plan, s site, step *Step) {
			ns := p.world.in(s)
			ns.settings++
			step.About, step.Apply = ns.name, []client.Object{ns.settingsMap()}
		}},
		{"change the password of", 3, somewhere, func(p *Plan, s site, step *Step) {
			ns := p.world.in(s)
			ns.password++
			step.About, step.Apply = ns.name, []client.Object{ns.passwordSecret(p.world.canary())}
		}},
		{"write a note in", 3, func(w *world) []site {
			return w.spaces(func(ns *namespace) bool { return ns != nil && len(ns.notes) < notesEach })
		}, func(p *Plan, s site, step *Step) {
			ns := p.world.in(s)
			n := &note{name: fmt.Sprintf("note-%d", p.steps), version: 1}
			ns.notes = append(ns.notes, n)
			step.About, step.Apply = ns.name, []client.Object{ns.noteMap(n)}
		}},
		{"change a note in", 4, (*world).allNotes, func(p *Plan, s site, step *Step) {
			s.note.version++
			ns := p.world.in(s)
			step.About, step.Apply = ns.name+"/"+s.note.name, []client.Object{ns.noteMap(s.note)}
		}},
		{"tear up a note in", 2, (*world).allNotes, func(p *Plan, s site, step *Step) {
			ns := p.world.in(s)
			ns.notes = slices.DeleteFunc(ns.notes, func(n *note) bool { return n == s.note })
			step.About, step.Delete = ns.name+"/"+s.note.name, []Deletion{{Object: ns.noteMap(s.note)}}
		}},
	}
}

// createNamespace makes a namespace with what its pods will refer to. Every other one has the name of the one that was
// there before: its twins are others, all the same.
func (p *Plan) createNamespace(s site, step *Step) {
	name := p.world.names[s.slot]
	if name == "" || p.chance(2) {
		name = fmt.Sprintf("work-%d-%d", s.slot, p.steps)
	}
	ns := &namespace{name: name, settings: 1, password: 1}
	p.world.slots[s.slot], p.world.names[s.slot] = ns, name
	delete(p.world.left, name)
	step.About = name
	step.Apply = []client.Object{ns.object(), ns.settingsMap(), ns.passwordSecret(p.world.canary())}
}

// deleteNamespace deletes Jobs that count failures by index before their namespace. Such a Job keeps a pod that has
// failed, by its finalizer, until the replacement is made, which no namespace lets happen that is being deleted; and
// what deletes everything in a namespace begins with its pods, and waits for them before it comes to the Job. Nothing
// ends that but somebody who deletes the Job: Kubernetes 1.35, pkg/controller/job, getPodsWithDelayedDeletionPerIndex.
func (p *Plan) deleteNamespace(s site, step *Step) {
	ns := p.world.in(s)
	p.world.slots[s.slot] = nil
	p.world.left[ns.name] = true
	step.About = ns.name
	for _, a := range ns.apps {
		if a.fails != nil {
			step.Delete = append(step.Delete, Deletion{Object: ns.job(a)})
		}
	}
	step.Delete = append(step.Delete, Deletion{Object: ns.object()})
}

// offload prefers strategies that send pods away: at home there is little to break.
func (p *Plan) offload(s site, step *Step) {
	ns := p.world.in(s)
	ns.offload = &offloading{
		mapping: oneOf(p, v1beta1.DefaultName, v1beta1.DefaultName, v1beta1.EnforceSameName, v1beta1.SelectedName),
	}
	p.policy(ns.offload)
	step.About, step.Apply = ns.name, []client.Object{ns.offloading()}
}

func (p *Plan) changePolicy(s site, step *Step) {
	ns := p.world.in(s)
	p.policy(ns.offload)
	step.About, step.Apply = ns.name, []client.Object{ns.offloading()}
}

// policy chooses where pods go: to all providers, to one, and seldom to none.
func (p *Plan) policy(o *offloading) {
	o.strategy = oneOf(p, v1beta1.Remote, v1beta1.Remote, v1beta1.Remote, v1beta1.LocalAndRemote,
		v1beta1.LocalAndRemote, v1beta1.Local)
	switch p.rng.IntN(12) {
	case 0:
		o.selects = []string{"nowhere"}
	case 1, 2, 3:
		o.selects = []string{oneOf(p, p.world.providers...)}
	case 4:
		o.selects = slices.Clone(p.world.providers)
	default:
		o.selects = nil
	}
}

func (p *Plan) unoffload(s site, step *Step) {
	ns := p.world.in(s)
	step.About, step.Delete = ns.name, []Deletion{{Object: ns.offloading()}}
	ns.offload = nil
}
