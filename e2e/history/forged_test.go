package history_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/history"
)

// Clusters of forged records. The virtual node of each provider has its name.
const (
	home = "home"
	b    = "b"
	c    = "c"
)

// forgery writes a record in which things happen at whole seconds, as told.
type forgery struct {
	second  int
	entries []history.Entry
	there   map[string]client.Object // by cluster, source and name
	version int
	// unheard: what happens is heard of in a list, after this second.
	unheard *int
	// short: the record ends with what was told; others go on for a while.
	short bool
}

// forge begins with two providers and their virtual nodes.
func forge() *forgery {
	f := &forgery{there: map[string]client.Object{}}
	for _, provider := range []string{b, c} {
		f.is(home, "nodes", node(provider, corev1.ConditionTrue))
		vn := build.VirtualNode(provider, provider)
		vn.UID = types.UID("vn-" + provider)
		f.is(home, "virtualnodes.offloading.liqo.io", vn)
	}
	return f
}

func node(provider string, ready corev1.ConditionStatus) *corev1.Node {
	n := build.VirtualNodesNode(build.VirtualNode(provider, provider))
	n.UID = types.UID("node-" + provider)
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	return n
}

func moment(second int) time.Time { return time.Unix(1_000_000_000+int64(second), 0).UTC() }

// at is when what follows happens.
func (f *forgery) at(second int) *forgery {
	f.second = second
	return f
}

func (f *forgery) write(e history.Entry) *forgery {
	e.At = moment(f.second)
	if f.unheard != nil && e.Object != nil {
		e.Since = ptr.To(moment(*f.unheard))
	}
	f.entries = append(f.entries, e)
	return f
}

// is is that a cluster has an object.
func (f *forgery) is(cluster, source string, o client.Object) *forgery {
	return f.say(cluster, source, watch.Modified, o)
}

func (f *forgery) say(cluster, source string, t watch.EventType, o client.Object) *forgery {
	f.version++
	o = o.DeepCopyObject().(client.Object) //nolint:forcetypeassert // it is a copy of one
	o.SetResourceVersion(strconv.Itoa(f.version))
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("%s %s %s/%s", cluster, source, o.GetNamespace(), o.GetName())))
	}
	id := fmt.Sprint(cluster, source, o.GetNamespace(), "/", o.GetName())
	if had := f.there[id]; had != nil && t != watch.Deleted && source != "pods" {
		o.SetGeneration(had.GetGeneration())
	}
	f.there[id] = o
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return f.write(history.Entry{Cluster: cluster, Source: source, Type: t, Object: raw})
}

// gone is that a cluster has not the object of that name any more.
func (f *forgery) gone(cluster, source, key string) *forgery {
	return f.say(cluster, source, watch.Deleted, f.there[cluster+source+key])
}

// home is that the home pod db-0 is like this, on virtual node b.
func (f *forgery) home(uid string, phase corev1.PodPhase, changes ...func(*corev1.Pod)) *forgery {
	return f.is(home, "pods", homePod(uid, phase, changes...))
}

func homePod(uid string, phase corev1.PodPhase, changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := build.Pod("db-0").Namespace("shop").UID(uid).Node(b).Phase(phase).Obj()
	pod.Generation = 1
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// away is that its remote pod is like this; its own UID is that with the cluster before it.
func (f *forgery) away(cluster, uid string, phase corev1.PodPhase, changes ...func(*corev1.Pod)) *forgery {
	return f.is(cluster, "pods", awayPod(cluster, uid, phase, changes...))
}

func awayPod(cluster, uid string, phase corev1.PodPhase, changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := build.Pod("db-0").Namespace("shop-home").UID(cluster+uid).Phase(phase).
		Label(v1beta1.LabelOrigin, home).Annotation(v1beta1.AnnotationHomeUID, uid).
		Annotation(v1beta1.AnnotationHomeNamespace, "shop").Obj()
	for _, change := range changes {
		change(pod)
	}
	return pod
}

func (f *forgery) homeGone() *forgery { return f.gone(home, "pods", "shop/db-0") }

func (f *forgery) awayGone(cluster string) *forgery { return f.gone(cluster, "pods", "shop-home/db-0") }

// deleting is that somebody has asked for the deletion of a pod.
func deleting(pod *corev1.Pod) {
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = ptr.To(metav1.NewTime(moment(0))), ptr.To[int64](30)
}

// container is that the pod's container is in a state.
func container(restarts int32, ready bool, since int) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		running := &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(moment(since))}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "app", RestartCount: restarts, Ready: ready, State: corev1.ContainerState{Running: running},
		}}
	}
}

func named(name string) func(*corev1.Pod) { return func(pod *corev1.Pod) { pod.Name = name } }

func on(node string) func(*corev1.Pod) { return func(pod *corev1.Pod) { pod.Spec.NodeName = node } }

// offloaded is that namespace shop is offloaded, and has its twins.
func (f *forgery) offloaded() *forgery {
	ns := build.Namespace("shop").UID("shop").Obj()
	f.is(home, "namespaces", ns).is(home, "namespaceoffloadings.offloading.liqo.io", build.Offloading("shop").Obj())
	return f.twin(b, "shop").twin(c, "shop")
}

