package history

import (
	"encoding/json"
	"errors"
	"fmt"
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
	judged  map[Invariant]int // until the last verdict, by rules that look at everything there is
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

// Until reads on to the given time, and returns what was found since the last call. A zero time is the end, at which
// I11 is judged, too. What is not in the record by then, see [Recording.Flush], is not read.
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

// count says how much was looked at since the last verdict by those rules that look at everything there is.
func (c *Checker) count() {
	total := map[Invariant]int{I6: c.foreign.seen}
	for _, i := range []Invariant{I1, I2, I7} {
		total[i] = len(c.pods.away.list)
	}
	for _, l := range c.pods.home.list {
		if !c.pods.ours(l) {
			continue
		}
		total[I5]++
		if l.gone {
			total[I8]++
			total[O13]++
		}
	}
	for i, n := range total {
		c.verdict.Judged[i] = n - c.judged[i]
	}
	c.judged = total
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
