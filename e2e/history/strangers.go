package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// strangers judges I6: nothing of ours touches what is not ours. Objects that the lab has planted must not change at
// all; of others, which their owners change as they like, each change must have been somebody else's request.
type strangers struct {
	slack time.Duration
	// planted are those of the lab, by place, with the UID and version that they have to keep.
	planted map[place]*object
	// touched are changes of foreign objects in twins, and requests the writes of ours and of others to the same
	// places.
	touched  []touch
	requests map[place][]request
	out      []finding
	seen     int
}

// place is where an object is.
type place struct{ cluster, resource, key string }

type touch struct {
	place
	uid  types.UID
	says string
	at   time.Time
	// inside is the namespace that a planted object was deleted in, which may go itself.
	inside *object
}

type request struct {
	from, to time.Time
	user     string
}

func newStrangers(slack time.Duration) *strangers {
	return &strangers{slack: slack, planted: map[place]*object{}, requests: map[place][]request{}}
}

// note takes in that the lab has planted something, or that it touches that again.
func (s *strangers) note(w *world, e *Entry) {
	p := place{e.Note.Cluster, e.Note.Resource, e.Note.Object}
	if e.Note.Kind == Released {
		delete(s.planted, p)
		return
	}
	s.seen++
	s.planted[p] = nil // it may not have been heard of
	if c := w.byID[p.cluster]; c != nil {
		s.planted[p] = c.get(p.resource, p.key)
	}
}

// object takes in a change.
func (s *strangers) object(w *world, e *Entry, is, was *object) {
	p := place{e.Cluster, e.Source, is.String()}
	had, planted := s.planted[p]
	switch {
	case planted:
		if had == nil && e.Type != watch.Deleted {
			s.planted[p] = is
			return
		}
		s.kept(w, p, e, is)
	case e.Cluster != w.home && was != nil && w.stranger(e.Cluster, was):
		if e.Type != watch.Deleted && was.ResourceVersion == is.ResourceVersion {
			return // it was listed once more
		}
		s.seen++
		s.touched = append(s.touched, touch{place: p, uid: is.UID, says: done(e.Type), at: e.At})
	}
}

func done(t watch.EventType) string {
	if t == watch.Deleted {
		return "deleted"
	}
	return "changed"
}

// kept judges a planted object: it goes with its namespace, and changes in no other way.
func (s *strangers) kept(w *world, p place, e *Entry, is *object) {
	had := s.planted[p]
	t := touch{place: p, uid: is.UID, says: done(e.Type), at: e.At}
	switch {
	case e.Type == watch.Deleted:
		delete(s.planted, p)
		if t.inside = w.byID[e.Cluster].get(resourceNamespaces, is.Namespace); t.inside != nil {
			s.touched = append(s.touched, t) // that its namespace goes may be heard of later
			return
		}
		if is.Namespace != "" {
			return
		}
	case had != nil && had.UID == is.UID && had.ResourceVersion == is.ResourceVersion:
		return
	default:
		s.planted[p] = is
	}
	s.find(t, "")
}

func (s *strangers) find(t touch, by string) {
	says := fmt.Sprintf("foreign %s %s on %s was %s%s", t.resource, t.key, t.cluster, t.says, by)
	s.out = append(s.out, finding{
		Violation: Violation{
			Invariant: I6, At: t.at, Cluster: t.cluster, Resource: t.resource, Object: t.key, UID: t.uid, Says: says,
		},
		key: fmt.Sprint(says, t.uid, t.at),
	})
}

// stranger says whether an object in a twin carries no mark of ours.
func (w *world) stranger(cluster string, o *object) bool {
	if o.Namespace == "" || w.marked(o) {
		return false
	}
	namespace := w.byID[cluster].get(resourceNamespaces, o.Namespace)
	return namespace != nil && namespace.Annotations[v1beta1.AnnotationTwinOrigin] == w.home
}

// request takes in a write.
func (s *strangers) request(e *Entry) {
	a := e.Audit
	if a.ObjectRef == nil || !succeeded(a) || !slices.Contains([]string{"update", "patch", "delete"}, a.Verb) {
		return
	}
	p := place{e.Cluster, a.ObjectRef.Resource, a.ObjectRef.Name}
	if a.ObjectRef.APIGroup != "" {
		p.resource += "." + a.ObjectRef.APIGroup
	}
	if a.ObjectRef.Namespace != "" {
		p.key = a.ObjectRef.Namespace + "/" + p.key
	}
	s.requests[p] = append(s.requests[p], request{a.RequestReceivedTimestamp.Time, e.At, a.User.Username})
}

func succeeded(a *auditv1.Event) bool {
	const ok, redirect = 200, 300
	return a.Stage == auditv1.StageResponseComplete && a.ResponseStatus != nil && a.ResponseStatus.Code >= ok &&
		a.ResponseStatus.Code < redirect
}

// judge tells of each change of a foreign object who made it, once all requests of that time are known.
func (s *strangers) judge(w *world, now time.Time) []finding {
	margin := 2 * s.slack
	s.touched = slices.DeleteFunc(s.touched, func(t touch) bool {
		if now.Before(t.at.Add(margin)) {
			return false
		}
		if t.inside != nil {
			s.deleted(w, t)
		} else if by := s.author(t, margin); by != "" {
			s.find(t, " by "+by)
		}
		return true
	})
	for p, list := range s.requests {
		list = slices.DeleteFunc(list, func(r request) bool { return now.After(r.to.Add(2 * margin)) })
		s.requests[p] = list
		if len(list) == 0 {
			delete(s.requests, p)
		}
	}
	out := s.out
	s.out = nil
	return out
}

// deleted judges the deletion of something planted: it may only go with its namespace.
func (s *strangers) deleted(w *world, t touch) {
	namespace := w.byID[t.cluster].get(resourceNamespaces, t.inside.Name)
	if namespace != nil && namespace.UID == t.inside.UID && namespace.DeletionTimestamp == nil {
		s.find(t, "")
	}
}

// author returns which of our components has made a change, or "" when it may have been somebody else.
func (s *strangers) author(t touch, margin time.Duration) string {
	ours := ""
	for _, r := range s.requests[t.place] {
		if r.from.After(t.at) || r.to.Before(t.at.Add(-margin)) {
			continue
		}
		if !component(r.user) {
			return ""
		}
		ours = r.user
	}
	return ours
}

// component says whether a user is one of our components, on either side.
func component(user string) bool {
	const prefix = "system:serviceaccount:"
	return strings.HasPrefix(user, prefix+v1beta1.SystemNamespace+":") ||
		strings.HasPrefix(user, prefix+v1beta1.TenantNamespacePrefix)
}
