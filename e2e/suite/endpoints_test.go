package suite

import (
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// What a cluster may say of an endpoint.
const (
	isReady       = "ready"
	isNotReady    = "not ready"
	isTerminating = "terminating, serving"
)

// endpoints are those of one Service: address -> where it runs and how it is, once for each time that it is there.
type endpoints map[string][]string

// everywhere makes Service web with two pods at home and two on each provider, and returns which pods run where.
func (w *world) everywhere() map[string][]corev1.Pod {
	w.t.Helper()
	w.offload("--pod-offloading-strategy", "LocalAndRemote")
	service := build.Service(w.ns, "web")
	service.Spec.TrafficDistribution = ptr.To(corev1.ServiceTrafficDistributionPreferSameZone)
	w.create(service)
	for _, name := range []string{"1", "2"} {
		w.create(build.Pod("home-"+name).Namespace(w.ns).Label("app", "web").Annotation(takes, "15s").
			NodeSelector(corev1.LabelHostname, env.Consumer+"-node-"+name).Obj())
		for _, p := range providers() {
			w.create(build.Pod(p+"-"+name).Namespace(w.ns).Label("app", "web").Annotation(takes, "15s").
				NodeSelector(v1beta1.LabelRemoteClusterID, p).Obj())
		}
	}
	pods := map[string][]corev1.Pod{}
	for _, pod := range w.running(2 + 2*len(providers())) {
		pods[clusterOf(pod.Spec.NodeName)] = append(pods[clusterOf(pod.Spec.NodeName)], pod)
	}
	return pods
}

// clusterOf is the cluster that a name of a node, of a virtual Node or of a cluster begins with.
func clusterOf(name string) string {
	for _, cluster := range append(providers(), env.Consumer) {
		if strings.HasPrefix(name, cluster) {
			return cluster
		}
	}
	return "unknown: " + name
}

// all returns how every pod should be seen, given how those of one cluster are.
func all(pods map[string][]corev1.Pod, there, state string) endpoints {
	want := endpoints{}
	for cluster, list := range pods {
		for _, pod := range list {
			want[pod.Status.PodIP] = []string{cluster + " " + isReady}
			if cluster == there {
				want[pod.Status.PodIP] = []string{cluster + " " + state}
			}
		}
	}
	return want
}

// seen returns what one cluster knows of the Service.
func (w *world) seen(cluster string) (endpoints, error) {
	namespace := w.twin()
	if cluster == env.Consumer {
		namespace = w.ns
	}
	var list discoveryv1.EndpointSliceList
	err := playground.Cluster(cluster).Client().List(w.ctx, &list, client.InNamespace(namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: "web"})
	out := endpoints{}
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			out[e.Addresses[0]] = append(out[e.Addresses[0]], clusterOf(ptr.Deref(e.NodeName, ""))+" "+stateOf(e))
		}
	}
	return out, err
}

func stateOf(e discoveryv1.Endpoint) string {
	switch c := e.Conditions; {
	case ptr.Deref(c.Terminating, false) && ptr.Deref(c.Serving, false) && !ptr.Deref(c.Ready, true):
		return isTerminating
	case ptr.Deref(c.Ready, true) && !ptr.Deref(c.Terminating, false):
		return isReady
	case !ptr.Deref(c.Serving, true) && !ptr.Deref(c.Terminating, false):
		return isNotReady
	default:
		return c.String()
	}
}

// agree waits until the given clusters all know the same of the Service.
func (w *world) agree(want endpoints, what string, clusters ...string) {
	w.t.Helper()
	for _, cluster := range clusters {
		w.Eventually(func() (endpoints, error) { return w.seen(cluster) }).
			Should(Equal(want), "%s, seen by %s", what, cluster)
	}
}

// R7: every pod is behind the Service in every cluster, once, in the same state, and it is known where it runs.
func TestEveryClusterSeesAllEndpointsOfAService(t *testing.T) {
	w := newWorld(t, "everywhere")
	pods := w.everywhere()
	clusters := append(providers(), env.Consumer)
	w.agree(all(pods, "", ""), "all are ready", clusters...)

	// A provider says that a pod is not ready; for the others that is a word of home.
	unready := func(c client.Client, namespace, name string, is corev1.ConditionStatus) {
		var pod corev1.Pod
		w.Expect(w.get(c, namespace, name, &pod)).To(Succeed())
		patch := client.MergeFrom(pod.DeepCopy())
		ready := func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady }
		condition := &pod.Status.Conditions[slices.IndexFunc(pod.Status.Conditions, ready)]
		condition.Status, condition.Reason = is, "ReadinessGatesNotReady" // without one, kubelets would object
		w.Expect(c.Status().Patch(w.ctx, &pod, patch)).To(Succeed())
	}
	for _, pod := range pods["provider-1"] {
		unready(away("provider-1"), w.twin(), pod.Name, corev1.ConditionFalse)
	}
	w.agree(all(pods, "provider-1", isNotReady), "those of provider-1 are not ready", clusters...)
	for _, pod := range pods["provider-1"] {
		unready(away("provider-1"), w.twin(), pod.Name, corev1.ConditionTrue)
	}
	for _, pod := range pods[env.Consumer] {
		unready(w.home, w.ns, pod.Name, corev1.ConditionFalse)
	}
	w.agree(all(pods, env.Consumer, isNotReady), "those of home are not ready", clusters...)
	for _, pod := range pods[env.Consumer] {
		unready(w.home, w.ns, pod.Name, corev1.ConditionTrue)
	}
	w.agree(all(pods, "", ""), "all are ready again", clusters...)

	for _, leaving := range []string{"provider-2", env.Consumer} {
		for _, pod := range pods[leaving] {
			w.Expect(w.home.Delete(w.ctx, &pod)).To(Succeed())
		}
		w.agree(all(pods, leaving, isTerminating), "those of "+leaving+" end", clusters...)
		delete(pods, leaving)
		w.agree(all(pods, "", ""), "those of "+leaving+" have ended", clusters...)
	}
}

// What runs where nobody knows how it is gets no traffic from elsewhere, and gets it back by itself.
func TestEndpointsOfAProviderThatCannotBeReachedAreNotReadyElsewhere(t *testing.T) {
	w := newWorld(t, "unreached")
	pods := w.everywhere()
	others := []string{env.Consumer, "provider-2"}
	w.agree(all(pods, "", ""), "all are ready", append(others, "provider-1")...)

	heal := w.cut("provider-1")
	want := all(pods, "provider-1", isNotReady)
	w.Eventually(func(g Gomega) {
		for _, cluster := range others {
			g.Expect(w.seen(cluster)).To(Equal(want), "seen by %s", cluster)
		}
	}, unreached).Should(Succeed())
	heal()
	w.agree(all(pods, "", ""), "all are ready again", append(others, "provider-1")...)
}
