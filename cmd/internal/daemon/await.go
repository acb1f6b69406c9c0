package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	// answerTimeout is how long home may take to answer at the start, and askAgain the pause until it is asked again.
	answerTimeout = 5 * time.Second
	askAgain      = 2 * time.Second
)

// AwaitHome returns once the API server at home answers and has our kinds; that it refuses to say which it has is an
// answer, too. Who ends because home does not answer, or somebody installs the kinds anew, is started again with pauses
// that grow to minutes, and would be away for as long when all is well again. So it waits, and tells the kubelet at the
// health address that it is alive.
func AwaitHome(ctx context.Context, home *rest.Config, health string, c clock.Clock) error {
	config := rest.CopyConfig(home)
	config.Timeout = answerTimeout
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client of home: %w", err)
	}
	for told := false; ; told = true {
		err := kindsKnown(client)
		if answer := apierrors.APIStatus(nil); err == nil || errors.As(err, &answer) && !apierrors.IsNotFound(err) {
			return nil
		}
		if !told {
			klog.FromContext(ctx).Info("Waiting for home", "why", err.Error())
			silence, err := aliveAt(health)
			if err != nil {
				return err
			}
			defer silence()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for home: %w", ctx.Err())
		case <-c.After(askAgain):
		}
	}
}

// aliveAt answers /healthz, and nothing else, until it is silenced; then the address is free for others.
func aliveAt(address string) (silence func(), err error) {
	if address == "0" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for health probes: %w", err)
	}
	alive := http.NewServeMux()
	alive.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	alive.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "waiting for home", http.StatusServiceUnavailable)
	})
	server := &http.Server{Handler: alive, ReadHeaderTimeout: answerTimeout}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = server.Serve(listener) // ends when it is closed, for no other reason that matters
	}()
	return func() { _ = server.Close(); <-over }, nil
}

// kindsKnown returns what keeps home from knowing our kinds.
func kindsKnown(home discovery.DiscoveryInterface) error {
	known, err := home.ServerResourcesForGroupVersion(v1beta1.GroupVersion.String())
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the kinds of %s are not installed: %w", v1beta1.GroupVersion, err)
	case err != nil:
		return err
	}
	for _, kind := range []string{"NamespaceOffloading", "NamespaceMap", "VirtualNode"} {
		if !slices.ContainsFunc(known.APIResources, func(r metav1.APIResource) bool { return r.Kind == kind }) {
			return fmt.Errorf("kind %s is not installed", kind)
		}
	}
	return nil
}
