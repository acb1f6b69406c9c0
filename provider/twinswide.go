package provider

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/provider/translate"
)

// wideWatch is one watch of the pods of all twins, for [PodsOptions.Wide]. It is there while there is a twin. All of it
// needs the lock of Pods.
type wideWatch struct {
	watch *watch
	// homes has the home namespace of each twin that is watched, by the twin's name.
	homes map[string]string
}

// stop ends the watch; the next twin that is watched begins another one.
func (w *wideWatch) stop() {
	w.watch.stop()
	w.watch = nil
}

// drop forgets a twin, and the watch with the last one.
func (w *wideWatch) drop(t *twin) {
	delete(w.homes, t.away)
	if len(w.homes) == 0 {
		w.stop()
	}
}

// watchWide shows a twin its part of the wide watch, which the first one begins. It needs the lock.
func (p *Pods) watchWide(t *twin) {
	if p.wide.watch == nil && !p.beginWide() {
		return
	}
	if p.wide.homes == nil {
		p.wide.homes = map[string]string{}
	}
	p.wide.homes[t.away] = t.home
	t.watch = &watch{informer: p.wide.watch.informer, cancel: func() {}, namespace: t.away}
}

func (p *Pods) beginWide() bool {
	w, err := p.startWatch(watchOptions{
		client: p.opts.Away, cluster: p.opts.Destination,
		namespace: metav1.NamespaceAll,
		tweak:     p.ours,
		transform: p.onlyOurs,
		handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { p.wideChanged(obj, p.enqueueAway) },
			UpdateFunc: func(_, obj any) { p.wideChanged(obj, p.enqueueAway) },
			DeleteFunc: func(obj any) { p.wideChanged(obj, p.awayWent) },
		},
		synced: p.enqueueAll,
	})
	if err != nil {
		p.log.Error(err, "Cannot watch the pods of the twins")
		return false
	}
	p.wide.watch = w
	return true
}

// wideChanged passes on what happened to a pod of a twin. Anybody can give pods of other namespaces our label.
func (p *Pods) wideChanged(obj any, tell func(home string, obj any)) {
	if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = d.Obj
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	p.mu.Lock()
	home, known := p.wide.homes[pod.Namespace]
	p.mu.Unlock()
	if known {
		tell(home, obj)
	}
}

// onlyOurs is onlyStatus that keeps nearly nothing of pods that only look like ours. Whether a namespace is a twin is
// no question here: after a start they are made known one after the other, when their pods have long been seen.
func (p *Pods) onlyOurs(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || translate.HomeUID(pod, p.opts.Origin) != "" {
		return onlyStatus(obj)
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}}, nil
}
