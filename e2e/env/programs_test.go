package env

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/utils/clock"
)

func TestHomesSchedulerMayBeReplaced(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	//nolint:gosec // G306: it is a program
	if err := os.WriteFile(filepath.Join(with, ourScheduler), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		ours  string
		index int
		want  string
	}{
		"home's, by ours":                      {with, 0, filepath.Join(with, "scheduler")},
		"home's, and there is none among ours": {without, 0, filepath.Join("bin", "playground")},
		"home's, and nothing is replaced":      {"", 0, filepath.Join("bin", "playground")},
		"a provider's":                         {with, 1, filepath.Join("bin", "playground")},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(Options{Dir: t.TempDir(), Bin: "bin", Ours: tc.ours, Providers: 1, Clock: clock.RealClock{}})
			t.Cleanup(e.ports.releaseAll)
			c, err := e.newCluster(tc.index, nil)
			if err != nil {
				t.Fatal(err)
			}
			comp := c.scheduler()
			if got := e.opts.program(comp.program); got != tc.want {
				t.Errorf("it is %s, want %s", got, tc.want)
			}
			if own := comp.args[0] != "kube-scheduler"; own != (comp.program == ourScheduler) {
				t.Errorf("its arguments begin with %s", comp.args[0])
			}
		})
	}
}
