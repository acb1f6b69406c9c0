package nemesis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/reflection/remote"
)

// cutting cuts a provider off for less than what makes Kubernetes evict, and looks, before it heals the link, at what
// home made of it: a cut that is worth telling makes the node not ready, any other leaves it ready.
func cutting(worthTelling bool) Inject {
	return func(ctx context.Context, s *Scene) (Heal, error) {
		before, err := stagePods(ctx, s)
		if err != nil {
			return nil, err
		}
		heal, err := setLink(ctx, s, s.Provider, "cut")
		return func(ctx context.Context) error {
			return errors.Join(s.cutSeen(ctx, worthTelling, before), heal.do(ctx))
		}, err
	}
}

// vanishing has packets vanish, and looks afterwards whether anybody waited for an answer beyond all bounds.
func vanishing(ctx context.Context, s *Scene) (Heal, error) {
	heal, err := setLink(ctx, s, s.Provider, "blackhole")
	return func(ctx context.Context) error {
		err := heal.do(ctx)
		for _, name := range agents(s) {
			text, readErr := s.Env.Consumer().Metrics(ctx, name)
			if readErr != nil {
				continue // it does not run, because of another fault
			}
			n, countErr := waitedLong(text)
			if n > 0 {
				s.Break("%s waited longer than %s s for %d answers of %s", name, longestWait, n, s.Provider)
			}
			err = errors.Join(err, countErr)
		}
		return err
	}, err
}

// longestWait is the bucket that holds all requests which ended within what docs/acceptance.md allows.
const longestWait = "45"

// waitedLong reads from the metrics of an agent how many of its requests to providers took longer than any may.
func waitedLong(metrics string) (int, error) {
	longer := 0.0
	for line := range strings.Lines(metrics) {
		what, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		labels, bucket := strings.CutPrefix(what, remote.RequestDuration+"_bucket{")
		all, within := strings.Contains(labels, `le="+Inf"`), strings.Contains(labels, `le="`+longestWait+`"`)
		if !bucket || !all && !within {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read metric %s: %w", what, err)
		}
		if all {
			longer += n
		} else {
			longer -= n
		}
	}
	return int(longer), nil
}

// cutSeen writes down what should not have become of a cut. What cannot be read, since home is broken too, is not
// judged.
func (s *Scene) cutSeen(ctx context.Context, worthTelling bool, before sets.Set[types.UID]) error {
	var node corev1.Node
	if err := atHome(s).Get(ctx, client.ObjectKey{Name: s.Provider}, &node); err != nil {
		return client.IgnoreNotFound(err)
	}
	if says := cutTold(&node, worthTelling); says != "" {
		s.Break("%s", says)
	}
	now, err := stagePods(ctx, s)
	if err != nil {
		return err
	}
	if gone := before.Difference(now); gone.Len() > 0 {
		s.Break("%d pods were evicted from %s while it was cut off for a short time", gone.Len(), s.Provider)
	}
	return nil
}

// cutTold returns what is wrong with what a node says of a cut that has lasted for its time.
func cutTold(node *corev1.Node, worthTelling bool) string {
	ready := corev1.NodeCondition{Status: corev1.ConditionUnknown}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			ready = c
		}
	}
	switch told := ready.Status != corev1.ConditionTrue; {
	case told && !worthTelling:
		return fmt.Sprintf("node %s is not ready after a cut that nobody should notice: %s", node.Name, ready.Reason)
	case !told && worthTelling:
		return fmt.Sprintf("node %s is ready, though its provider cannot be reached", node.Name)
	case told && ready.Reason == "":
		return fmt.Sprintf("node %s gives no reason for not being ready", node.Name)
	}
	return ""
}

// stagePods returns the pods on the stage that live on the provider and are not being deleted.
func stagePods(ctx context.Context, s *Scene) (sets.Set[types.UID], error) {
	var pods corev1.PodList
	if err := atHome(s).List(ctx, &pods, client.InNamespace(StageNamespace)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	out := sets.New[types.UID]()
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Spec.NodeName == s.Provider && pod.DeletionTimestamp == nil && !finished(pod) {
			out.Insert(pod.UID)
		}
	}
	return out, nil
}
