package translate

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// created is the remote pod as an API server has stored it for us.
func created(home *corev1.Pod) *corev1.Pod {
	away := target(nil).Wanted(home)
	away.UID, away.ResourceVersion = "away-1", "7"
	own := map[string]any{"f:labels": keysOf(away.Labels), "f:annotations": keysOf(away.Annotations)}
	raw, err := json.Marshal(map[string]any{"f:metadata": own})
	if err != nil {
		panic(err)
	}
	away.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "virtual-kubelet", Subresource: "status", FieldsV1: &metav1.FieldsV1{Raw: []byte(
			`{"f:metadata":{"f:labels":{"f:theirs":{}}}}`)}},
		{Manager: "virtual-kubelet", FieldsV1: &metav1.FieldsV1{Raw: raw}},
		{Manager: "another", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:labels":{"f:theirs":{}}}}`)}},
		{Manager: "virtual-kubelet", FieldsV1: &metav1.FieldsV1{Raw: []byte(`"nonsense"`)}},
		{Manager: "virtual-kubelet"},
	}
	return away
}

func keysOf(m map[string]string) map[string]any {
	out := map[string]any{".": map[string]any{}}
	for key := range m {
		out["f:"+key] = map[string]any{}
	}
	return out
}

// sent is a change as the tables write it: its subresource, what it says it changes, and its patch without our marks.
type sent struct{ subresource, what, patch string }

// sendAll carries changes out as an API server does, refusing what it is told to, and returns them and the result.
func sendAll(t *testing.T, u *Update, away *corev1.Pod, refuse string) ([]sent, *corev1.Pod) {
	t.Helper()
	var out []sent
	for range 10 {
		c, err := u.Next(away, "virtual-kubelet")
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			return out, away
		}
		out = append(out, sent{c.Subresource, c.String(), readable(t, c.Patch)})
		refused := refuse != "" && strings.Contains(c.String(), refuse)
		if !refused {
			away = patched(t, away, c.Patch)
		}
		u.Done(c, refused)
	}
	t.Fatalf("there is no end of changes: %v", out)
	return nil, nil
}

func patched(t *testing.T, away *corev1.Pod, patch []byte) *corev1.Pod {
	t.Helper()
	original, err := json.Marshal(away)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := strategicpatch.StrategicMergePatch(original, patch, &corev1.Pod{})
	if err != nil {
		t.Fatalf("%v: %s", err, patch)
	}
	var got corev1.Pod
	if err := json.Unmarshal(merged, &got); err != nil {
		t.Fatal(err)
	}
	return &got
}

// readable leaves out of a patch what every one has.
func readable(t *testing.T, patch []byte) string {
	t.Helper()
	var body map[string]map[string]any
	if err := json.Unmarshal(patch, &body); err != nil {
		t.Fatal(err)
	}
	if body["metadata"]["uid"] != "away-1" {
		t.Errorf("the patch %s does not name the pod", patch)
	}
	delete(body["metadata"], "uid")
	if a, ok := body["metadata"]["annotations"].(map[string]any); ok {
		if delete(a, v1beta1.AnnotationTaken); len(a) == 0 {
			delete(body["metadata"], "annotations")
		}
	}
	if len(body["metadata"]) == 0 {
		delete(body, "metadata")
	}
	out, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func cpu(requests, limits string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(requests)},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(limits)},
	}
}

func debugger(name string) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: "busybox"},
	}
}

// debug adds an ephemeral container.
func debug(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, debugger(name))
	}
}

// rich is a home pod that has something of everything that can change.
func rich(change func(*corev1.Pod)) *corev1.Pod {
	always := ptr.To(corev1.ContainerRestartPolicyAlways)
	return pod(func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": "web", corev1.LabelTopologyZone: "provider-1"}
		p.Annotations = map[string]string{"note": "n"}
		p.Spec.ActiveDeadlineSeconds = ptr.To[int64](100)
		p.Spec.Tolerations = []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}}
		p.Spec.Containers[0].Resources = cpu("1", "2")
		p.Spec.InitContainers = []corev1.Container{
			{Name: "once", Image: "i", Resources: cpu("1", "2")},
			{Name: "side", Image: "i", RestartPolicy: always, Resources: cpu("1", "2")},
		}
		if change != nil {
			change(p)
		}
	})
}

