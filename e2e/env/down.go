package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Down ends a playground's processes and removes what it wrote; without a playground it does nothing.
func Down(ctx context.Context, dir string) error {
	dir, err := canonicalDir(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		// Its processes may have outlived it.
		return endAll(ctx, dir, nil)
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := lastState(dir)
	if err != nil {
		return err
	}
	if err := remove(ctx, dir, &old); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		return fmt.Errorf("remove playground: %w", err)
	}
	_ = os.Remove(dir) // stays when it holds anything that is not the playground's
	return nil
}

// Down ends the playground.
func (e *Env) Down(ctx context.Context) error {
	defer e.release()
	defer e.undisguise()
	e.ports.releaseAll()
	return Down(ctx, e.opts.Dir)
}

// remove ends what runs and deletes what was written, the state last.
func remove(ctx context.Context, dir string, old *state) error {
	var processes []Process
	if now, err := boot(); err == nil && now == old.Boot {
		processes = old.Processes
	}
	if err := endAll(ctx, dir, processes); err != nil {
		return err
	}
	names, err := written(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove playground: %w", err)
		}
	}
	return nil
}

// endAll ends the processes that were written down, and those that carry the mark of the directory.
func endAll(ctx context.Context, dir string, known []Process) error {
	if err := end(ctx, known); err != nil {
		return err
	}
	unknown, err := marked(dir)
	if err != nil {
		return err
	}
	return end(ctx, unknown)
}

// written returns the names in the directory that are the playground's; its state is the last.
func written(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); errors.Is(err, os.ErrNotExist) {
		return nil, nil // what is here is somebody else's
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	var names []string
	for _, entry := range entries {
		cluster := strings.TrimSuffix(entry.Name(), suffixKubeconfig)
		if cluster == Consumer || strings.HasPrefix(cluster, "provider-") || entry.Name() == binDir {
			names = append(names, entry.Name())
		}
	}
	return append(names, stateFile+".next", stateFile), nil
}
