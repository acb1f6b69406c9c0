package workload

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// shop is a namespace with one app of each kind, offloaded to one of two providers.
func shop() (*world, *namespace) {
	ns := &namespace{
		name: "shop", settings: 3, password: 1, notes: []*note{{name: "note", version: 2}},
		offload: &offloading{strategy: v1beta1.Remote, mapping: v1beta1.DefaultName, selects: []string{"provider-1"}},
		apps: []*app{
			{kind: deployment, name: "web", pods: 1, version: 2, service: 1, restarts: 2},
			{kind: statefulSet, name: "db", pods: 1, version: 1, service: 1},
			{kind: job, name: "job", pods: 2, completions: 3, indexed: true, fails: ptr.To[int32](1)},
			{kind: pod, name: "pod", pods: 1, version: 1},
		},
	}
	return &world{providers: twoProviders, slots: []*namespace{ns, nil}}, ns
}

// asAsked is what clusters have when all of shop is as it was asked for.
func asAsked(t *testing.T) Seen {
	t.Helper()
	_, ns := shop()
	web, db, failing, single := ns.apps[0], ns.apps[1], ns.apps[2], ns.apps[3]
	home := View{
		Namespaces: []corev1.Namespace{
			*build.Namespace("shop").Label(Mark, "true").Obj(), *build.Namespace("other").Obj(),
		},
		Offloadings:  []v1beta1.NamespaceOffloading{*as[*v1beta1.NamespaceOffloading](t, ns.offloading())},
		Deployments:  []appsv1.Deployment{*as[*appsv1.Deployment](t, ns.controller(web))},
		StatefulSets: []appsv1.StatefulSet{*as[*appsv1.StatefulSet](t, ns.controller(db))},
		Jobs:         []batchv1.Job{*as[*batchv1.Job](t, ns.controller(failing))},
		ConfigMaps: []corev1.ConfigMap{
			*as[*corev1.ConfigMap](t, ns.settingsMap()), *as[*corev1.ConfigMap](t, ns.noteMap(ns.notes[0])),
		},
	}
	home.Offloadings[0].Status.OffloadingPhase = v1beta1.PhaseReady
	home.Deployments[0].Status = appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
	home.StatefulSets[0].Status = appsv1.StatefulSetStatus{Replicas: 1, ReadyReplicas: 1}
	home.Jobs[0].Status = batchv1.JobStatus{
		Succeeded: 2, FailedIndexes: ptr.To("1"),
		Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}},
	}
	away := View{
		Namespaces: []corev1.Namespace{*build.Namespace("shop-consumer").
			Annotation(v1beta1.AnnotationTwinHomeName, "shop").Obj(), *build.Namespace("shop").Obj()},
	}
	for i, a := range []*app{web, db, single} {
		p := as[*corev1.Pod](t, ns.podOf(a))
		p.Spec.NodeName, p.Status.PodIP, p.Status.Phase = "provider-1", fmt.Sprintf("10.0.0.%d", i), corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: a.restarts}}
		home.Pods = append(home.Pods, *p.DeepCopy())
		p.Namespace = "shop-consumer"
		away.Pods = append(away.Pods, *p)
		if a.service > 0 {
			s := as[*corev1.Service](t, ns.serviceOf(a))
			s.Namespace = "shop-consumer"
			away.Services = append(away.Services, *s)
			home.EndpointSlices = append(home.EndpointSlices,
				*build.EndpointSlice("shop", a.name, a.name, "provider-1", p.Status.PodIP))
			away.EndpointSlices = append(away.EndpointSlices,
				*build.EndpointSlice("shop-consumer", a.name, a.name, "provider-1", p.Status.PodIP))
		}
	}
	for _, c := range home.ConfigMaps {
		c.Namespace = "shop-consumer"
		away.ConfigMaps = append(away.ConfigMaps, c)
	}
	return Seen{Home: home, Away: map[string]View{"provider-1": away, "provider-2": {}}}
}

func as[T any](t *testing.T, obj any) T {
	t.Helper()
	out, ok := obj.(T)
	if !ok {
		t.Fatalf("%T is something else", obj)
	}
	return out
}

