package env

import "fmt"

// Replica returns the name of the k-th replica, from 1, of one of our components: the first has the component's own
// name, the others a number behind it.
func Replica(component string, k int) string {
	if k <= 1 {
		return component
	}
	return fmt.Sprintf("%s-%d", component, k)
}

func (o *Options) replicas() int { return max(o.Replicas, 1) }

// Replicas returns the names of all replicas of one of our components, [Manager] or what [AgentOf] returns.
func (e *Env) Replicas(component string) []string {
	names := make([]string, 0, e.opts.replicas())
	for k := range e.opts.replicas() {
		names = append(names, Replica(component, k+1))
	}
	return names
}

// ours returns the names of all processes of our own components, those of the controller-manager first.
func (e *Env) ours() []string {
	names := e.Replicas(Manager)
	for _, served := range e.opts.served() {
		names = append(names, e.Replicas(AgentOf(served))...)
	}
	return names
}

// ours adds how our own components are run.
func (c *Cluster) ours(builders map[string]func() component) {
	for k := range c.env.opts.replicas() {
		builders[Replica(Manager, k+1)] = func() component { return c.manager(k + 1) }
		for _, served := range c.env.opts.served() {
			builders[Replica(AgentOf(served), k+1)] = func() component { return c.agent(served, k+1) }
		}
	}
}

// nodeIP is where the k-th replica of an agent serves the kubelet API: each has an address of its own, as pods have.
func (o *Options) nodeIP(k int) string {
	if o.NodeIP != "" {
		return o.NodeIP
	}
	return fmt.Sprintf("127.0.0.%d", k)
}
