package namespacemap

import (
	"context"
	"errors"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// reasonTwinLost is how a map remembers, also for an agent that starts later, that pods of ours may still run in what
// is not ours any more. Users see ReasonCreationLoopBackOff.
const reasonTwinLost = "TwinLost"

// explain returns the reason and the sentence for a failure on a provider: the server's words, or why none came. The
// same failure always makes the same sentence, or each retry would be a write.
func explain(err error) (reason, message string) {
	switch {
	case unanswered(err):
		return v1beta1.ReasonClusterUnreachable, "the provider's API server cannot be reached, it is tried again: " +
			cause(err)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return v1beta1.ReasonPermissionDenied, err.Error()
	default:
		return v1beta1.ReasonCreationLoopBackOff, err.Error()
	}
}

// passing says that a failure says nothing about the twin itself.
func passing(err error) bool {
	var stranger *foreignError
	return !asForeign(err, &stranger) && !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) &&
		!apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err)
}

// unanswered says that a call got no answer, or one that only says that there is none now.
func unanswered(err error) bool {
	var transport *url.Error
	var network net.Error
	return errors.As(err, &transport) || errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsNotFound(err) && !remote.Absent(err)
}

// cause returns what is behind a failed call, without the address and port of the connection, which change.
func cause(err error) string {
	var network net.Error
	if errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &network) && network.Timeout()) {
		return "no answer within " + callTimeout.String()
	}
	var connection *net.OpError
	if errors.As(err, &connection) {
		return connection.Err.Error()
	}
	var transport *url.Error
	if errors.As(err, &transport) {
		return transport.Err.Error()
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}