func TestWhatIsNotAsAskedForIsSaid(t *testing.T) {
	now := metav1.Now()
	for name, test := range map[string]struct {
		change func(home, away *View)
		also   func(*world, *namespace) // what is asked for besides
		want   []string
	}{
		"all is as it was asked for":               {},
		"foreign namespaces are nobody's business": {change: func(_, away *View) { away.Namespaces[1].Name = "x" }},
		"a namespace that was deleted is still there": {
			change: func(home, _ *View) { home.Namespaces[1].Labels = map[string]string{Mark: "true"} },
			want:   []string{"namespace other is still there"},
		},
		"a namespace is leaving": {
			change: func(home, _ *View) { home.Namespaces[0].DeletionTimestamp = &now },
			want:   []string{"namespace shop is missing or leaving"},
		},
		"a twin is left where none may be": {
			change: func(_, away *View) {
				away.Namespaces[1].Annotations = map[string]string{v1beta1.AnnotationTwinHomeName: "gone"}
			},
			want: []string{"provider-1 still has twin shop of namespace gone"},
		},
		"a twin is missing": {
			change: func(_, away *View) { away.Namespaces[0].Name = "else" },
			want: []string{
				"provider-1 has no twin shop-consumer of namespace shop",
				"provider-1 still has twin else of namespace shop",
			},
		},
		"the offloading is not ready": {
			change: func(home, _ *View) { home.Offloadings[0].Status.OffloadingPhase = v1beta1.PhaseInProgress },
			want:   []string{"the offloading of namespace shop is InProgress, not Ready"},
		},
		"the offloading was changed and not looked at": {
			change: func(home, _ *View) { home.Offloadings[0].Generation = 2 },
			want:   []string{"the offloading of namespace shop is not processed"},
		},
		"the offloading is gone": {
			change: func(home, _ *View) { home.Offloadings = nil },
			want:   []string{"namespace shop is offloaded: false, not true"},
		},
		"a copy of settings is old": {
			change: func(_, away *View) { away.ConfigMaps[0].Data = map[string]string{"version": "2"} },
			want:   []string{"ConfigMap shop-consumer/settings (provider-1) is not map[version:3]"},
		},
		"a note was torn up, and its copy is left": {
			also: func(_ *world, ns *namespace) { ns.notes = nil },
			want: []string{
				"ConfigMap shop-consumer/note (provider-1) is still there", "ConfigMap shop/note (home) is still there",
			},
		},
		"a Deployment has pods of the image before": {
			change: func(home, _ *View) { home.Deployments[0].Status.UpdatedReplicas = 0 },
			want:   []string{"Deployment shop/web has 1 pods, 0 of the last image, 1 available; not 1"},
		},
		"a paused Deployment may have them": {
			change: func(home, _ *View) { home.Deployments[0].Status.UpdatedReplicas = 0 },
			also:   func(_ *world, ns *namespace) { ns.apps[0].paused = true },
		},
		"a Deployment is deleted, and its pod stays": {
			change: func(home, _ *View) { home.Deployments = nil },
			also:   func(_ *world, ns *namespace) { ns.apps = ns.apps[1:] },
			want: []string{
				"1 pods of shop/web are still there", "Service shop-consumer/web is still there on provider-1",
			},
		},
		"a Deployment that was deleted is still there": {
			change: func(home, _ *View) {
				home.Deployments = append(home.Deployments, *build.Deployment("x").Namespace("shop").Obj())
			},
			want: []string{"Deployment x of namespace shop is still there"},
		},
		"a StatefulSet is between two images": {
			change: func(home, _ *View) { home.StatefulSets[0].Status.UpdateRevision = "b" },
			want:   []string{"StatefulSet shop/db has 1 pods, 1 ready, 0 of the last image; not 1"},
		},
		"a Job counted one too many": {
			change: func(home, _ *View) { home.Jobs[0].Status.Succeeded = 3 },
			want:   []string{"Job shop/job counts 3 that succeeded and failed indexes \"1\"; not 2 and \"1\""},
		},
		"a Job's index failed that should not have": {
			change: func(home, _ *View) { home.Jobs[0].Status.FailedIndexes = ptr.To("0,1") },
			want:   []string{"Job shop/job counts 2 that succeeded and failed indexes \"0,1\"; not 2 and \"1\""},
		},
		"a Job has not ended": {
			change: func(home, _ *View) { home.Jobs[0].Status.Conditions = nil },
			want:   []string{"Job shop/job is not Failed: 2 succeeded, not 2"},
		},
		"a pod is not ready, so it has no endpoint": {
			change: func(home, _ *View) { home.Pods[2].Status.Conditions = nil },
			want:   []string{"pod shop/pod is Running and not ready"},
		},
		"pods that no node may take may wait": {
			change: func(home, away *View) {
				home.Pods[0].Status, home.Deployments[0].Status = corev1.PodStatus{}, appsv1.DeploymentStatus{}
				home.Offloadings[0].Status.OffloadingPhase = v1beta1.PhaseNoClusterSelected
				*away = View{}
				for i := range home.Pods {
					home.Pods[i].Spec.NodeName = ""
				}
			},
			also: func(_ *world, ns *namespace) { ns.offload.selects = []string{"nowhere"} },
		},
		"a bare pod that has failed may have, and one that was taken away too": {
			change: func(home, away *View) { home.Pods, away.Pods = home.Pods[:2], away.Pods[:2] },
		},
		"a container was not started again as often": {
			change: func(home, _ *View) { home.Pods[0].Status.ContainerStatuses[0].RestartCount = 1 },
			want:   []string{"pod shop/web was restarted 1 times, not 2"},
		},
		"a pod is leaving and still has its endpoint": {
			change: func(home, _ *View) { home.Pods[1].DeletionTimestamp = &now },
			want: []string{
				"Service shop-consumer/db (provider-1) has endpoints map[10.0.0.1:1], not map[]",
				"Service shop/db (home) has endpoints map[10.0.0.1:1], not map[]", "pod shop/db is still leaving",
			},
		},
		"an endpoint is there twice": {
			change: func(_, away *View) { away.EndpointSlices = append(away.EndpointSlices, away.EndpointSlices[0]) },
			want: []string{
				"Service shop-consumer/web (provider-1) has endpoints map[10.0.0.0:2], not map[10.0.0.0:1]",
			},
		},
		"an endpoint that is not ready does not count": {
			change: func(home, _ *View) { home.EndpointSlices[0].Endpoints[0].Conditions.Ready = ptr.To(false) },
			want:   []string{"Service shop/web (home) has endpoints map[], not map[10.0.0.0:1]"},
		},
		"a changed image has not arrived": {
			change: func(_, away *View) { away.Pods[0].Spec.Containers[0].Image = "old" },
			want:   []string{"pod shop/web runs on provider-1 as registry.example/app:2, or not at all"},
		},
		"a remote pod is nobody's": {
			change: func(_, away *View) { away.Pods[0].Name = "orphan" },
			want: []string{
				"pod shop-consumer/orphan on provider-1 is not at home",
				"pod shop/web runs on provider-1 as registry.example/app:2, or not at all",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, ns := shop()
			if test.also != nil {
				test.also(w, ns)
			}
			seen := asAsked(t)
			if test.change != nil {
				away := seen.Away["provider-1"]
				test.change(&seen.Home, &away)
				seen.Away["provider-1"] = away
			}
			if diff := cmp.Diff(test.want, w.expect().Unmet(seen)); diff != "" {
				t.Errorf("unmet (-want,+got):\n%s", diff)
			}
		})
	}
}

