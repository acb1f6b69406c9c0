package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// book is the directory of a record while it is written: one file for each source.
type book struct {
	dir string

	mu    sync.Mutex
	pages map[string]*page
	err   error
}

type page struct {
	file   *os.File
	buffer *bufio.Writer
}

// newBook makes the directory, which must be empty, with its head.
func newBook(dir string, head Head) (*book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make record: %w", err)
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("make record: %w", err)
	}
	if len(there) > 0 {
		return nil, fmt.Errorf("make record: %s is not empty", dir)
	}
	raw, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("encode head of record: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, headFile), append(raw, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("make record: %w", err)
	}
	return &book{dir: dir, pages: map[string]*page{}}, nil
}

// write adds an entry. That it cannot be written is told at the end.
func (b *book) write(e Entry) {
	b.add(filepath.Join(e.Cluster, e.Source)+suffix, e)
}

// add writes a line into a file.
func (b *book) add(name string, line any) {
	raw, err := json.Marshal(line)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		err = b.append(name, append(raw, '\n'))
	}
	b.fail(err)
}

// fail keeps the first error. It needs the lock.
func (b *book) fail(err error) {
	if b.err == nil && err != nil {
		b.err = fmt.Errorf("write record: %w", err)
	}
}

// append needs the lock.
func (b *book) append(name string, line []byte) error {
	p := b.pages[name]
	if p == nil {
		path := filepath.Join(b.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		p = &page{file, bufio.NewWriterSize(file, 1<<16)}
		b.pages[name] = p
	}
	_, err := p.buffer.Write(line)
	return err
}

// flush brings everything into the files.
func (b *book) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pages {
		b.fail(p.buffer.Flush())
	}
	return b.err
}

// close ends the book.
func (b *book) close() error {
	err := b.flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pages {
		err = errors.Join(err, p.file.Close())
	}
	b.pages = map[string]*page{}
	return err
}

// copy puts a file beside those of the sources.
func (b *book) copy(name string, from io.Reader) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("copy evidence: %q is no name within a record", name)
	}
	path := filepath.Join(b.dir, evidence, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("copy evidence: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy evidence: %w", err)
	}
	_, err = io.Copy(file, from)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("copy evidence %s: %w", name, err)
	}
	return nil
}
