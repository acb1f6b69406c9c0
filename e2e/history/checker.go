package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// Checker reads a record, also one that is still being written, and decides from it alone which promises were kept.
type Checker struct {
	dir    string
	head   Head
	reader *reader
	now    time.Time // of the last entry

	world   *world
	pods    *pods
	virtual map[string]bool // nodes of home that are, or were
	lab     *lab
	foreign *strangers
	idle    *idleness

	told    map[string]bool
	verdict Verdict
}

// OpenRecord returns a checker that has read nothing yet.
func OpenRecord(dir string) (*Checker, error) {
	head, err := readHead(dir)
	if err != nil {
		return nil, err
	}
	c := &Checker{
		dir: dir, head: head, reader: newReader(dir), world: newWorld(head), virtual: map[string]bool{},
		lab: &lab{}, foreign: newStrangers(head.Slack), idle: &idleness{}, told: map[string]bool{},
		verdict: empty(),
	}
	c.pods = &pods{
		slack: head.Slack, forced: map[types.UID]bool{}, virtual: func(node string) bool { return c.virtual[node] },
	}
	return c, nil
}

func empty() Verdict {
	return Verdict{Gaps: map[string]int{}, Judged: map[Invariant]int{}}
}

// Close closes what was opened.
func (c *Checker) Close() error { return c.reader.close() }

// Check decides from the record in a directory, from its beginning to its end.
func Check(dir string) (Verdict, error) {
	c, err := OpenRecord(dir)
	if err != nil {
		return Verdict{}, err
	}
	verdict, err := c.Until(time.Time{})
	return verdict, errors.Join(err, c.Close())
}

// Until reads on to the given time, and returns what was found since the last call. A zero time is the end, at which I11
// is judged, too. What is not in the record by then, see [Recording.Flush], is not read.
func (c *Checker) Until(t time.Time) (Verdict, error) {
	if err := c.reader.read(t, c.hear); err != nil {
		return Verdict{}, err
	}
	if !t.IsZero() {
		c.now = t
	}
	if err := c.visits(c.now.Add(1)); err != nil {
		return Verdict{}, err
	}
	now := c.now
	if t.IsZero() {
		now = distant()
	}
	for _, f := range append(c.pods.judge(now), c.foreign.judge(c.world, now)...) {
		c.tell(f)
	}
	if t.IsZero() {
		c.unseen()
		if err := c.everywhere(); err != nil {
			return Verdict{}, err
		}
	}
	c.count()
	out := c.verdict
	c.verdict = empty()
	return out, nil
}

// unseen tells of checkpoints that the record ends before.
func (c *Checker) unseen() {
	for _, cp := range c.lab.pending {
		says := "the record ends before both sides had to agree, " + cp.after
		c.tell(finding{Violation: Violation{Invariant: I9, At: c.now, Says: says}, key: says, doubt: true})
	}
}

// everywhere judges I11, which takes reading everything once more.
func (c *Checker) everywhere() error {
	birds := newCanaries(c.dir)
	found, err := birds.look()
	for _, f := range found {
		f.At = c.now
		c.tell(f)
	}
	c.verdict.Judged[I11] = birds.count()
	return err
}

// count says how much was looked at by those rules that look at everything there is.
func (c *Checker) count() {
	judged := c.verdict.Judged
	for _, i := range []Invariant{I1, I2, I7} {
		judged[i] = len(c.pods.away.list)
	}
	for _, l := range c.pods.home.list {
		if !c.pods.ours(l) {
			continue
		}
		judged[I5]++
		if l.gone {
			judged[I8]++
			judged[O13]++
		}
	}
	judged[I6] = c.foreign.seen
}

// hear takes an entry in, after everything that is due before it.
func (c *Checker) hear(e *Entry) error {
	if err := c.visits(e.At); err != nil {
		return err
	}
	c.now = e.At
	switch {
	case e.Note != nil:
		return c.note(e)
	case e.Gap != nil:
		c.verdict.Gaps[e.Cluster+" "+e.Source]++
	case e.Audit != nil:
		c.foreign.request(e)
		c.idle.request(e)
	case e.Object != nil:
		return c.object(e)
	}
	return nil
}

func (c *Checker) object(e *Entry) error {
	is, was, err := c.world.hear(e)
	if err != nil {
		return err
	}
	if e.Cluster == c.head.Home && e.Source == resourceNodes && providerOf(is) != "" {
		c.virtual[is.Name] = true
	}
	c.foreign.object(c.world, e, is, was)
	if e.Source != resourcePods {
		return nil
	}
	var pod corev1.Pod
	if err := json.Unmarshal(e.Object, &pod); err != nil {
		return fmt.Errorf("read pod: %w", err)
	}
	change := Change{Cluster: e.Cluster, Pod: &pod, Gone: e.Type == watch.Deleted, At: e.At}
	if e.Since != nil {
		change.Since = *e.Since
	}
	switch {
	case e.Cluster == c.head.Home:
		c.pods.hearHome(change)
	case c.world.ours(is):
		c.pods.away.hear(change)
	}
	return nil
}

