package reflection

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Problems returns what cannot be reflected as it should be from a namespace at home, sorted.
func (m *Mirror) Problems(home string) []v1beta1.ReflectionProblem {
	t := m.twin(home)
	if t == nil {
		return nil
	}
	var out []v1beta1.ReflectionProblem
	for resource, p := range t.all() {
		out = append(out, p.allProblems()...)
		for cluster, v := range map[string]*view{"the home cluster": p.home, m.opts.Destination: p.away} {
			if v.missing() {
				out = append(out, missingKind(resource, cluster))
			} else if words := v.denial(); words != "" {
				out = append(out, missingRight(resource, cluster, words))
			}
		}
	}
	slices.SortFunc(out, func(a, b v1beta1.ReflectionProblem) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Message, b.Message))
	})
	return out
}

func missingKind(resource, cluster string) v1beta1.ReflectionProblem {
	return v1beta1.ReflectionProblem{
		Resource: resource, Reason: v1beta1.ProblemMissingKind,
		Message: fmt.Sprintf("%s does not know %s; install what defines them there", cluster, resource),
	}
}

func missingRight(resource, cluster, words string) v1beta1.ReflectionProblem {
	return v1beta1.ReflectionProblem{
		Resource: resource, Reason: v1beta1.ProblemRefused,
		Message: short(fmt.Sprintf("nothing that changes is reflected until whoever administers %s gives the right to "+
			"list and watch them: %s", cluster, words)),
	}
}

// problemsChanged tells whoever wants to know that the problems of a namespace are others now.
func (r *reflector) problemsChanged(home string) {
	r.opts.ProblemsChanged(home)
}

func (p *pair) allProblems() []v1beta1.ReflectionProblem {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]v1beta1.ReflectionProblem, 0, len(p.problems))
	for _, problem := range p.problems {
		out = append(out, problem)
	}
	return out
}

// problem returns that of a copy, an empty one when there is none.
func (p *pair) problem(name string) v1beta1.ReflectionProblem {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.problems[name]
}

// complain notes the problem of a copy, and returns whether it is another than before.
func (p *pair) complain(name string, problem v1beta1.ReflectionProblem) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.problems[name] != problem
	p.problems[name] = problem
	return changed
}

// content forgets the problem of a copy, and returns whether there was one.
func (p *pair) content(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, had := p.problems[name]
	delete(p.problems, name)
	return had
}
