package env

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// LinkTools makes a folder for the PATH of a shell, with kubectl, which is the playground under another name, and the
// commands of this project.
func (e *Env) LinkTools() (string, error) {
	dir := filepath.Join(e.opts.Dir, binDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	for name, program := range map[string]string{
		"kubectl": "playground", "playground": "playground", "liqoctl": "liqoctl", "kubectl-liqo": "liqoctl",
	} {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("link tools: %w", err)
		}
		if err := os.Symlink(e.opts.program(program), link); err != nil {
			return "", fmt.Errorf("link tools: %w", err)
		}
	}
	return dir, nil
}