func TestUpdateSendsExactlyWhatHomeChanged(t *testing.T) {
	type pods = func(*corev1.Pod)
	for name, tc := range map[string]struct {
		// change happens at home after the creation, meddle before it at the provider.
		change, meddle pods
		want           []sent
	}{
		"nothing": {},
		"a label": {
			change: func(p *corev1.Pod) { p.Labels["app"] = "till" },
			want:   []sent{{"", "labels", `{"metadata":{"labels":{"app":"till"}}}`}},
		},
		"a label less, which was ours": {
			change: func(p *corev1.Pod) { p.Labels = nil },
			want:   []sent{{"", "labels", `{"metadata":{"labels":{"app":null}}}`}},
		},
		"the provider's own labels and annotations stay": {
			change: func(p *corev1.Pod) { p.Annotations["note"] = "m" },
			meddle: func(p *corev1.Pod) { p.Labels["theirs"], p.Annotations["cni"] = "x", "y" },
			want:   []sent{{"", "annotations", `{"metadata":{"annotations":{"note":"m"}}}`}},
		},
		"the provider's word about its zones": {
			meddle: func(p *corev1.Pod) { p.Labels[corev1.LabelTopologyZone] = "cellar" },
		},
		"an image": {
			change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "j" },
			want: []sent{{"", "image of container app",
				`{"spec":{"containers":[{"image":"j","name":"app"}]}}`}},
		},
		"an image of an init container": {
			change: func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "j" },
			want: []sent{{"", "image of container once",
				`{"spec":{"initContainers":[{"image":"j","name":"once"}]}}`}},
		},
		"an image that the provider's admission has made another one of stays so": {
			change: func(p *corev1.Pod) { p.Labels["app"] = "till" },
			meddle: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "mirror/i" },
			want:   []sent{{"", "labels", `{"metadata":{"labels":{"app":"till"}}}`}},
		},
		"a toleration more, and what the provider added stays": {
			change: func(p *corev1.Pod) {
				p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "new", Operator: "Exists"})
			},
			meddle: func(p *corev1.Pod) {
				p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "theirs", Operator: "Exists"})
			},
			want: []sent{{"", "tolerations", `{"metadata":{"resourceVersion":"7"},"spec":{"tolerations":[` +
				`{"key":"gpu","operator":"Exists"},{"key":"theirs","operator":"Exists"},` +
				`{"key":"new","operator":"Exists"}]}}`}},
		},
		"the seconds of a toleration": {
			change: func(p *corev1.Pod) { p.Spec.Tolerations[0].TolerationSeconds = ptr.To[int64](9) },
			want: []sent{{"", "tolerations", `{"metadata":{"resourceVersion":"7"},"spec":{"tolerations":[` +
				`{"key":"gpu","operator":"Exists","tolerationSeconds":9}]}}`}},
		},
		"a toleration of our taint, which stays at home": {
			change: func(p *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, v1beta1.Toleration()) },
		},
		"a shorter deadline": {
			change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr.To[int64](50) },
			want:   []sent{{"", "activeDeadlineSeconds", `{"spec":{"activeDeadlineSeconds":50}}`}},
		},
		"a deadline that the provider has made shorter still": {
			change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr.To[int64](50) },
			meddle: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr.To[int64](30) },
			want:   []sent{{"", "our record", `{}`}},
		},
		"a resize, of containers and sidecars": {
			change: func(p *corev1.Pod) {
				p.Spec.Containers[0].Resources = cpu("1", "3")
				p.Spec.InitContainers[0].Resources = cpu("1", "3") // which the API does not let change
				p.Spec.InitContainers[1].Resources = cpu("2", "2")
			},
			want: []sent{
				{"resize", "resources of container side, resources of container app",
					`{"spec":{"containers":[{"name":"app","resources":{"limits":{"cpu":"3"}}}],` +
						`"initContainers":[{"name":"side","resources":{"requests":{"cpu":"2"}}}]}}`},
				{"", "our record", `{}`},
			},
		},
		"a resize of the whole pod": {
			change: func(p *corev1.Pod) { p.Spec.Resources = ptr.To(cpu("1", "3")) },
			want: []sent{
				{"resize", "resources", `{"spec":{"resources":{"limits":{"cpu":"3"},"requests":{"cpu":"1"}}}}`},
				{"", "our record", `{}`},
			},
		},
		"an amount that home leaves to the provider": {
			change: func(p *corev1.Pod) { delete(p.Spec.Containers[0].Resources.Limits, corev1.ResourceCPU) },
			want:   []sent{{"", "our record", `{}`}},
		},
		"an ephemeral container": {
			change: debug("d"), meddle: debug("theirs"),
			want: []sent{{"ephemeralcontainers", "ephemeral container d",
				`{"spec":{"ephemeralContainers":[{"image":"busybox","name":"d","resources":{}}]}}`}},
		},
		"what home's API lets nobody change": {
			change: func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Containers[0].Command = "h", []string{"x"} },
		},
		"the label about the provider": {
			change: func(p *corev1.Pod) { p.Labels[v1beta1.LabelRemoteUnavailable] = "true" },
		},
		"what the record says is not known: all that differs": {
			change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "j" },
			meddle: func(p *corev1.Pod) { delete(p.Annotations, v1beta1.AnnotationTaken) },
			want: []sent{{"", "image of container app",
				`{"spec":{"containers":[{"image":"j","name":"app"}]}}`}},
		},
		"labels and annotations that were changed over there": {
			meddle: func(p *corev1.Pod) { p.Labels["app"] = "x"; delete(p.Annotations, "note") },
			want: []sent{{"", "labels, annotations",
				`{"metadata":{"annotations":{"note":"n"},"labels":{"app":"web"}}}`}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			away := created(rich(nil))
			if tc.meddle != nil {
				tc.meddle(away)
			}
			home := rich(tc.change)
			wrote, after := sendAll(t, target(nil).Update(home), away, "")
			if diff := cmp.Diff(tc.want, wrote, cmp.AllowUnexported(sent{})); diff != "" {
				t.Errorf("sent (-want,+got):\n%s", diff)
			}
			u := target(nil).Update(home)
			if lag := u.Lag(after); lag != InStep {
				t.Errorf("afterwards the remote pod is %s", lag)
			}
			if again, _ := sendAll(t, u, after, ""); again != nil {
				t.Errorf("sent once more: %v", again)
			}
		})
	}
}

