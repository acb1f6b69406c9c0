package history

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// runs is a pod that runs and is ready, changed.
func runs(changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := build.Pod("web").Phase(corev1.PodRunning).Obj()
	pod.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", Ready: true, RestartCount: 1}}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

func phase(p corev1.PodPhase) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Phase = p }
}

func TestPodsDiffer(t *testing.T) {
	app := func(change func(*corev1.ContainerStatus)) func(*corev1.Pod) {
		return func(pod *corev1.Pod) { change(&pod.Status.ContainerStatuses[0]) }
	}
	unready := func(pod *corev1.Pod) { pod.Status.Conditions[0].Status = corev1.ConditionFalse }
	gated := func(pod *corev1.Pod) { pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "mine"}} }
	for what, test := range map[string]struct {
		home, away *corev1.Pod
		want       string
	}{
		"not at all": {runs(), runs(), ""},
		"home still says that the provider cannot be reached": {
			runs(cutOff), runs(),
			"home says that the provider cannot be reached",
		},
		"in phase": {runs(), runs(phase(corev1.PodFailed)), "home is Running, the remote pod Failed"},
		"in phase, and home will not change any more": {
			runs(phase(corev1.PodFailed)), runs(), "home is Failed, and the remote pod still Running",
		},
		"in how they ended: a disruption is a failure": {
			runs(phase(corev1.PodFailed)), runs(phase(corev1.PodSucceeded)), "",
		},
		"in readiness": {runs(unready), runs(), "home is ready: false, the remote pod: true"},
		"in readiness, for a gate that home judges": {runs(unready, gated), runs(), ""},
		"in readiness that home should not have": {
			runs(), runs(unready), "home is ready: true, the remote pod: false",
		},
		"in conditions that are each cluster's own": {runs(scheduled), runs(), ""},
		"in addresses": {
			runs(second), runs(), "home has the addresses [10.0.0.1 fd00::1], the remote pod [10.0.0.1]",
		},
		"in a container that home does not know":  {runs(none), runs(), "home does not know container app"},
		"in a container that the provider forgot": {runs(), runs(none), ""},
		"in restarts": {
			runs(), runs(app(restarted)), "container app was restarted 2 times, and home says 1",
		},
		"in the state of a container": {
			runs(), runs(app(ended)), "container app is in another state than home says",
		},
		"in the readiness of a container": {
			runs(), runs(app(busy)), "container app is in another state than home says",
		},
		"in the image of a container, as pulled":     {runs(), runs(app(pulled)), ""},
		"in what the user says of them: not our job": {runs(labelled), runs(), ""},
	} {
		t.Run(what, func(t *testing.T) {
			if got := PodsDiffer(test.home, test.away); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func cutOff(pod *corev1.Pod) {
	pod.Labels = map[string]string{v1beta1.LabelRemoteUnavailable: "true"}
}

func scheduled(pod *corev1.Pod) {
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled})
}

func second(pod *corev1.Pod) {
	pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: "fd00::1"})
}

func none(pod *corev1.Pod)                { pod.Status.ContainerStatuses = nil }
func labelled(pod *corev1.Pod)            { pod.Labels = map[string]string{"app": "web"} }
func restarted(c *corev1.ContainerStatus) { c.RestartCount = 2 }
func busy(c *corev1.ContainerStatus)      { c.Ready = false }
func pulled(c *corev1.ContainerStatus)    { c.ImageID = "sha256:1" }
func ended(c *corev1.ContainerStatus) {
	c.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1}
}
func service(spec corev1.ServiceSpec) *corev1.Service { return &corev1.Service{Spec: spec} }

