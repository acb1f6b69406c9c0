package env

import "cmp"

// recipe are the options that whoever starts a component again, from the directory, needs besides.
type recipe struct {
	NodeIP            string   `json:"nodeIP,omitempty"`
	Ours              string   `json:"ours,omitempty"`
	Exec              bool     `json:"exec,omitempty"`
	Peering           []string `json:"peering,omitempty"`
	Manager           []string `json:"manager,omitempty"`
	Agent             []string `json:"agent,omitempty"`
	APIServer         []string `json:"apiServer,omitempty"`
	ControllerManager []string `json:"controllerManager,omitempty"`
}

// recipe returns what of the options is needed to start a component again.
func (o *Options) recipe() recipe {
	return recipe{
		NodeIP: o.NodeIP, Ours: o.Ours, Exec: o.Exec, Peering: o.Peering,
		Manager: o.Manager, Agent: o.Agent, APIServer: o.APIServer, ControllerManager: o.ControllerManager,
	}
}

// recall completes the options with those that components were started with before.
func (o *Options) recall(r recipe) {
	o.NodeIP, o.Ours, o.Exec = cmp.Or(o.NodeIP, r.NodeIP), cmp.Or(o.Ours, r.Ours), o.Exec || r.Exec
	for _, flags := range []struct{ own, old *[]string }{
		{&o.Peering, &r.Peering}, {&o.Manager, &r.Manager}, {&o.Agent, &r.Agent},
		{&o.APIServer, &r.APIServer}, {&o.ControllerManager, &r.ControllerManager},
	} {
		if *flags.own == nil {
			*flags.own = *flags.old
		}
	}
}
