package history

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// canary is the content of a Secret that must show up nowhere.
type canary struct {
	Why  string `json:"why"`
	Text string `json:"text"`
}

// shortest is the length below which a text cannot be told from chance.
const shortest = 8

// forms are those in which a text can be seen: as it is, in hexadecimal digits, and within something in base64, where
// it begins at any of three places in a group.
func (c canary) forms() []string {
	out := []string{c.Text, hex.EncodeToString([]byte(c.Text))}
	const group, digits = 3, 4
	for skip := range group {
		padded := base64.StdEncoding.EncodeToString(append(make([]byte, skip), c.Text...))
		first := (skip*digits + group - 1) / group // digits that depend on what comes before
		whole := (skip + len(c.Text)) / group * digits
		out = append(out, padded[first:whole])
	}
	return out
}

// canaries judges I11: no file of a record has the content of a Secret in it. What the API servers said is in there,
// with hashes for Secrets, and the evidence: logs, metrics, command lines.
type canaries struct {
	dir   string
	known []canary
	// by is what may be found, by its first bytes; begins is whether anything begins with two bytes.
	by     map[[shortest]byte][]sighting
	begins [1 << 16]bool
	// longest is how much of a chunk has to be looked at again, since something may begin at its end.
	longest int
}

type sighting struct {
	form []byte
	why  string
}

func newCanaries(dir string) *canaries {
	return &canaries{dir: dir, by: map[[shortest]byte][]sighting{}}
}

func (c *canaries) count() int { return len(c.known) }

// add begins to look for a canary.
func (c *canaries) add(bird canary) error {
	if len(bird.Text) < shortest+2 {
		const says = "the canary of %s is too short to be told from chance: it needs %d bytes"
		return fmt.Errorf(says, bird.Why, shortest+2)
	}
	c.known = append(c.known, bird)
	for _, form := range bird.forms() {
		first := [shortest]byte([]byte(form))
		c.by[first] = append(c.by[first], sighting{[]byte(form), bird.Why})
		c.begins[int(first[0])<<8|int(first[1])] = true
		c.longest = max(c.longest, len(form))
	}
	return nil
}

// learn reads the list of canaries.
func (c *canaries) learn() error {
	raw, err := os.ReadFile(filepath.Join(c.dir, canaryFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read canaries: %w", err)
	}
	for line := range bytes.Lines(raw) {
		var bird canary
		if err := json.Unmarshal(line, &bird); err != nil {
			return fmt.Errorf("read canaries: %w", err)
		}
		if err := c.add(bird); err != nil {
			return err
		}
	}
	return nil
}

// look returns what shows up in any file.
func (c *canaries) look() ([]finding, error) {
	if err := c.learn(); err != nil || len(c.known) == 0 {
		return nil, err
	}
	var out []finding
	err := filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == canaryFile {
			return err
		}
		found, err := c.lookInto(path)
		out = append(out, found...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the contents of Secrets: %w", err)
	}
	return out, nil
}

// chunk is how much of a file is looked at at once.
const chunk = 1 << 20

func (c *canaries) lookInto(path string) ([]finding, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	name, err := filepath.Rel(c.dir, path)
	if err != nil {
		return nil, err
	}
	var out []finding
	buffer := make([]byte, chunk+c.longest)
	for at := int64(0); ; {
		n, err := file.ReadAt(buffer, at)
		for _, why := range c.in(buffer[:n]) {
			says := fmt.Sprintf("the content of %s is in %s", why, name)
			out = append(out, finding{Violation: Violation{Invariant: I11, Object: name, Says: says}, key: says})
		}
		at += int64(max(0, n-c.longest))
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// in returns whose content is in a text.
func (c *canaries) in(text []byte) []string {
	var out []string
	for i := 0; i+shortest <= len(text); i++ {
		if !c.begins[int(text[i])<<8|int(text[i+1])] {
			continue
		}
		for _, s := range c.by[[shortest]byte(text[i:])] {
			if bytes.HasPrefix(text[i:], s.form) {
				out = append(out, s.why)
			}
		}
	}
	return out
}