func TestServicesDiffer(t *testing.T) {
	port := func(name string, n int32) corev1.ServicePort {
		return corev1.ServicePort{Name: name, Port: n, TargetPort: intstr.FromInt32(n)}
	}
	for what, test := range map[string]struct {
		home, away corev1.ServiceSpec
		want       string
	}{
		"in what is each cluster's own": {
			corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: 1, NodePort: 30000}}},
			corev1.ServiceSpec{ClusterIP: "10.97.0.1", Ports: []corev1.ServicePort{{Port: 1, NodePort: 31000}}}, "",
		},
		"in type": {
			corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort}, corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP},
			"the copy is of type ClusterIP, not NodePort",
		},
		"in selector": {
			corev1.ServiceSpec{Selector: map[string]string{"app": "a"}}, corev1.ServiceSpec{},
			"the copy selects other pods",
		},
		"in the name elsewhere": {
			corev1.ServiceSpec{ExternalName: "a"}, corev1.ServiceSpec{ExternalName: "b"}, "the copy is for b, not a",
		},
		"in being headless": {
			corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}, corev1.ServiceSpec{ClusterIP: "10.97.0.1"},
			"one of the two is headless",
		},
		"in ports": {
			corev1.ServiceSpec{Ports: []corev1.ServicePort{port("a", 1), port("b", 2)}},
			corev1.ServiceSpec{Ports: []corev1.ServicePort{port("b", 2)}},
			"the copy has ports [b  2 2], not [a  1 1 b  2 2]",
		},
		"in the order of ports": {
			corev1.ServiceSpec{Ports: []corev1.ServicePort{port("a", 1), port("b", 2)}},
			corev1.ServiceSpec{Ports: []corev1.ServicePort{port("b", 2), port("a", 1)}}, "",
		},
	} {
		t.Run(what, func(t *testing.T) {
			if got := ServicesDiffer(service(test.home), service(test.away)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDataDiffer(t *testing.T) {
	one := &corev1.ConfigMap{Data: map[string]string{"a": "1"}}
	raw := &corev1.ConfigMap{Data: map[string]string{"a": "1"}, BinaryData: map[string][]byte{"b": {1}}}
	secret := &corev1.Secret{Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"a": {1}}}
	token := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{"a": {1}}}
	const other = "the copy has other data"
	for what, test := range map[string]struct{ got, want string }{
		"the same":             {ConfigMapsDiffer(one, one.DeepCopy()), ""},
		"a key more":           {ConfigMapsDiffer(one, &corev1.ConfigMap{}), other},
		"a binary key more":    {ConfigMapsDiffer(one, raw), other},
		"the same secret":      {secretsDiffer(secret, secret.DeepCopy()), ""},
		"another secret":       {secretsDiffer(secret, &corev1.Secret{Type: corev1.SecretTypeOpaque}), other},
		"another kind of them": {secretsDiffer(secret, token), other},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", what, test.got, test.want)
		}
	}
}

func TestEndpointsDiffer(t *testing.T) {
	slice := func(endpoints ...discoveryv1.Endpoint) discoveryv1.EndpointSlice {
		return discoveryv1.EndpointSlice{Endpoints: endpoints}
	}
	end := func(address string, ready *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ready},
		}
	}
	up, down := ptr.To(true), ptr.To(false)
	for what, test := range map[string]struct {
		home, away []discoveryv1.EndpointSlice
		want       string
	}{
		"none on either side": {nil, []discoveryv1.EndpointSlice{slice()}, ""},
		"divided otherwise": {
			[]discoveryv1.EndpointSlice{slice(end("a", up), end("b", down))},
			[]discoveryv1.EndpointSlice{slice(end("b", down)), slice(end("a", nil))}, "",
		},
		"one more there": {
			nil, []discoveryv1.EndpointSlice{slice(end("a", up))}, "a is ready there, and missing at home",
		},
		"two are wrong": {
			[]discoveryv1.EndpointSlice{slice(end("a", up), end("b", up))},
			[]discoveryv1.EndpointSlice{slice(end("a", down))},
			"a is not ready there, and ready at home; b is missing there, and ready at home",
		},
	} {
		t.Run(what, func(t *testing.T) {
			if got := endpointsDiffer(test.home, test.away); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
