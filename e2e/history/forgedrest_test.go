package history_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

const (
	cm          = "configmaps"
	offloadings = "namespaceoffloadings.offloading.liqo.io"
	eps         = "endpointslices.discovery.k8s.io"
)

func both(address string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.PodIPs = []corev1.PodIP{{IP: address}} }
}

func TestAtRestWhatIsOursHasItsSource(t *testing.T) { // I3
	const orphan = "I3: configmaps shop-home/settings on b has no source at home"
	const rested, healed = ", 10s after nobody did anything any more", ", 15s after the end of cut b"
	copied := func() *forgery {
		return forge().at(1).offloaded().is(home, cm, settings("m", "1")).
			is(b, cm, mirrored(settings("m", "1"))).is(c, cm, mirrored(settings("m", "1")))
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data", UID: "claim"}}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{
		ClaimRef: &corev1.ObjectReference{UID: "claim"},
	}}
	kept := func() *forgery {
		return forge().at(1).is(home, "persistentvolumeclaims", claim).is(home, "persistentvolumes", volume).
			is(b, "persistentvolumeclaims", mirrored(claim.DeepCopy())).
			gone(home, "persistentvolumeclaims", "shop/data")
	}
	left := build.Namespace("shop-home").UID("btwin").Label(v1beta1.LabelRemoteClusterID, home).
		Annotation(v1beta1.AnnotationTwinOrigin, home).Annotation(v1beta1.AnnotationTwinHomeName, "shop").
		Annotation(v1beta1.AnnotationTwinHomeUID, "shop").Obj()
	left.DeletionTimestamp = ptr.To(metav1.NewTime(moment(6)))
	foreign := mirrored(settings("m", "1"))
	foreign.Labels, foreign.Annotations = nil, nil
	forged{
		"each has": {copied().at(20).rest(10).at(40).home("1", pending), verdict{}},
		"a copy stays behind": {
			copied().at(10).gone(home, cm, "shop/settings").gone(c, cm, "shop-home/settings").
				at(20).rest(10),
			violates(orphan + rested),
		},
		"a copy stays in a twin that the provider is deleting": {
			copied().at(5).gone(home, offloadings, "shop/offloading").gone(home, cm, "shop/settings").
				gone(c, cm, "shop-home/settings").gone(c, "namespaces", "/shop-home").
				at(6).is(b, "namespaces", left).at(20).rest(10),
			verdict{},
		},
		"a copy of what home never had": {
			forge().at(1).is(b, cm, mirrored(settings("m", "1"))).at(20).rest(10), violates(orphan + rested),
		},
		"a copy of another object of the same name": {
			forge().at(1).is(home, cm, settings("new", "1")).is(b, cm, mirrored(settings("m", "1"))).at(20).rest(10),
			violates(orphan + rested),
		},
		"somebody else's object": {forge().at(1).is(b, cm, foreign).at(20).rest(10), verdict{}},
		"a copy stays behind, and nobody is at rest yet": {
			copied().at(10).gone(home, cm, "shop/settings"), verdict{},
		},
		"a copy stays behind a fault": {
			copied().at(8).cut().at(10).gone(home, cm, "shop/settings").gone(c, cm, "shop-home/settings").
				at(20).healed(15).at(50).home("1", pending),
			violates(orphan + healed),
		},
		"its source went after the end of the fault, which says nothing about it": {
			copied().at(8).cut().at(20).healed(15).at(22).gone(home, cm, "shop/settings").
				at(50).home("1", pending),
			verdict{},
		},
		"another fault has begun meanwhile": {
			copied().at(8).cut().at(10).gone(home, cm, "shop/settings").at(20).healed(15).at(30).cut().
				at(50).home("1", pending),
			verdict{},
		},
		"data are kept for as long as their volume is": {kept().at(20).rest(10), verdict{}},
		"data are kept, and the volume has gone": {
			kept().gone(home, "persistentvolumes", "/pv").at(20).rest(10),
			violates("I3: persistentvolumeclaims shop-home/data on b has no source at home" + rested),
		},
		"a remote pod": {
			begun().at(5).home("1", failed, deleting).homeGone().at(20).rest(10),
			violates("I3: pods shop-home/db-0 on b has no source at home"+rested,
				"I8: home pod shop/db-0 left before its remote pod did on b"),
		},
		"a twin of a namespace that has gone": {
			forge().at(1).offloaded().at(5).gone(home, offloadings, "shop/offloading").
				gone(home, "namespaces", "/shop").gone(c, "namespaces", "/shop-home").at(20).rest(10),
			violates("I3: twin shop-home on b has no namespace at home" + rested),
		},
		"a twin of a namespace that was force-finalized and made again": {
			forge().at(1).offloaded().at(5).gone(home, "namespaces", "/shop").
				is(home, "namespaces", build.Namespace("shop").UID("again").Obj()).gone(c, "namespaces", "/shop-home").
				twin(c, "again").at(20).rest(10),
			violates("I3: twin shop-home on b has no namespace at home"+rested,
				"I9: namespace shop has no twin on b"+rested),
		},
		"twins that were made again for it": {
			forge().at(1).offloaded().at(5).gone(home, "namespaces", "/shop").
				is(home, "namespaces", build.Namespace("shop").UID("again").Obj()).twin(b, "again").twin(c, "again").
				at(20).rest(10),
			verdict{},
		},
		"a twin of a namespace that is not offloaded any more": {
			forge().at(1).offloaded().at(5).gone(home, offloadings, "shop/offloading").
				gone(c, "namespaces", "/shop-home").at(20).rest(10),
			violates("I3: twin shop-home is on b, and namespace shop is not offloaded" + rested),
		},
		"a twin on a provider that is not selected any more": {
			forge().at(1).offloaded().at(5).is(home, offloadings, onlyOn(c)).at(20).rest(10),
			violates("I3: twin shop-home is on b, which is not selected for namespace shop" + rested),
		},
	}.check(t)
}

