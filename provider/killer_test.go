package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/history"
	"github.com/twinspace/twinspace/provider/translate"
)

// side is which of the two API servers a request is for.
type side string

const (
	toHome side = "home"
	toAway side = "away"

	// What a status says, in the words of the request.
	saysRuns, saysRestarts = `"phase":"Running"`, `"restartCount":1`
	saysEnds               = `"phase":"Succeeded" "phase":"Failed"`
	// jobs begins the names of pods that end by themselves.
	jobs = "job"
)

// moment is where an incarnation of the agent ends: at a request about a pod, before it is sent or, with after, when it
// was carried out and nobody has heard the answer.
type moment struct {
	side
	verb string
	// sub is how the path ends: with what follows the pod's name, or with "pods" for a creation.
	sub string
	// says are alternatives, one of which the request contains.
	says  string
	after bool
}

// pod returns the pod that a request is about; false when it is no such request.
func (m moment) pod(to side, r *http.Request, body []byte) (string, bool) {
	if to != m.side || r.Method != m.verb {
		return "", false
	}
	_, path, found := strings.Cut(r.URL.Path, "/pods")
	if !found || m.says != "" && !says(body, m.says) {
		return "", false
	}
	name, sub, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if m.sub != "pods" {
		return name, name != "" && sub == m.sub
	}
	var created metav1.PartialObjectMetadata
	err := json.Unmarshal(body, &created)
	return created.Name, err == nil && path == ""
}

func says(body []byte, alternatives string) bool {
	for one := range strings.FieldsSeq(alternatives) {
		if bytes.Contains(body, []byte(one)) {
			return true
		}
	}
	return false
}

var errDead = errors.New("this agent was killed")

// killer ends incarnations. Each armed pod is good for one death, so the incarnation after it gets on.
type killer struct {
	moment
	mu     sync.Mutex
	armed  map[string]bool
	deaths int
	births int
}

// incarnation is one life of the agent. Nothing of a dead one reaches a server any more, and it hears nothing.
type incarnation struct {
	killer *killer
	ctx    context.Context //nolint:containedctx // it is the life itself
	end    context.CancelFunc
}

func (k *killer) born() *incarnation {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.births++
	ctx, end := context.WithCancel(context.Background())
	return &incarnation{killer: k, ctx: ctx, end: end}
}

func (k *killer) arm(pod string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed[pod] = true
}

func (k *killer) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.deaths
}

func (k *killer) lived() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.births
}

// isArmed tells whether a request is the moment of an armed pod.
func (k *killer) isArmed(to side, r *http.Request, body []byte) (string, bool) {
	pod, due := k.pod(to, r, body)
	k.mu.Lock()
	defer k.mu.Unlock()
	return pod, due && k.armed[pod]
}

// kill ends an incarnation because of a pod, unless it is dead or the pod has had its death.
func (i *incarnation) kill(pod string) bool {
	i.killer.mu.Lock()
	defer i.killer.mu.Unlock()
	if i.ctx.Err() != nil || !i.killer.armed[pod] {
		return false
	}
	delete(i.killer.armed, pod)
	i.killer.deaths++
	i.end()
	return true
}

// line is a connection to an API server that incarnations share, as they would a cable.
type line struct {
	config    *rest.Config
	transport http.RoundTripper
}

func (k *killing) line(plane int) line {
	config := k.planes[plane].Config()
	config.UserAgent = agentName
	config.QPS = -1
	// Which can be read on the way.
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	transport, err := rest.TransportFor(config)
	if err != nil {
		k.Error(err)
	}
	return line{config, transport}
}

// client returns a client through which an incarnation speaks.
func (i *incarnation) client(t *testing.T, l line, to side) kubernetes.Interface {
	set, err := kubernetes.NewForConfigAndClient(l.config, &http.Client{Transport: &mouth{i, l.transport, to}})
	if err != nil {
		t.Error(err)
	}
	return set
}

// mouth passes on what an incarnation says to one of the API servers, as long as it lives.
type mouth struct {
	*incarnation
	next http.RoundTripper
	to   side
}

func (m *mouth) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := peek(r)
	if err != nil || m.ctx.Err() != nil {
		return nil, errors.Join(errDead, err)
	}
	pod, due := m.killer.isArmed(m.to, r, body)
	if due && !m.killer.after && m.kill(pod) {
		return nil, errDead
	}
	response, err := m.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if due && m.killer.after && response.StatusCode < http.StatusMultipleChoices {
		m.kill(pod)
	}
	if m.ctx.Err() != nil {
		_ = response.Body.Close()
		return nil, errDead
	}
	return response, nil
}

