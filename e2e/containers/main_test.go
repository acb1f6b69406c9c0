package containers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/env"
)

// wish says whether the scenarios, which need a machine that can run containers, run too.
var wish = flag.String("containers", "",
	`"required" runs the scenarios, and fails where the machine cannot; "possible" leaves them out there`)

// provider is the cluster that has real containers.
const provider = "provider-1"

// playground and metal are what all scenarios share; each works in a namespace of its own. They are nil where no
// scenario runs, for the reason in absent.
var (
	playground *env.Env
	metal      *Node
	absent     = "scenarios with real containers run with make e2e-containers"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	switch *wish {
	case "":
		return m.Run()
	case "required", "possible":
	default:
		return complain(fmt.Errorf("-containers must be required or possible, not %q", *wish))
	}
	tools, err := ThisMachine().Tools()
	var unable *UnableError
	if errors.As(err, &unable) && *wish == "possible" {
		absent = fmt.Sprintf("real containers are left out, since this machine cannot run them: %v", unable)
		fmt.Fprintln(os.Stderr, absent)
		return m.Run()
	}
	if err != nil {
		return complain(fmt.Errorf("real containers cannot run here: %w", err))
	}
	dir, err := os.MkdirTemp("", "twinspace-containers-")
	if err != nil {
		return complain(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return scenarios(m, dir, tools)
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// scenarios runs them, and everything else, on a playground whose provider has one node, a real one.
func scenarios(m *testing.M, dir string, tools Tools) int {
	ctx := context.Background()
	root, err := env.RepositoryRoot()
	if err != nil {
		return complain(err)
	}
	bin := filepath.Join(root, "bin")
	playground, err = env.Up(ctx, env.Options{
		Dir: filepath.Join(dir, "playground"), Bin: bin, Ours: filepath.Join(bin, "race"),
		Providers: 1, Nodes: 1, Peer: true, Tied: true, Out: os.Stderr,
	})
	if err != nil {
		return complain(fmt.Errorf("start playground: %w", err))
	}
	code := 1
	metal, err = Join(ctx, playground.Cluster(provider), Options{
		Name: "metal", Dir: filepath.Join(dir, "metal"), Playground: filepath.Join(bin, "playground"), Tools: tools,
	})
	if err == nil {
		err = retire(ctx)
	}
	if err == nil {
		code = m.Run()
	}
	err = errors.Join(err, races(playground.Dir()))
	if code != 0 {
		fmt.Fprintln(os.Stderr, playground.LogTails(40))
		if metal != nil {
			fmt.Fprintln(os.Stderr, metal.Logs())
		}
	}
	if metal != nil {
		err = errors.Join(err, metal.End(ctx))
	}
	if err := errors.Join(err, playground.Down(ctx)); err != nil {
		return complain(err)
	}
	return code
}

// races returns what the race detector found in any component of ours.
func races(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	for _, log := range logs {
		text, readErr := os.ReadFile(log)
		err = errors.Join(err, readErr)
		if _, race, found := strings.Cut(string(text), "WARNING: DATA RACE"); found {
			err = errors.Join(err, fmt.Errorf("%s: data race%s", log, race[:min(len(race), 4000)]))
		}
	}
	return err
}

// retire takes the played node from the provider, and waits until home knows that only the real one is left.
func retire(ctx context.Context) error {
	played := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: provider + "-node-1"}}
	if err := playground.Cluster(provider).Client().Delete(ctx, played); err != nil {
		return fmt.Errorf("remove the played node: %w", err)
	}
	var real, virtual corev1.Node
	err := wait.PollUntilContextTimeout(ctx, poll, later, true, func(ctx context.Context) (bool, error) {
		if err := errors.Join(
			playground.Cluster(provider).Client().Get(ctx, client.ObjectKey{Name: metal.Name}, &real),
			playground.Consumer().Client().Get(ctx, client.ObjectKey{Name: provider}, &virtual),
		); err != nil {
			return false, err
		}
		return virtual.Status.Capacity.Cpu().Equal(*real.Status.Capacity.Cpu()), nil
	})
	if err != nil {
		return fmt.Errorf("wait until home offers the real node: %w", err)
	}
	return nil
}
