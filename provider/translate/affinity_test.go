package translate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func byHost(labels map[string]string) corev1.PodAffinityTerm {
	return corev1.PodAffinityTerm{
		TopologyKey: "kubernetes.io/hostname", LabelSelector: &metav1.LabelSelector{MatchLabels: labels},
	}
}

func must(terms ...corev1.PodAffinityTerm) *corev1.PodAntiAffinity {
	return &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}
}

func wish(terms ...corev1.PodAffinityTerm) *corev1.PodAntiAffinity {
	var out corev1.PodAntiAffinity
	for _, term := range terms {
		out.PreferredDuringSchedulingIgnoredDuringExecution = append(
			out.PreferredDuringSchedulingIgnoredDuringExecution,
			corev1.WeightedPodAffinityTerm{Weight: 100, PodAffinityTerm: term})
	}
	return &out
}

func TestAntiAffinityPresets(t *testing.T) {
	app := map[string]string{"app": "web"}
	for name, tc := range map[string]struct {
		preset, keys string
		labels       map[string]string
		own          *corev1.PodAntiAffinity
		patch        v1beta1.OffloadingPatch
		want         *corev1.PodAntiAffinity
		wantRefusal  string
	}{
		"none: the pod's own stays at home": {labels: app, own: must(byHost(app))},
		"hard":                              {preset: "hard", labels: app, want: must(byHost(app))},
		"soft":                              {preset: "soft", labels: app, want: wish(byHost(app))},
		"of all labels": {
			preset: "hard", labels: map[string]string{"app": "web", "tier": "x"},
			want: must(byHost(map[string]string{"app": "web", "tier": "x"})),
		},
		"of some labels": {
			preset: "hard", keys: "app, zone", labels: map[string]string{"app": "web", "tier": "x", "zone": "z"},
			want: must(byHost(map[string]string{"app": "web", "zone": "z"})),
		},
		"labels of a single pod do not count": {
			preset: "hard", labels: map[string]string{"app": "db", "statefulset.kubernetes.io/pod-name": "db-0",
				"apps.kubernetes.io/pod-index": "0", "batch.kubernetes.io/job-completion-index": "0"},
			want: must(byHost(map[string]string{"app": "db"})),
		},
		"unless the user names them": {
			preset: "hard", keys: "apps.kubernetes.io/pod-index",
			labels: map[string]string{"app": "db", "apps.kubernetes.io/pod-index": "0"},
			want:   must(byHost(map[string]string{"apps.kubernetes.io/pod-index": "0"})),
		},
		"labels that stay at home do not count": {
			preset: "hard", labels: map[string]string{"app": "web", "secret": "x"},
			patch: v1beta1.OffloadingPatch{LabelsNotReflected: []string{"secret"}}, want: must(byHost(app)),
		},
		"no label, nobody to keep apart": {preset: "hard", wantRefusal: "has no label that tells which pods"},
		"none of the labels is there": {
			preset: "soft", keys: "tier,zone", labels: app, wantRefusal: "the pod has none of the labels tier,zone",
		},
		"a preset that nobody knows": {
			preset: "medium", labels: app,
			wantRefusal: `annotation liqo.io/anti-affinity-preset: must be propagate, soft or hard, not "medium"`,
		},
		"propagate": {preset: "propagate", labels: app, own: must(byHost(app)), want: must(byHost(app))},
		"propagate a wish": {
			preset: "propagate", own: wish(byHost(app), byHost(nil)), want: wish(byHost(app), byHost(nil)),
		},
		"propagate nothing": {preset: "propagate", labels: app},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) {
				p.Labels = tc.labels
				p.Annotations = map[string]string{
					v1beta1.AnnotationAntiAffinityPreset: tc.preset, v1beta1.AnnotationAntiAffinityLabels: tc.keys,
				}
				p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: tc.own, PodAffinity: &corev1.PodAffinity{}}
			})
			var got *corev1.PodAntiAffinity
			if a := target(&tc.patch).Pod(home).Spec.Affinity; a != nil {
				got = a.PodAntiAffinity
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
			refusal := target(&tc.patch).Refusal(home)
			if (refusal == "") != (tc.wantRefusal == "") || !strings.Contains(refusal, tc.wantRefusal) {
				t.Errorf("want refusal %q, got %q", tc.wantRefusal, refusal)
			}
		})
	}
}

// A required term is symmetric: it keeps the other pods off the node too. So it is about the twin and nobody else.
func TestPropagatedTermsAreAboutTheTwin(t *testing.T) {
	everybody := &metav1.LabelSelector{}
	some := &metav1.LabelSelector{MatchLabels: map[string]string{"team": "x"}}
	for name, tc := range map[string]struct {
		namespaces []string
		selector   *metav1.LabelSelector
		want       bool
	}{
		"its own":                     {nil, nil, true},
		"its own by name":             {[]string{"shop"}, nil, true},
		"its own and another":         {[]string{"bank", "shop"}, nil, true},
		"another":                     {[]string{"kube-system"}, nil, false},
		"everybody's":                 {nil, everybody, true},
		"some, perhaps its own":       {nil, some, false},
		"some, and its own":           {[]string{"shop"}, some, true},
		"another's, and everybody's":  {[]string{"bank"}, everybody, true},
		"another's, and some of them": {[]string{"bank"}, some, false},
	} {
		t.Run(name, func(t *testing.T) {
			term := byHost(map[string]string{"app": "web"})
			term.Namespaces, term.NamespaceSelector = tc.namespaces, tc.selector
			term.MatchLabelKeys = []string{"pod-template-hash"}
			for _, own := range []*corev1.PodAntiAffinity{must(term), wish(term)} {
				home := pod(func(p *corev1.Pod) {
					p.Annotations = map[string]string{v1beta1.AnnotationAntiAffinityPreset: "propagate"}
					p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: own}
				})
				var want []corev1.PodAffinityTerm
				if tc.want {
					want = []corev1.PodAffinityTerm{byHost(map[string]string{"app": "web"})}
				}
				if diff := cmp.Diff(want, terms(&target(nil).Pod(home).Spec)); diff != "" {
					t.Errorf("-want,+got:\n%s", diff)
				}
			}
		})
	}
}

func TestAPresetAndThePatchGoTogether(t *testing.T) {
	nodes := &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
		{Weight: 1},
	}}
	home := pod(func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": "web"}
		p.Annotations = map[string]string{v1beta1.AnnotationAntiAffinityPreset: "soft"}
	})
	got := target(&v1beta1.OffloadingPatch{Affinity: &v1beta1.Affinity{NodeAffinity: nodes}}).Pod(home).Spec.Affinity
	want := &corev1.Affinity{NodeAffinity: nodes, PodAntiAffinity: wish(byHost(map[string]string{"app": "web"}))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}
