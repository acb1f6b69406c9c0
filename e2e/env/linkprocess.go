package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// A link runs in a process of its own. What it should do is in a file that it reads at its start and at SIGHUP; what it
// does is in a second file, so that whoever asked knows when it holds. Files and not a socket: the path of a socket may
// not be longer than 108 characters.
const (
	linkWanted = "link.json"
	linkActual = "link.actual.json"
)

// linkOrder is the content of both files.
type linkOrder struct {
	Mode
	// Serial tells an order from an earlier one for the same mode.
	Serial int64 `json:"serial"`
}

func (c *Cluster) linkProxy() component {
	comp := component{
		cluster: c, name: LinkProxy, program: "playground", ports: []int{c.ports[LinkProxy]},
		writes: c.path(linkActual),
		args:   []string{"link-proxy", address(c.ports[LinkProxy]), address(c.ports[APIServer]), c.path()},
	}
	if c.env.opts.Gateways {
		comp.args = append(comp.args, c.path("pki"))
	}
	return comp
}

// LinkProcess says what the process of a link does.
type LinkProcess struct {
	// Listen and Target are addresses: what comes to the one is passed on to the other.
	Listen, Target string
	// Dir has its orders.
	Dir string
	// Keys is the folder of the cluster's keys, for a link that reads what passes; empty for one that does not.
	Keys string
}

func (p LinkProcess) open() (*Link, error) {
	if p.Keys == "" {
		return NewLink(p.Listen, p.Target, clock.RealClock{})
	}
	return NewGateway(p.Listen, p.Target, p.Keys, clock.RealClock{})
}

// Run is the process of a link until the context ends. Each value on reload makes it read its orders again.
func (p LinkProcess) Run(ctx context.Context, reload <-chan os.Signal) error {
	link, err := p.open()
	if err != nil {
		return err
	}
	defer link.Close()
	for {
		order, err := readOrder(filepath.Join(p.Dir, linkWanted))
		if err != nil {
			return err
		}
		if err := link.Set(order.Mode); err != nil {
			return err
		}
		if err := order.write(filepath.Join(p.Dir, linkActual)); err != nil {
			return err
		}
		select {
		case <-reload:
		case <-ctx.Done():
			return nil
		}
	}
}

// accepts says why the cluster's link cannot be set to the mode, if so.
func (c *Cluster) accepts(mode Mode) error {
	switch {
	case !c.hasLink():
		return &UsageError{"the consumer has a link only in a playground with gateways: name a provider"}
	case mode.readsRequests() && !c.env.opts.Gateways:
		return &UsageError{fmt.Sprintf("%s needs a playground with gateways, whose links read requests", mode.Kind)}
	}
	return nil
}

// SetLink changes what happens between our components and a cluster, and returns when it holds.
func (e *Env) SetLink(ctx context.Context, cluster string, mode Mode) error {
	c, err := e.find(cluster)
	if err != nil {
		return err
	}
	if err := c.accepts(mode); err != nil {
		return err
	}
	order, err := readOrder(c.path(linkWanted))
	if err != nil {
		return err
	}
	order = linkOrder{mode, order.Serial + 1}
	if err := order.write(c.path(linkWanted)); err != nil {
		return err
	}
	if err := e.Signal(cluster, LinkProxy, syscall.SIGHUP); err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) {
			actual, err := readOrder(c.path(linkActual))
			return actual == order, err
		})
	if err != nil {
		return fmt.Errorf("set link to %s: %w; see its log %s", cluster, err, c.logPath(LinkProxy))
	}
	return nil
}

// LinkMode returns what happens between our components and a cluster.
func (e *Env) LinkMode(cluster string) (Mode, error) {
	c, err := e.find(cluster)
	if err != nil {
		return Mode{}, err
	}
	order, err := readOrder(c.path(linkActual))
	return order.Mode, err
}

// readOrder returns a healthy order where there is none.
func readOrder(path string) (linkOrder, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // G304: a file of ours
	if errors.Is(err, fs.ErrNotExist) {
		return linkOrder{Mode: Mode{Kind: Heal}}, nil
	}
	if err != nil {
		return linkOrder{}, fmt.Errorf("read link: %w", err)
	}
	var order linkOrder
	if err := json.Unmarshal(raw, &order); err != nil {
		return linkOrder{}, fmt.Errorf("read link: %w", err)
	}
	return order, nil
}

func (o linkOrder) write(path string) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("write link: %w", err)
	}
	return writeFile(path, raw)
}
