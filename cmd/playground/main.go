// Command playground starts several real Kubernetes clusters on loopback, peers them, and ends them again. It needs
// nothing but itself and the other programs of this repository: it is etcd, the Kubernetes control plane and kubectl
// too, and runs itself under their names.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/twinspace/twinspace/e2e/env"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// As "kubectl", by the link that `playground env` puts on the PATH, it is nothing else.
	if filepath.Base(os.Args[0]) == "kubectl" {
		os.Exit(runKubectl(os.Args[1:]))
	}
	if len(os.Args) > 1 {
		if run, ok := components()[os.Args[1]]; ok {
			os.Exit(run(os.Args[1:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	os.Exit(report(err))
}

// report prints an error as one line and returns the exit code.
func report(err error) int {
	var usage *env.UsageError
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(os.Stderr, "playground: %v\n", err)
		return exitUsage
	default:
		_, _ = fmt.Fprintf(os.Stderr, "playground: %v\n", err)
		return exitFailed
	}
}

// exitError is the exit code of a command that said itself what went wrong.
type exitError int

func (c exitError) Error() string { return fmt.Sprintf("exit code %d", int(c)) }
