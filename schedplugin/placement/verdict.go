package placement

import (
	"fmt"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Outcome is the short form of a verdict.
type Outcome int

// The outcomes.
const (
	// Permitted: the node may take the pod.
	Permitted Outcome = iota
	// Refused: the node may not take the pod unless somebody changes something.
	Refused
	// Waits: the node may take the pod once something that is already under way is done.
	Waits
)

// String returns the outcome in lower case.
func (o Outcome) String() string {
	return [...]string{"permitted", "refused", "waits"}[o]
}

// Reason is a stable word for a verdict, for metrics and scripts.
type Reason string

// The reasons.
const (
	// ReasonPermitted goes with Permitted only.
	ReasonPermitted Reason = "Permitted"
	// ReasonNotOffloaded: a virtual node, and the namespace has no NamespaceOffloading.
	ReasonNotOffloaded Reason = "NotOffloaded"
	// ReasonRuntimeClass: an ordinary node, and the pod has RuntimeClass liqo.
	ReasonRuntimeClass Reason = "RuntimeClass"
	// ReasonStrategyLocal: a virtual node, and the strategy is Local.
	ReasonStrategyLocal Reason = "StrategyLocal"
	// ReasonStrategyRemote: an ordinary node, and the strategy is Remote.
	ReasonStrategyRemote Reason = "StrategyRemote"
	// ReasonNotSelected: the cluster selector does not match the virtual node.
	ReasonNotSelected Reason = "ClusterNotSelected"
	// ReasonSelectorInvalid: the cluster selector cannot be parsed.
	ReasonSelectorInvalid Reason = "SelectorInvalid"
	// ReasonTwinNotReady: the twin on the node's cluster does not exist yet, or is going.
	ReasonTwinNotReady Reason = "TwinNotReady"
	// ReasonTwinFailed: the twin on the node's cluster cannot be made.
	ReasonTwinFailed Reason = "TwinFailed"
	// ReasonNotProcessed: the namespace announces an offloading that nobody has processed yet.
	ReasonNotProcessed Reason = "OffloadingNotProcessed"
	// ReasonTerminating: a virtual node, and the NamespaceOffloading is being deleted.
	ReasonTerminating Reason = "OffloadingTerminating"
	// ReasonTwinsLeaving: an ordinary node, and pods of a Remote namespace may still run in its twins.
	ReasonTwinsLeaving Reason = "TwinsLeaving"
	// ReasonTooLarge: no single node of the provider has left what the pod requests.
	ReasonTooLarge Reason = "TooLargeForProvider"
	// ReasonUnfit: no node of the provider took pods of the same controller lately.
	ReasonUnfit Reason = "RecentlyUnfit"
	// ReasonVolumeAtHome: a virtual node, and a claim of the pod has, or will get, its volume at home.
	ReasonVolumeAtHome Reason = "VolumeAtHome"
	// ReasonVolumeElsewhere: the volume of a claim of the pod is, or will be, on a virtual node, and not on this one.
	ReasonVolumeElsewhere Reason = "VolumeElsewhere"
	// ReasonVolumeRefused: the provider could not have the volume of a claim of the pod when it was asked last.
	ReasonVolumeRefused Reason = "VolumeRefused"
	// ReasonUnknown: the facts are not known yet.
	ReasonUnknown Reason = "Unknown"
)

// Reasons returns every reason that can keep a pod from a node.
func Reasons() []Reason {
	return []Reason{
		ReasonNotOffloaded, ReasonRuntimeClass, ReasonStrategyLocal, ReasonStrategyRemote, ReasonNotSelected,
		ReasonSelectorInvalid, ReasonTwinNotReady, ReasonTwinFailed, ReasonNotProcessed, ReasonTerminating,
		ReasonTwinsLeaving, ReasonTooLarge, ReasonUnfit, ReasonVolumeAtHome, ReasonVolumeElsewhere, ReasonVolumeRefused,
		ReasonUnknown,
	}
}

// Verdict is the answer about one pod and one node.
type Verdict struct {
	Outcome Outcome
	Reason  Reason
	// Message is one sentence; "" when permitted.
	Message string
}

func refuse(reason Reason, message string) Verdict {
	return Verdict{Outcome: Refused, Reason: reason, Message: message}
}

func wait(reason Reason, message string) Verdict {
	return Verdict{Outcome: Waits, Reason: reason, Message: message}
}

func unprocessed() Verdict {
	return wait(ReasonNotProcessed, "waiting for the offloading of this namespace to be processed, which its label "+
		v1beta1.LabelSchedulingEnabled+"=true announces")
}

// ready returns the verdict that follows from the state of a selected twin.
func ready(cluster string, twin v1beta1.TwinStatus) Verdict {
	switch twin.Phase {
	case v1beta1.MappingAccepted:
		return Verdict{Reason: ReasonPermitted}
	case v1beta1.MappingCreationLoopBackOff:
		message := fmt.Sprintf("the twin namespace on cluster %q cannot be created", cluster)
		if twin.Message != "" {
			message += ": " + twin.Message
		}
		return wait(ReasonTwinFailed, message)
	case v1beta1.MappingTerminating:
		return wait(ReasonTwinNotReady, fmt.Sprintf("the twin namespace on cluster %q is being deleted", cluster))
	default:
		return wait(ReasonTwinNotReady, fmt.Sprintf("the twin namespace on cluster %q is not ready yet", cluster))
	}
}
