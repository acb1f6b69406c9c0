package history

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Files of a record. Everything else in its directory is evidence for I11.
const (
	headFile   = "record.json"
	canaryFile = "canaries.jsonl"
	suffix     = ".jsonl"
	evidence   = "evidence"
)

// Head is what a record begins with.
type Head struct {
	// Home is the consumer's name and cluster id, Away are the providers'.
	Home string   `json:"home"`
	Away []string `json:"away"`
	// Slack is how much later than it happened something may be heard of.
	Slack time.Duration `json:"slack"`
}

func readHead(dir string) (Head, error) {
	var head Head
	raw, err := os.ReadFile(filepath.Join(dir, headFile))
	if err != nil {
		return head, fmt.Errorf("read record: %w", err)
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return head, fmt.Errorf("read record %s: %w", filepath.Join(dir, headFile), err)
	}
	return head, nil
}

// reader returns the entries of all files of a record in the order of their times, without reading more of any file
// than it has to: a record may be larger than memory, and may still be written.
type reader struct {
	dir   string
	files map[string]*lines
}

// lines are those of one file, of which the next is known.
type lines struct {
	path    string
	file    *os.File
	buffer  *bufio.Reader
	partial []byte // of a line that is still being written
	number  int
	next    *Entry
}

func newReader(dir string) *reader { return &reader{dir: dir, files: map[string]*lines{}} }

func (r *reader) close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.file.Close())
	}
	return errors.Join(errs...)
}

// open finds files that were not there before.
func (r *reader) open() error {
	for _, pattern := range []string{"*" + suffix, filepath.Join("*", "*"+suffix)} {
		paths, err := filepath.Glob(filepath.Join(r.dir, pattern))
		if err != nil {
			return fmt.Errorf("look for the files of %s: %w", r.dir, err)
		}
		for _, path := range paths {
			if r.files[path] != nil || filepath.Base(path) == canaryFile {
				continue
			}
			file, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("open record: %w", err)
			}
			r.files[path] = &lines{path: path, file: file, buffer: bufio.NewReaderSize(file, 1<<16)}
		}
	}
	return nil
}

// read calls f with each entry until the given time; zero is the end.
func (r *reader) read(until time.Time, f func(*Entry) error) error {
	if err := r.open(); err != nil {
		return err
	}
	var ready []*lines
	for _, file := range r.files {
		if err := file.advance(); err != nil {
			return err
		}
		if file.next != nil {
			ready = append(ready, file)
		}
	}
	for len(ready) > 0 {
		first := slices.MinFunc(ready, func(a, b *lines) int {
			return cmp.Or(a.next.At.Compare(b.next.At), cmp.Compare(a.path, b.path))
		})
		if !until.IsZero() && first.next.At.After(until) {
			return nil
		}
		entry := first.next
		first.next = nil
		if err := f(entry); err != nil {
			return fmt.Errorf("%s, line %d: %w", first.path, first.number, err)
		}
		if err := first.advance(); err != nil {
			return err
		}
		if first.next == nil {
			ready = slices.DeleteFunc(ready, func(l *lines) bool { return l == first })
		}
	}
	return nil
}

// advance reads the next entry, if it is not known and there is one.
func (l *lines) advance() error {
	if l.next != nil {
		return nil
	}
	line, err := l.line()
	if err != nil || line == nil {
		return err
	}
	var entry Entry
	if err := json.Unmarshal(line, &entry); err != nil {
		return fmt.Errorf("read %s, line %d: %w", l.path, l.number, err)
	}
	l.next = &entry
	return nil
}

// line returns the next line, or nil when it is not written, or not to its end.
func (l *lines) line() ([]byte, error) {
	more, err := l.buffer.ReadBytes('\n')
	l.partial = append(l.partial, more...)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	l.number++
	line := bytes.TrimSpace(l.partial)
	l.partial = nil
	return line, nil
}
