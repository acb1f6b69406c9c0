package history

import (
	"errors"
	"time"
)

// Checker reads a record, also one that is still being written, and decides from it alone which promises were kept.
type Checker struct{ dir string }

// OpenRecord returns a checker that has read nothing yet.
func OpenRecord(dir string) (*Checker, error) { return &Checker{dir: dir}, nil }

// Until reads on to the given time, and returns what was found since the last call. A zero time is the end.
func (c *Checker) Until(time.Time) (Verdict, error) {
	return Verdict{}, errors.New("the checker is being written")
}

// Close closes what was opened.
func (c *Checker) Close() error { return nil }

// Check decides from the record in a directory, from its beginning to its end.
func Check(dir string) (Verdict, error) {
	c, err := OpenRecord(dir)
	if err != nil {
		return Verdict{}, err
	}
	defer func() { _ = c.Close() }()
	return c.Until(time.Time{})
}
