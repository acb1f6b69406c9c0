package provider

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/provider/translate"
)

// twin is the twin of one home namespace.
type twin struct {
	home, away string
	phase      twinPhase // ready, leaving or gone
	watch      *watch
}

// TwinReady says that the twin of a home namespace exists, is ours, and our rights in it are in place.
func (p *Pods) TwinReady(home, away string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.twins[home]
	if t != nil && t.away == away && t.phase == twinReady {
		return
	}
	if t == nil || t.away != away {
		if t != nil {
			p.unwatchTwin(t)
		}
		t = &twin{home: home, away: away}
		p.twins[home] = t
	}
	t.phase = twinReady
	if t.watch == nil {
		p.watchTwin(t)
	}
	p.enqueueNamespace(home)
}

// TwinLeaving says that the twin is about to be deleted: nothing is written into it any more, but how its pods end is
// still told at home.
func (p *Pods) TwinLeaving(home string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.twins[home]; t != nil && t.phase == twinReady {
		t.phase = twinLeaving
	}
}

// TwinGone says that the twin is gone, or that there never was one.
func (p *Pods) TwinGone(home string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.twins[home]
	if t == nil {
		t = &twin{home: home}
		p.twins[home] = t
	}
	t.phase = twinGone
	p.enqueueNamespace(home) // while its last pods are known, so that they can be forgotten
	p.unwatchTwin(t)
}

// unwatchTwin needs the lock.
func (p *Pods) unwatchTwin(t *twin) {
	t.watch.stop()
	t.watch = nil
	if p.opts.Wide {
		p.wide.drop(t)
	}
}

// watchTwin needs the lock. It does nothing before Start, which catches up, and nothing after it.
func (p *Pods) watchTwin(t *twin) {
	if p.ctx == nil {
		return
	}
	if p.opts.Wide {
		p.watchWide(t)
		return
	}
	w, err := p.startWatch(watchOptions{
		client: p.opts.Away, cluster: p.opts.Destination,
		namespace: t.away,
		tweak:     p.ours,
		transform: onlyStatus,
		handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { p.enqueueAway(t.home, obj) },
			UpdateFunc: func(_, obj any) { p.enqueueAway(t.home, obj) },
			DeleteFunc: func(obj any) { p.awayWent(t.home, obj) },
		},
		synced: func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.enqueueNamespace(t.home)
		},
	})
	if err != nil {
		p.log.Error(err, "Cannot watch the pods of a twin", "namespace", t.away)
		return
	}
	t.watch = w
}

// ours selects what carries our label.
func (p *Pods) ours(o *metav1.ListOptions) {
	o.LabelSelector = labels.Set{v1beta1.LabelOrigin: p.opts.Origin}.String()
}

// healthChanged begins the watches anew when the provider is back: those that a cut ended may wait for seconds, and
// some may not have noticed it.
func (p *Pods) healthChanged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opts.Health.Err() == nil {
		p.wide.stop()
		for _, t := range p.twins {
			if t.watch != nil {
				t.watch.stop()
				t.watch = nil
				p.watchTwin(t)
			}
		}
	}
	p.enqueueNamespace(metav1.NamespaceAll)
}

func (p *Pods) enqueueAway(home string, obj any) {
	if pod, ok := obj.(*corev1.Pod); ok {
		p.queue.Add(key{Namespace: home, Name: pod.Name})
	}
}

// awayWent keeps the last state of a remote pod: it is the last that anybody can say about it.
func (p *Pods) awayWent(home string, obj any) {
	if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = d.Obj
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	k := key{Namespace: home, Name: pod.Name}
	if uid := translate.HomeUID(pod, p.opts.Origin); uid != "" {
		p.memory.went(k, types.UID(uid), pod)
	}
	p.queue.Add(k)
}

// twinOf returns a copy of what is known of a home namespace's twin, and its phase.
func (p *Pods) twinOf(home string) (twin, twinPhase) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.twins[home]
	switch {
	case t == nil:
		return twin{home: home}, twinUnknown
	case t.phase == twinReady && !t.watch.hasSynced():
		return *t, twinSyncing
	default:
		return *t, t.phase
	}
}