// A look at home alone says nothing about providers.
func TestProvidersThatNobodyLookedAtAreLeftOut(t *testing.T) {
	w, _ := shop()
	seen := asAsked(t)
	seen.Away = nil
	if unmet := w.expect().Unmet(seen); len(unmet) > 0 {
		t.Errorf("unmet: %v", unmet)
	}
}

// The policies of docs/strategies.md, as far as they say whether a pod can run at all.
func TestWherePodsCanRun(t *testing.T) {
	to := func(strategy v1beta1.PodOffloadingStrategy, selects ...string) *offloading {
		return &offloading{strategy: strategy, selects: selects}
	}
	for name, test := range map[string]struct {
		offload *offloading
		away    bool
		waits   bool
	}{
		"not offloaded":                      {},
		"not offloaded, class liqo":          {away: true, waits: true},
		"Local":                              {offload: to(v1beta1.Local)},
		"Local, class liqo":                  {offload: to(v1beta1.Local), away: true},
		"Remote":                             {offload: to(v1beta1.Remote)},
		"Remote, to one provider":            {offload: to(v1beta1.Remote, "provider-2")},
		"Remote, to none":                    {offload: to(v1beta1.Remote, "nowhere"), waits: true},
		"LocalAndRemote, to none":            {offload: to(v1beta1.LocalAndRemote, "nowhere")},
		"LocalAndRemote, none, class liqo":   {offload: to(v1beta1.LocalAndRemote, "nowhere"), away: true, waits: true},
		"LocalAndRemote, class liqo, to all": {offload: to(v1beta1.LocalAndRemote), away: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, ns := shop()
			ns.offload = test.offload
			ns.apps = []*app{{kind: deployment, name: "web", pods: 2, version: 1, away: test.away}}
			got := w.expect().Namespaces[0].Apps[0]
			want := ExpectedApp{
				Kind: "Deployment", Name: "web", Replicas: 2, Image: "registry.example/app:1", Waits: test.waits,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("expected (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestTwinsAreWhereTheyAreSelected(t *testing.T) {
	as := func(mapping v1beta1.NamespaceMappingStrategy, selects ...string) *offloading {
		return &offloading{mapping: mapping, selects: selects}
	}
	for name, test := range map[string]struct {
		offload      *offloading
		wantTwin     string
		wantClusters []string
	}{
		"not offloaded":          {},
		"the default":            {as(v1beta1.DefaultName), "shop-consumer", twoProviders},
		"the same name":          {as(v1beta1.EnforceSameName), "shop", twoProviders},
		"a name that is given":   {as(v1beta1.SelectedName), "shop-away", twoProviders},
		"one provider":           {as(v1beta1.DefaultName, "provider-2"), "shop-consumer", twoProviders[1:]},
		"a provider there is no": {as(v1beta1.DefaultName, "nowhere"), "shop-consumer", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w, ns := shop()
			ns.offload = test.offload
			got := w.expect().Namespaces[0]
			if got.Offloaded != (test.offload != nil) || got.Twin != test.wantTwin {
				t.Errorf("offloaded %t as %q, not as %q", got.Offloaded, got.Twin, test.wantTwin)
			}
			if diff := cmp.Diff(test.wantClusters, got.Clusters); diff != "" {
				t.Errorf("clusters (-want,+got):\n%s", diff)
			}
		})
	}
}
