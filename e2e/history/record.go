package history

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// Entry is one line of a record: something that an API server said, a request that it served, something that the lab
// did, or a time of which nothing is known. Exactly one of Object, Audit, Note and Gap is set.
type Entry struct {
	// At is when it was heard. Everything in a record is told by one clock.
	At time.Time `json:"at"`
	// Since is the earliest moment at which it can have become so, where that is not At: while nobody listened.
	Since *time.Time `json:"since,omitempty"`
	// Cluster is where; empty in what the lab notes.
	Cluster string `json:"cluster,omitempty"`
	// Source is the resource that was watched, as in "pods" and "namespacemaps.offloading.liqo.io", or [SourceAudit],
	// or [SourceLab].
	Source string `json:"source"`
	// Type is what happened to Object; a deleted one is as it was last.
	Type watch.EventType `json:"type,omitempty"`
	// Object is what the API server said, without managedFields, and with hashes for what is in Secrets.
	Object json.RawMessage `json:"object,omitempty"`
	// Audit is a request that could change something; its StageTimestamp is At.
	Audit *auditv1.Event `json:"audit,omitempty"`
	Note  *Note          `json:"note,omitempty"`
	Gap   *Gap           `json:"gap,omitempty"`
}

// Sources that are no resources.
const (
	SourceAudit = "audit"
	SourceLab   = "lab"
)

// Gap is a time in which nobody listened and of which the API server has forgotten what happened: objects may have come
// and gone unseen. It ends at the At of its [Entry]; what follows from a list then has a Since.
type Gap struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"`
}

// Note is what the lab says about itself: what it broke and healed, what it asked for as a user, and when it did
// nothing. A note about something is written before it is done: what was asked for may happen even if no answer comes.
type Note struct {
	Kind NoteKind `json:"kind"`
	// Name is that of the fault, or of what was done; a Heal has the Name, Cluster and Object of its Fault.
	Name string `json:"name,omitempty"`
	// Cluster, Resource ("pods"), Object ("namespace/name", or the name of what is in no namespace) and UID say what it
	// is about, as far as it is about something.
	Cluster  string    `json:"cluster,omitempty"`
	Resource string    `json:"resource,omitempty"`
	Object   string    `json:"object,omitempty"`
	UID      types.UID `json:"uid,omitempty"`
	// Bound, of Heal and Rest, is how long it may take from then on until both sides agree; 0 asks for nothing.
	Bound metav1.Duration `json:"bound,omitzero"`
	// Excuses, of Fault and Action, are invariants that nobody can keep then: for what it is about or, if it is about
	// nothing in particular, for everything, until Bound after the Heal. Such violations are told apart, not left out.
	Excuses []Invariant `json:"excuses,omitempty"`
}

// NoteKind is what a [Note] is about.
type NoteKind string

// The kinds of notes.
const (
	// Fault: something is broken from now on, until the Heal of the same name.
	Fault NoteKind = "fault"
	Heal  NoteKind = "heal"
	// Action is something that a user does. The checker knows [ForceDelete]; other names are for people.
	Action NoteKind = "action"
	// Rest: from here on nobody does anything, until the next Fault or Action.
	Rest NoteKind = "rest"
	// IdleBegin and IdleEnd enclose a time in which nobody does anything and all has settled (I10).
	IdleBegin NoteKind = "idle-begin"
	IdleEnd   NoteKind = "idle-end"
	// Foreign: the lab has made this object, which is none of ours, and does not touch it until Released (I6).
	Foreign  NoteKind = "foreign"
	Released NoteKind = "released"
)

// ForceDelete is the name of an [Action]: a user deletes a home pod with a grace period of nothing. UID, or else
// Object, says which. It excuses I2, I8 and O13 for that pod.
const ForceDelete = "force-delete"

// Invariant is the name of one, as in docs/acceptance.md.
type Invariant string

// The invariants, and the promise about pods that is read from the same changes.
const (
	I1  Invariant = "I1"
	I2  Invariant = "I2"
	I3  Invariant = "I3"
	I4  Invariant = "I4"
	I5  Invariant = "I5"
	I6  Invariant = "I6"
	I7  Invariant = "I7"
	I8  Invariant = "I8"
	I9  Invariant = "I9"
	I10 Invariant = "I10"
	I11 Invariant = "I11"
	O13 Invariant = "O13"
)

// Violation is one promise that was broken once.
type Violation struct {
	Invariant Invariant `json:"invariant"`
	// At is when it showed.
	At time.Time `json:"at"`
	// Cluster, Resource and Object say what it is about, as in a [Note]; UID is that of the home object.
	Cluster  string    `json:"cluster,omitempty"`
	Resource string    `json:"resource,omitempty"`
	Object   string    `json:"object,omitempty"`
	UID      types.UID `json:"uid,omitempty"`
	// Says is a sentence for people.
	Says string `json:"says"`
	// Excuse is the name of the fault or action that excuses it.
	Excuse string `json:"excuse,omitempty"`
}

// String begins with the invariant.
func (v Violation) String() string { return string(v.Invariant) + ": " + v.Says }

// Verdict is what a record says about the promises.
type Verdict struct {
	// Violations are broken promises that nothing excuses.
	Violations []Violation `json:"violations"`
	// Excused are those that a fault or action excuses.
	Excused []Violation `json:"excused,omitempty"`
	// Unknown may have been broken: a gap hides whether they were.
	Unknown []Violation `json:"unknown,omitempty"`
	// Gaps counts the times of which nothing is known, by cluster and resource ("home pods").
	Gaps map[string]int `json:"gaps,omitempty"`
	// Judged counts how often each invariant was looked at: one that was judged 0 times was not kept, but not tested.
	Judged map[Invariant]int `json:"judged"`
}

// Kept says whether no promise was broken, as far as is known.
func (v Verdict) Kept() bool { return len(v.Violations) == 0 }