// Whatever is refused, the rest arrives, and what was refused is tried again the next time.
func TestUpdateThatIsRefusedInPart(t *testing.T) {
	everything := rich(func(p *corev1.Pod) {
		p.Labels["app"] = "till"
		p.Spec.Containers[0].Image = "j"
		p.Spec.Containers[0].Resources = cpu("1", "3")
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{debugger("d")}
	})
	for name, tc := range map[string]struct {
		refuse string
		want   []string
		later  []string
	}{
		"nothing is refused": {
			want: []string{"ephemeral container d", "resources of container app",
				"image of container app, labels"},
		},
		"an image": {
			refuse: "image",
			want: []string{"ephemeral container d", "resources of container app",
				"image of container app, labels", "labels"},
			later: []string{"image of container app"},
		},
		"a resize": {
			refuse: "resources",
			want: []string{"ephemeral container d", "resources of container app",
				"image of container app, labels"},
			later: []string{"resources of container app", "our record"},
		},
		"an ephemeral container": {
			refuse: "ephemeral",
			want: []string{"ephemeral container d", "resources of container app",
				"image of container app, labels"},
			later: []string{"ephemeral container d"},
		},
		"labels": {
			refuse: "labels",
			want: []string{"ephemeral container d", "resources of container app",
				"image of container app, labels", "labels"},
			later: []string{"image of container app, labels"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			whats := func(list []sent) (out []string) {
				for _, s := range list {
					out = append(out, s.what)
				}
				return out
			}
			wrote, after := sendAll(t, target(nil).Update(everything), created(rich(nil)), tc.refuse)
			if diff := cmp.Diff(tc.want, whats(wrote)); diff != "" {
				t.Errorf("sent (-want,+got):\n%s", diff)
			}
			u := target(nil).Update(everything)
			if lag := u.Lag(after); (lag == Behind) != (tc.refuse != "") {
				t.Errorf("the remote pod is %s", lag)
			}
			later, end := sendAll(t, u, after, "")
			if diff := cmp.Diff(tc.later, whats(later)); diff != "" {
				t.Errorf("sent later (-want,+got):\n%s", diff)
			}
			if lag := target(nil).Update(everything).Lag(end); lag != InStep {
				t.Errorf("in the end the remote pod is %s", lag)
			}
		})
	}
}

