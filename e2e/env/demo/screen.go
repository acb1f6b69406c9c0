package demo

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/twinspace/twinspace/e2e/env"
)

// Styles of a terminal.
const (
	bold  = "\x1b[1m"
	cyan  = "\x1b[36m"
	plain = "\x1b[0m"
)

func (s *Story) styled(style, text string) string {
	if !s.Colour {
		return text
	}
	return style + text + plain
}

// title opens a chapter and says what it shows and why.
func (s *Story) title(title string, why ...string) {
	_, _ = fmt.Fprintf(s.Out, "\n%s\n", s.styled(bold, "== "+title))
	for _, line := range why {
		_, _ = fmt.Fprintf(s.Out, "   %s\n", line)
	}
}

func (s *Story) command(line string) {
	_, _ = fmt.Fprintf(s.Out, "\n%s\n", s.styled(cyan, "$ "+line))
}

func (s *Story) output(text string) {
	if text = strings.TrimRight(text, "\n"); text != "" {
		_, _ = fmt.Fprintln(s.Out, text)
	}
}

// kubectl shows a command and what it prints.
func (s *Story) kubectl(ctx context.Context, cluster string, args ...string) error {
	s.command(fmt.Sprintf("%s kubectl %s %s", s.Playground, cluster, strings.Join(args, " ")))
	all := append([]string{"kubectl", "--dir", s.Env.Dir(), cluster}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(s.Env.Bin(), "playground"), all...) //nolint:gosec // G204: ourselves
	output, err := cmd.CombinedOutput()
	s.output(string(output))
	if err != nil {
		return fmt.Errorf("kubectl %s %s: %w", cluster, strings.Join(args, " "), err)
	}
	return nil
}

// next says what else there is to see.
func (s *Story) next() {
	provider := s.Env.Providers()[0].Name
	s.title("What to try next")
	for _, try := range []struct{ command, why string }{
		{fmt.Sprintf(`eval "$(%s env)"`, s.Playground), "kubectl and liqoctl, for home, in this shell"},
		{"kubectl -n shop scale deployment web --replicas=2", "pods go on the providers too; scale back and they come"},
		{"liqoctl info", "what is borrowed, what is offloaded, and whether it is well"},
		{
			fmt.Sprintf("%s link %s cut", s.Playground, provider),
			"the network breaks: the node becomes NotReady; pods stay for five minutes, so heal it before",
		},
		{
			"liqoctl offload namespace shop --pod-offloading-strategy Local",
			"new pods stay at home, except those with runtimeClassName: liqo",
		},
		{"liqoctl unoffload namespace shop", "the twins go, and everything in them"},
		{s.Playground + " status", "every process, and what it costs"},
	} {
		_, _ = fmt.Fprintf(s.Out, "   %s\n       %s\n", s.styled(cyan, try.command), try.why)
	}
	_, _ = fmt.Fprintf(s.Out, "\nThe clusters keep running. To stop them:  %s\n", s.styled(cyan, s.Playground+" down"))
	s.kubeconfigs()
}

func (s *Story) kubeconfigs() {
	_, _ = fmt.Fprintln(s.Out, "Their kubeconfigs:")
	for _, c := range append([]*env.Cluster{s.Env.Consumer()}, s.Env.Providers()...) {
		_, _ = fmt.Fprintf(s.Out, "   %s\n", c.Kubeconfig)
	}
}