// onlyOn is the offloading of namespace shop to one provider.
func onlyOn(provider string) *v1beta1.NamespaceOffloading {
	return build.Offloading("shop").Selector(build.Selector(v1beta1.LabelRemoteClusterID, provider)).Obj()
}

func TestAtRestAHomePodHasItsRemotePod(t *testing.T) { // I4
	const alone = "I4: home pod shop/db-0 has no remote pod, and says no reason, 10s after nobody did anything any more"
	refused := func(pod *corev1.Pod) { pod.Status.Reason = "Forbidden" }
	waits := func(pod *corev1.Pod) {
		pod.Status.Conditions = []corev1.PodCondition{{
			Type: "offloading.liqo.io/Offloaded", Status: corev1.ConditionFalse, Reason: "TwinNotReady",
		}}
	}
	forged{
		"both":                       {begun().at(20).rest(10), verdict{}},
		"home alone":                 {forge().at(1).home("1", pending).at(20).rest(10), violates(alone)},
		"its remote pod went":        {begun().at(5).awayGone(b).at(20).rest(10), violates(alone)},
		"with a reason":              {forge().at(1).home("1", pending, refused).at(20).rest(10), verdict{}},
		"with a reason in condition": {forge().at(1).home("1", pending, waits).at(20).rest(10), verdict{}},
		"finished":                   {forge().at(1).home("1", failed).at(20).rest(10), verdict{}},
		"on an ordinary node":        {forge().at(1).home("1", running, on("n")).at(20).rest(10), verdict{}},
		"not scheduled":              {forge().at(1).home("1", pending, on("")).at(20).rest(10), verdict{}},
		"created a moment ago":       {forge().at(1).rest(10).at(9).home("1", pending), verdict{}},
	}.check(t)
}

