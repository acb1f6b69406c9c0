package env

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mode is what a [Link] does to the traffic.
type Mode struct {
	Kind ModeKind `json:"kind"`
	// Delay is what [Slow] adds to every round trip.
	Delay time.Duration `json:"delay,omitempty"`
	// Percent is how much of the traffic [Reset] and [CommitCut] hit.
	Percent float64 `json:"percent,omitempty"`
	// Rate is how many requests a second [Throttle] lets through.
	Rate int `json:"rate,omitempty"`
	// Verb is what [CommitCut] waits for: one of [WriteVerbs], or "*" for all of them.
	Verb string `json:"verb,omitempty"`
	// Resource is on what [CommitCut] waits for it: "pods", "pods/status", or "*" for everything. Without a subresource
	// it is none.
	Resource string `json:"resource,omitempty"`
}

// ModeKind names a mode.
type ModeKind string

// Kinds of modes.
const (
	// Heal passes everything on at once.
	Heal ModeKind = "heal"
	// Cut refuses new connections and resets existing ones, as a host that is down does.
	Cut ModeKind = "cut"
	// Blackhole accepts everything and answers nothing, as a firewall that drops packets does. Afterwards connections
	// go on, as after retransmissions.
	Blackhole ModeKind = "blackhole"
	// Slow delays everything.
	Slow ModeKind = "slow"
	// Reset resets connections at random: of everything that comes in a piece, a share ends its connection instead.
	Reset ModeKind = "reset"
	// Throttle answers 429 to what exceeds its rate. It needs gateways.
	Throttle ModeKind = "throttle"
	// CommitCut passes requests on and, when they are answered, resets the connection in place of the answer: what was
	// asked for was done, and whoever asked does not know. It needs gateways.
	CommitCut ModeKind = "commitcut"
)

// everything stands for all verbs, and for all resources.
const everything = "*"

// WriteVerbs returns the verbs of requests that change something, as Kubernetes calls them.
func WriteVerbs() []string {
	return []string{"create", "update", "patch", "delete", "deletecollection"}
}

// ParseMode reads "heal", "cut", "blackhole", "slow=200ms", "reset=5%", "throttle=20" or "commitcut=create pods:10%".
func ParseMode(text string) (Mode, error) {
	kind, value, _ := strings.Cut(text, "=")
	parse, known := map[ModeKind]func(string) (Mode, error){
		Slow: parseSlow, Reset: parseReset, Throttle: parseThrottle, CommitCut: parseCommitCut,
	}[ModeKind(kind)]
	if known {
		return parse(value)
	}
	if slices.Contains([]ModeKind{Heal, Cut, Blackhole}, ModeKind(text)) {
		return Mode{Kind: ModeKind(text)}, nil
	}
	return Mode{}, &UsageError{fmt.Sprintf("%q is not cut, blackhole, slow=DURATION, reset=PERCENT, "+
		"throttle=REQUESTS, commitcut=\"VERB RESOURCE\" or heal", text)}
}

func parseSlow(value string) (Mode, error) {
	delay, err := time.ParseDuration(value)
	if err != nil || delay <= 0 {
		return Mode{}, &UsageError{fmt.Sprintf("%q is not a delay like slow=200ms", "slow="+value)}
	}
	return Mode{Kind: Slow, Delay: delay}, nil
}

func parseReset(value string) (Mode, error) {
	percent, ok := parsePercent(value)
	if !ok {
		return Mode{}, &UsageError{fmt.Sprintf("%q is not a share like reset=5%%", "reset="+value)}
	}
	return Mode{Kind: Reset, Percent: percent}, nil
}

func parseThrottle(value string) (Mode, error) {
	rate, err := strconv.Atoi(value)
	if err != nil || rate <= 0 {
		return Mode{}, &UsageError{fmt.Sprintf("%q is not a number of requests a second like throttle=20",
			"throttle="+value)}
	}
	return Mode{Kind: Throttle, Rate: rate}, nil
}

func parseCommitCut(value string) (Mode, error) {
	const whole = "100%"
	what, share, shared := strings.Cut(value, ":")
	if !shared {
		share = whole
	}
	verb, resource, _ := strings.Cut(what, " ")
	percent, ok := parsePercent(share)
	if !ok || !isResource(resource) || verb != everything && !slices.Contains(WriteVerbs(), verb) {
		return Mode{}, &UsageError{fmt.Sprintf("%q is not a kind of request like \"commitcut=create pods\", "+
			"\"commitcut=patch pods/status:10%%\" or \"commitcut=* *\"; verbs are %s", "commitcut="+value,
			strings.Join(WriteVerbs(), ", "))}
	}
	return Mode{Kind: CommitCut, Percent: percent, Verb: verb, Resource: resource}, nil
}

// isResource says whether the text is the plural name of a resource, with or without a subresource, or all of them.
func isResource(text string) bool {
	if text == everything {
		return true
	}
	resource, sub, hasSub := strings.Cut(text, "/")
	plain := func(word string) bool { return word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") == "" }
	return plain(resource) && (!hasSub || plain(sub))
}

func parsePercent(text string) (float64, bool) {
	const whole = 100
	number, isPercent := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	return percent, isPercent && err == nil && percent > 0 && percent <= whole
}

func (m Mode) String() string {
	percent := strconv.FormatFloat(m.Percent, 'f', -1, 64) + "%"
	switch m.Kind {
	case Slow:
		return fmt.Sprintf("%s=%s", m.Kind, m.Delay)
	case Reset:
		return fmt.Sprintf("%s=%s", m.Kind, percent)
	case Throttle:
		return fmt.Sprintf("%s=%d", m.Kind, m.Rate)
	case CommitCut:
		return fmt.Sprintf("%s=%s %s:%s", m.Kind, m.Verb, m.Resource, percent)
	default:
		return string(m.Kind)
	}
}

// readsRequests says whether the mode acts on requests, which only a link with a gateway sees.
func (m Mode) readsRequests() bool { return m.Kind == Throttle || m.Kind == CommitCut }
