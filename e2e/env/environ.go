package env

import (
	"fmt"
	"slices"
	"strings"
)

// SetEnviron gives a component variables of its environment besides those that all have, "NAME=VALUE" each, in place of
// what it was given before. They hold from its next start on.
func (e *Env) SetEnviron(cluster, component string, environ []string) error {
	c, err := e.find(cluster)
	if err != nil {
		return err
	}
	if _, err := c.component(component); err != nil {
		return err
	}
	for _, variable := range environ {
		if name, _, found := strings.Cut(variable, "="); !found || name == "" || name == mark {
			return &UsageError{fmt.Sprintf("%q is not a variable like NAME=VALUE", variable)}
		}
	}
	return e.record(func(s *state) {
		if s.Environ == nil {
			s.Environ = map[string][]string{}
		}
		s.Environ[environKey(cluster, component)] = slices.Clone(environ)
	})
}

func environKey(cluster, component string) string { return cluster + "/" + component }

// environ returns what a component's process gets, given what this one has: its own variables win.
func (e *Env) environ(inherits []string, c *Cluster, component string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	own := e.state.Environ[environKey(c.Name, component)]
	return slices.Concat(inherited(inherits), own, []string{mark + "=" + e.opts.Dir})
}