func TestLag(t *testing.T) {
	long := strings.Repeat("x", 4096)
	annotated := func(p *corev1.Pod) { p.Annotations["long"] = long }
	for name, tc := range map[string]struct {
		change, meddle func(*corev1.Pod)
		want           Lag
	}{
		"as it was created":             {want: InStep},
		"a long annotation is the same": {meddle: func(*corev1.Pod) {}, want: InStep},
		"a long annotation has changed": {meddle: func(p *corev1.Pod) { p.Annotations["long"] += "y" }, want: Drifted},
		"the provider adds a label":     {meddle: func(p *corev1.Pod) { p.Labels["theirs"] = "x" }, want: InStep},
		"the provider changes a label":  {meddle: func(p *corev1.Pod) { p.Labels["app"] = "x" }, want: Drifted},
		"the provider removes a label":  {meddle: func(p *corev1.Pod) { delete(p.Labels, "app") }, want: Drifted},
		"the provider takes our record": {
			meddle: func(p *corev1.Pod) { delete(p.Annotations, v1beta1.AnnotationTaken) }, want: Behind,
		},
		"home changes an image": {
			change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "j" }, want: Behind,
		},
		"home changes a label":           {change: func(p *corev1.Pod) { p.Labels["app"] = "x" }, want: Behind},
		"home adds a container to debug": {change: debug("d"), want: Behind},
		"home changes its status": {
			change: func(p *corev1.Pod) { p.Status.Phase, p.ResourceVersion = corev1.PodRunning, "9" }, want: InStep,
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := rich(annotated)
			away := created(home)
			if tc.meddle != nil {
				tc.meddle(away)
			}
			away.Annotations = Shrink(away.Annotations)
			for key, value := range away.Annotations {
				if key != v1beta1.AnnotationTaken && len(value) > shrunk {
					t.Errorf("%d bytes of annotation %s are kept", len(value), key)
				}
			}
			if tc.change != nil {
				tc.change(home)
			}
			if got := target(nil).Update(home).Lag(away); got != tc.want {
				t.Errorf("want %s, got %s", tc.want, got)
			}
		})
	}
}

func TestUpdateID(t *testing.T) {
	id := func(change func(*corev1.Pod)) string { return target(nil).Update(rich(change)).ID() }
	base := id(nil)
	if again := id(func(p *corev1.Pod) { p.Generation++ }); again != base {
		t.Error("the same wish has another id")
	}
	for name, change := range map[string]func(*corev1.Pod){
		"image":     func(p *corev1.Pod) { p.Spec.Containers[0].Image = "j" },
		"label":     func(p *corev1.Pod) { p.Labels["a"] = "b" },
		"resources": func(p *corev1.Pod) { p.Spec.Containers[0].Resources = cpu("1", "9") },
		"ephemeral": func(p *corev1.Pod) { p.Spec.EphemeralContainers = []corev1.EphemeralContainer{debugger("d")} },
	} {
		if id(change) == base {
			t.Errorf("another %s has the same id", name)
		}
	}
}

// One of these runs for each change of a remote pod's status.
func BenchmarkLag(b *testing.B) {
	home := rich(nil)
	away := created(home)
	for b.Loop() {
		if lag := target(nil).Update(home).Lag(away); lag != InStep {
			b.Fatal(lag)
		}
	}
}