func (f *forgery) twin(cluster, uid string) *forgery {
	return f.is(cluster, "namespaces", build.Namespace("shop-home").UID(cluster+"twin").
		Label(v1beta1.LabelRemoteClusterID, home).Annotation(v1beta1.AnnotationTwinOrigin, home).
		Annotation(v1beta1.AnnotationTwinHomeName, "shop").Annotation(v1beta1.AnnotationTwinHomeUID, uid).Obj())
}

// settings is ConfigMap shop/settings.
func settings(uid, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings", UID: types.UID(uid)},
		Data:       map[string]string{"key": value},
	}
}

// mirrored is an object as it is in the twin.
func mirrored[T client.Object](o T) T {
	o.SetNamespace("shop-home")
	o.SetLabels(map[string]string{v1beta1.LabelOrigin: home})
	o.SetAnnotations(map[string]string{v1beta1.AnnotationHomeUID: string(o.GetUID())})
	o.SetUID("copy of " + o.GetUID())
	return o
}

func slice(namespace, name string, ready bool, addresses ...string) *discoveryv1.EndpointSlice {
	s := build.EndpointSlice(namespace, name, "web", b, addresses...)
	for i := range s.Endpoints {
		s.Endpoints[i].Conditions.Ready = ptr.To(ready)
	}
	return s
}

func (f *forgery) note(n history.Note) *forgery {
	return f.write(history.Entry{Source: history.SourceLab, Note: &n})
}

func (f *forgery) healed(bound int) *forgery {
	n := history.Note{Kind: history.Heal, Name: "cut", Cluster: b, Bound: metav1.Duration{
		Duration: time.Duration(bound) * time.Second,
	}}
	return f.note(n)
}

func (f *forgery) cut() *forgery {
	return f.note(history.Note{Kind: history.Fault, Name: "cut", Cluster: b})
}

func (f *forgery) rest(bound int) *forgery {
	within := metav1.Duration{Duration: time.Duration(bound) * time.Second}
	return f.note(history.Note{Kind: history.Rest, Bound: within})
}

// gap is that nobody listened to a resource since then; what follows is told by a list.
func (f *forgery) gap(cluster, source string, since int) *forgery {
	f.unheard = &since
	gap := &history.Gap{Since: moment(since), Why: "too old"}
	return f.write(history.Entry{Cluster: cluster, Source: source, Gap: gap})
}

// agent is who acts for home on a provider, manager who does at home.
const (
	agent   = "system:serviceaccount:liqo-tenant-home:liqo-consumer"
	manager = "system:serviceaccount:liqo:controller-manager"
)

func (f *forgery) asked(cluster, user, verb string, ref auditv1.ObjectReference) *forgery {
	at := metav1.NewMicroTime(moment(f.second))
	return f.write(history.Entry{Cluster: cluster, Source: history.SourceAudit, Audit: &auditv1.Event{
		Stage: auditv1.StageResponseComplete, Verb: verb, ObjectRef: &ref,
		RequestReceivedTimestamp: metav1.NewMicroTime(moment(f.second - 1)),
		StageTimestamp:           at, ResponseStatus: &metav1.Status{Code: 200},
	}}).by(user)
}

func (f *forgery) by(user string) *forgery {
	f.entries[len(f.entries)-1].Audit.User.Username = user
	return f
}

// record writes everything down and returns the directory.
func (f *forgery) record(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "record.json"), history.Head{Home: home, Away: []string{b, c}, Slack: time.Second})
	files := map[string][]any{}
	if !f.short {
		f.at(f.second + 100).note(history.Note{Kind: history.Action, Name: "nothing"})
	}
	for _, e := range f.entries {
		name := filepath.Join(dir, e.Cluster, e.Source+".jsonl")
		files[name] = append(files[name], e)
	}
	for name, entries := range files {
		write(t, name, entries...)
	}
	return dir
}

func write(t *testing.T, path string, lines ...any) {
	t.Helper()
	var out []byte
	for _, line := range lines {
		raw, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, raw...), '\n')
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
}

// verdict is what was found, as sentences.
type verdict struct{ violations, unknown, excused []string }

func (f *forgery) check(t *testing.T) history.Verdict {
	t.Helper()
	v, err := history.Check(f.record(t))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sentences(list []history.Violation) []string {
	var out []string
	for _, v := range list {
		out = append(out, v.String())
	}
	slices.Sort(out)
	return out
}

// forged are histories, with what must be found in each.
type forged map[string]struct {
	history *forgery
	want    verdict
}

func (table forged) check(t *testing.T) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(table)) {
		t.Run(what, func(t *testing.T) {
			v := table[what].history.check(t)
			got := verdict{sentences(v.Violations), sentences(v.Unknown), sentences(v.Excused)}
			if diff := cmp.Diff(table[what].want, got, cmp.AllowUnexported(verdict{})); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func violates(sentences ...string) verdict { return verdict{violations: sentences} }
