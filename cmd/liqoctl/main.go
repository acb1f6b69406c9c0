// Command liqoctl is what people and scripts use to peer clusters and to offload namespaces. Every command says what it
// is doing, ends in one line that says how it went, and refuses what it can refuse before it changes anything.
//
// It exits with 0 when it did what was asked, with 1 when it failed and with 2 when it was used wrongly. Under the name
// kubectl-liqo on the PATH it is also "kubectl liqo".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
	"k8s.io/utils/clock"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Interactive: term.IsTerminal(int(os.Stdin.Fd())),
		Styled:      term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("NO_COLOR") == "",
		Connect:     connect,
		Clock:       clock.RealClock{},
	}
	code := a.run(ctx, os.Args)
	stop()
	os.Exit(code)
}
