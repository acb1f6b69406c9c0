package provider

import (
	"context"

	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
)

// attach connects to the process that the remote container runs.
func (s *Streams) attach(ctx context.Context, _, _, container string, home api.AttachIO) error {
	to, err := targetOf(ctx)
	if err != nil {
		return err
	}
	return s.command(ctx, s.url(to, "attach", &corev1.PodAttachOptions{
		Stdin: to.asks(corev1.ExecStdinParam), Stdout: to.asks(corev1.ExecStdoutParam),
		Stderr: to.asks(corev1.ExecStderrParam), TTY: home.TTY(), Container: container,
	}), to, home)
}