// peek reads what a request carries, and leaves it there.
func peek(r *http.Request) ([]byte, error) {
	if r.GetBody == nil {
		return nil, nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(body)
}

// kubelet plays the provider's scheduler and kubelet: it binds pods, runs them, restarts each once, ends those of jobs,
// and lets deleted ones go.
func (k *killing) kubelet(ctx context.Context) error {
	return k.remotes.Follow(ctx, func(c history.Change) (bool, error) {
		pod := c.Pod
		switch {
		case c.Gone || translate.HomeUID(pod, "home") == "":
			return false, nil
		case ptr.Deref(pod.DeletionGracePeriodSeconds, 1) == 0:
			return false, nil // it is on its way out
		case pod.DeletionTimestamp != nil:
			return false, k.letGone(ctx, pod)
		case pod.Spec.NodeName == "":
			return false, k.bind(ctx, pod)
		case pod.Status.Phase == corev1.PodPending:
			return false, k.tell(ctx, pod, corev1.PodRunning, 0)
		case pod.Status.Phase == corev1.PodRunning && restartsOf(pod) == 0:
			return false, k.tell(ctx, pod, corev1.PodRunning, 1)
		case pod.Status.Phase == corev1.PodRunning && strings.HasPrefix(pod.Name, jobs):
			return false, k.tell(ctx, pod, corev1.PodSucceeded, 1)
		}
		return false, nil
	})
}

// settledDown tells whether a home pod shows all that its remote pod did.
func settledDown(pod *corev1.Pod) bool {
	if strings.HasPrefix(pod.Name, jobs) {
		return pod.Status.Phase == corev1.PodSucceeded
	}
	return pod.Status.Phase == corev1.PodRunning && restartsOf(pod) == 1
}

func restartsOf(pod *corev1.Pod) int32 {
	if len(pod.Status.ContainerStatuses) == 0 {
		return 0
	}
	return pod.Status.ContainerStatuses[0].RestartCount
}

func (k *killing) bind(ctx context.Context, pod *corev1.Pod) error {
	err := k.away.CoreV1().Pods(k.twin).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: "worker"},
	}, metav1.CreateOptions{})
	return unlessGone(err)
}

// unlessGone forgives that a pod is gone, or bound already.
func unlessGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// tell reports a status of which only this can change, so that it can be told twice.
func (k *killing) tell(ctx context.Context, pod *corev1.Pod, phase corev1.PodPhase, restarts int) error {
	at := pod.CreationTimestamp.UTC().Format("2006-01-02T15:04:05Z")
	state := fmt.Sprintf(`{"running":{"startedAt":%q}}`, at)
	if phase == corev1.PodSucceeded {
		state = fmt.Sprintf(`{"running":null,"terminated":{"exitCode":0,"startedAt":%q,"finishedAt":%q}}`, at, at)
	}
	patch := fmt.Sprintf(`{"metadata":{"uid":%q},"status":{"phase":%q,"startTime":%q,"containerStatuses":[`+
		`{"name":"app","image":"i","imageID":"i","ready":true,"restartCount":%d,"state":%s}]}}`,
		pod.UID, phase, at, restarts, state)
	_, err := k.away.CoreV1().Pods(k.twin).Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(patch),
		metav1.PatchOptions{}, "status")
	return unlessGone(err)
}

// letGone ends a remote pod that is being deleted. If it still runs, its home pod has to be there (I8), and somebody
// must have asked for the deletion: an agent that starts anew asks for none of its own (O11).
func (k *killing) letGone(ctx context.Context, pod *corev1.Pod) error {
	owner, err := k.home.CoreV1().Pods(k.ns).Get(ctx, pod.Name, metav1.GetOptions{})
	switch {
	case translate.Finished(pod.Status.Phase): // nothing of it runs, and Kubernetes lets its home pod go at once
	case apierrors.IsNotFound(err) || err == nil && string(owner.UID) != translate.HomeUID(pod, "home"):
		k.breaks("I8: home pod %s left before its remote pod", pod.Name)
	case err != nil:
		return err
	case owner.DeletionTimestamp == nil:
		k.breaks("O11: remote pod %s was deleted, and nobody wanted it", pod.Name)
	}
	return unlessGone(k.away.CoreV1().Pods(k.twin).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0), Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	}))
}