// note takes in what the lab says of itself.
func (c *Checker) note(e *Entry) error {
	c.lab.hear(e)
	switch n := e.Note; n.Kind {
	case Action:
		if n.Name == ForceDelete {
			c.force(n)
		}
	case Foreign, Released:
		c.foreign.note(c.world, e)
	case IdleBegin:
		c.idle.begin(e.At)
	case IdleEnd:
		for _, f := range c.idle.end(e.At, c.managed()) {
			c.tell(f)
		}
		c.verdict.Judged[I10]++
	case Fault, Heal, Rest:
	default:
		return fmt.Errorf("there is no kind of note %q", n.Kind)
	}
	return nil
}

// managed is how many objects of home we answer for.
func (c *Checker) managed() int {
	n := 0
	for _, cluster := range c.world.away {
		for resource := range cluster.objects {
			for _, o := range cluster.objects[resource] {
				if c.world.ours(o) {
					n++
				}
			}
		}
	}
	return n
}

// force remembers that a user has deleted a home pod by force.
func (c *Checker) force(n *Note) {
	uid := n.UID
	if o := c.world.byID[c.head.Home].get(resourcePods, n.Object); uid == "" && o != nil {
		uid = o.UID
	}
	if uid != "" {
		c.pods.forced[uid] = true
	}
}

// visits looks at the world at each checkpoint before the given time.
func (c *Checker) visits(before time.Time) error {
	for _, cp := range c.lab.due(before) {
		v := &visit{checkpoint: cp, world: c.world, pods: c.pods, judged: c.verdict.Judged}
		found, err := v.look()
		if err != nil {
			return err
		}
		for _, f := range found {
			c.tell(f)
		}
	}
	return nil
}

// tell adds a finding to the verdict, once.
func (c *Checker) tell(f finding) {
	if key := fmt.Sprint(f.key, f.doubt); c.told[f.key] || c.told[key] {
		return
	} else if f.doubt {
		c.told[key] = true // it may become certain
	} else {
		c.told[f.key] = true
	}
	f.Excuse = c.lab.excuse(f.Violation)
	list := &c.verdict.Violations
	switch {
	case f.Excuse != "":
		list = &c.verdict.Excused
	case f.doubt:
		list = &c.verdict.Unknown
	}
	*list = append(*list, f.Violation)
}

// lab is what the lab said about itself.
type lab struct {
	spells  []*spell
	pending []checkpoint
}

// spell is the time of one fault, or of an action, whose end is its beginning.
type spell struct {
	Note
	from, to time.Time // to is zero while it lasts
	bound    time.Duration
}

func (l *lab) hear(e *Entry) {
	n := *e.Note
	switch n.Kind {
	case Fault, Action:
		s := &spell{Note: n, from: e.At, bound: n.Bound.Duration}
		if n.Kind == Action {
			s.to = e.At
		}
		l.spells = append(l.spells, s)
		l.disturb(n)
	case Heal:
		for _, s := range l.spells {
			if s.Kind == Fault && s.to.IsZero() && s.Name == n.Name && s.Cluster == n.Cluster && s.Object == n.Object {
				s.to, s.bound = e.At, n.Bound.Duration
			}
		}
		if n.Bound.Duration > 0 && !l.broken() {
			after := fmt.Sprintf("%s after the end of %s", n.Bound.Duration, strings.TrimSpace(n.Name+" "+n.Cluster))
			l.pending = append(l.pending, checkpoint{at: e.At.Add(n.Bound.Duration), asked: e.At, after: after})
		}
	case Rest:
		at := e.At.Add(n.Bound.Duration)
		after := fmt.Sprintf("%s after nobody did anything any more", n.Bound.Duration)
		l.pending = append(l.pending, checkpoint{at: at, asked: at.Add(-settles), after: after})
	default:
	}
}

// disturb takes back what was to be looked at: a new fault hides it.
func (l *lab) disturb(n Note) {
	if n.Kind == Fault {
		l.pending = nil
	}
}

// broken says whether anything is.
func (l *lab) broken() bool {
	return slices.ContainsFunc(l.spells, func(s *spell) bool { return s.to.IsZero() })
}

// due returns the checkpoints before a time, each once.
func (l *lab) due(before time.Time) []checkpoint {
	var now, later []checkpoint
	for _, cp := range l.pending {
		if cp.at.Before(before) {
			now = append(now, cp)
		} else {
			later = append(later, cp)
		}
	}
	l.pending = later
	slices.SortFunc(now, func(a, b checkpoint) int { return a.at.Compare(b.at) })
	return now
}

// excuse returns the name of what excuses a violation, or "".
func (l *lab) excuse(v Violation) string {
	for _, s := range l.spells {
		if slices.Contains(s.Excuses, v.Invariant) && s.covers(v) {
			return s.Name
		}
	}
	return ""
}

// covers says whether a violation falls into a spell: it is about the same thing, at any time after, or, when the spell
// is about nothing in particular, it showed while it lasted.
func (s *spell) covers(v Violation) bool {
	if v.At.Before(s.from) {
		return false
	}
	if s.UID != "" || s.Object != "" {
		namespace, _, _ := strings.Cut(v.Object, "/")
		return s.UID != "" && s.UID == v.UID || s.Object != "" && (s.Object == v.Object || s.Object == namespace)
	}
	return s.to.IsZero() || !v.At.After(s.to.Add(s.bound))
}