func TestBothSidesAgreeAfterAFault(t *testing.T) { // I9
	const healed = ", 15s after the end of cut b"
	const disagree = "I9: home pod shop/db-0 and its remote pod on b disagree: "
	agreed := func() *forgery { return begun().at(5).cut() }
	healing := func(f *forgery) *forgery { return f.at(20).healed(15).at(60).home("2", pending, named("other")) }
	copied := func(cluster, value string, f *forgery) *forgery {
		return f.is(cluster, cm, mirrored(settings("m", value)))
	}
	unavailable := func(pod *corev1.Pod) { pod.Labels = map[string]string{v1beta1.LabelRemoteUnavailable: "true"} }
	forged{
		"they do": {healing(agreed()), verdict{}},
		"home never heard of the change": {
			healing(agreed().at(10).away(b, "1", failed)),
			violates(disagree + "home is Running, the remote pod Failed" + healed),
		},
		"home heard in time": {
			healing(agreed().at(10).away(b, "1", failed).at(30).home("1", failed)), verdict{},
		},
		"home heard too late": {
			agreed().at(10).away(b, "1", failed).at(20).healed(15).at(36).home("1", failed),
			violates(disagree + "home is Running, the remote pod Failed" + healed),
		},
		"the change is only seconds old": {
			agreed().at(20).healed(15).at(33).away(b, "1", failed).at(60).home("1", failed), verdict{},
		},
		"home has given up what still runs": {
			healing(agreed().at(10).home("1", failed)),
			violates(disagree + "home is Failed, and the remote pod still Running" + healed),
		},
		"home still says that the provider cannot be reached": {
			healing(agreed().at(10).home("1", running, unavailable)),
			violates(disagree + "home says that the provider cannot be reached" + healed),
		},
		"they have other addresses": {
			healing(agreed().at(10).away(b, "1", running, both("10.0.0.1")).home("1", running, both("10.0.0.2"))),
			violates(disagree + "home has the addresses [10.0.0.2], the remote pod [10.0.0.1]" + healed),
		},
		"the virtual node is not ready": {
			healing(agreed().at(10).is(home, "nodes", node(b, corev1.ConditionUnknown))),
			violates("I9: virtual node b is not ready" + healed),
		},
		"the virtual node was not ready": {
			healing(agreed().at(10).is(home, "nodes", node(b, corev1.ConditionUnknown)).
				at(25).is(home, "nodes", node(b, corev1.ConditionTrue))),
			verdict{},
		},
		"a ConfigMap was edited meanwhile": {
			healing(copied(b, "1", copied(c, "2", agreed().offloaded().is(home, cm, settings("m", "1")).
				at(10).is(home, cm, settings("m", "2"))))),
			violates("I9: configmaps shop/settings and its copy on b disagree: the copy has other data" + healed),
		},
		"a ConfigMap was edited meanwhile, and so was its copy": {
			healing(copied(b, "2", copied(c, "2", agreed().offloaded().is(home, cm, settings("m", "2"))))),
			verdict{},
		},
		"a ConfigMap has no copy": {
			healing(copied(c, "1", agreed().offloaded().is(home, cm, settings("m", "1")))),
			violates("I9: configmaps shop/settings has no copy on b" + healed),
		},
		"a ConfigMap stays at home, as its user wants": {
			healing(agreed().offloaded().
				is(home, cm, annotated(settings("m", "1"), v1beta1.AnnotationSkipReflection))),
			verdict{},
		},
		"a ConfigMap has no copy where its name is taken": {
			healing(copied(c, "1", agreed().offloaded().is(home, cm, settings("m", "1")).is(b, cm, taken()))),
			verdict{},
		},
		"a Secret that nobody needs has no copy": {
			healing(agreed().offloaded().is(home, "secrets", password("s", "hash"))), verdict{},
		},
		"a Secret has another copy": {
			healing(agreed().offloaded().is(home, "secrets", password("s", "hash")).
				is(b, "secrets", mirrored(password("s", "other")))),
			violates("I9: secrets shop/password and its copy on b disagree: the copy has other data" + healed),
		},
		"a namespace has no twin": {
			healing(agreed().offloaded().at(8).gone(b, "namespaces", "/shop-home")),
			violates("I9: namespace shop has no twin on b" + healed),
		},
		"a namespace is not wanted there": {
			healing(agreed().offloaded().at(8).is(home, offloadings, onlyOn(c)).gone(b, "namespaces", "/shop-home")),
			verdict{},
		},
		"a namespace cannot have its twin, since the name is taken": {
			healing(agreed().offloaded().at(8).gone(b, "namespaces", "/shop-home").
				is(b, "namespaces", build.Namespace("shop-home").UID("theirs").Obj()).
				is(home, "namespacemaps.offloading.liqo.io", build.Map(b).Want("shop", "shop-home").Obj())),
			verdict{},
		},
	}.check(t)
}

