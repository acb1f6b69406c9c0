package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// answerTimeout is how long home may take to answer at the start, and askAgain the pause until it is asked again.
	answerTimeout = 5 * time.Second
	askAgain      = 2 * time.Second
)

// AwaitHome returns once the API server at home answers, whatever it says. Who ends because home does not answer is
// started again with pauses that grow to minutes, and would be away for as long when home is back.
func AwaitHome(ctx context.Context, home *rest.Config, c clock.Clock) error {
	config := rest.CopyConfig(home)
	config.Timeout = answerTimeout
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client of home: %w", err)
	}
	for told := false; ; told = true {
		_, err := client.ServerVersion()
		if answer := apierrors.APIStatus(nil); err == nil || errors.As(err, &answer) {
			return nil
		}
		if !told {
			klog.FromContext(ctx).Info("Waiting for the API server at home", "why", err.Error())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server at home: %w", ctx.Err())
		case <-c.After(askAgain):
		}
	}
}