func annotated[T client.Object](o T, key string) T {
	o.SetAnnotations(map[string]string{key: "true"})
	return o
}

func taken() *corev1.ConfigMap {
	m := settings("theirs", "theirs")
	m.Namespace = "shop-home"
	return m
}

func password(uid, hash string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "password", UID: types.UID(uid)},
		Data:       map[string][]byte{"key": []byte(hash)},
	}
}

func TestServicesHaveTheSameEndpointsEverywhere(t *testing.T) { // I9
	const rested = ", 10s after nobody did anything any more"
	const other = "I9: service shop/web has other endpoints on b: "
	service := func() *corev1.Service {
		s := build.Service("shop", "web")
		s.UID = "web"
		return s
	}
	served := func() *forgery {
		f := forge().at(1).offloaded().is(home, "services", service()).is(b, "services", mirrored(service())).
			is(c, "services", mirrored(service()))
		for _, cluster := range []string{home, c} {
			f.is(cluster, eps, slice(namespaceIn(cluster), "web-1", true, "10.1.0.1", "10.2.0.1"))
		}
		return f
	}
	own := func() client.Object { return slice("shop-home", "own", true, "10.1.0.1") }
	// unready is that the provider says of 10.1.0.1, a pod at home, what home does not say.
	unready := func(pod ...func(*corev1.Pod)) *forgery {
		of := slice("shop", "web-1", false, "10.1.0.1")
		of.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: "db-0", UID: "1"}
		of.Endpoints[0].Conditions.Serving = ptr.To(false)
		return served().home("1", corev1.PodRunning, append(pod, on("node"))...).is(home, eps, of).is(b, eps, own()).
			is(c, eps, slice("shop-home", "web-1", false, "10.1.0.1"))
	}
	ready := func(pod *corev1.Pod) {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	forged{
		"home has not seen its own pod": {unready(ready).at(20).rest(10), verdict{}},
		"one is not ready at home": {
			unready().at(20).rest(10),
			violates(other + "10.1.0.1 is ready there, and not ready at home" + rested),
		},
		"divided otherwise": {
			served().is(b, eps, own()).is(b, eps, slice("shop-home", "others", true, "10.2.0.1")).
				at(20).rest(10),
			verdict{},
		},
		"one is missing": {
			served().is(b, eps, own()).at(20).rest(10),
			violates(other + "10.2.0.1 is missing there, and ready at home" + rested),
		},
		"one is there twice": {
			served().is(b, eps, own()).is(b, eps, slice("shop-home", "others", true, "10.1.0.1", "10.2.0.1")).
				at(20).rest(10),
			violates(other + "10.1.0.1 is ready and ready there, and ready at home" + rested),
		},
		"one is not ready there": {
			served().is(b, eps, own()).is(b, eps, slice("shop-home", "others", false, "10.2.0.1")).
				at(20).rest(10),
			violates(other + "10.2.0.1 is not ready there, and ready at home" + rested),
		},
		"one has changed just now": {served().at(20).rest(10).at(26).is(b, eps, own()), verdict{}},
		"the copy is for other ports": {
			served().is(b, eps, own()).is(b, eps, slice("shop-home", "others", true, "10.2.0.1")).
				is(b, "services", func() *corev1.Service {
					s := mirrored(service())
					s.Spec.Ports[0].Port = 1
					return s
				}()).at(20).rest(10),
			violates("I9: services shop/web and its copy on b disagree: the copy has ports [http  1 8080], " +
				"not [http  80 8080]" + rested),
		},
	}.check(t)
}

func namespaceIn(cluster string) string {
	if cluster == home {
		return "shop"
	}
	return "shop-home"
}
