package placement_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// known reads claims as callers do who know the volumes and classes there are.
func known(claims ...*build.ClaimBuilder) []placement.Claim {
	volumes := map[string]*corev1.PersistentVolume{
		"nfs": build.Volume("nfs", ""), "there": build.Volume("there", "provider-1"),
		"beyond": build.Volume("beyond", "provider-4"),
	}
	provisioners := map[string]string{
		"liqo": "liqo.io/storage", "ours-too": "liqo.io/storage", "disk": "csi.example.com",
	}
	var out []placement.Claim
	for _, b := range claims {
		c := b.Obj()
		out = append(out, placement.ReadClaim(c, volumes[c.Spec.VolumeName], provisioners[placement.ClassOf(c)]))
	}
	return out
}

func TestWhereTheDataAre(t *testing.T) {
	const (
		madeAway = `claim "data" is of storage class "liqo", whose volumes are made on virtual nodes`
		stays    = ", and the pod stays with its data"
	)
	remotely, both := offloading(v1beta1.Remote).Obj(), offloading(v1beta1.LocalAndRemote).Obj()
	for name, test := range map[string]struct {
		off    *v1beta1.NamespaceOffloading
		claims []*build.ClaimBuilder
		// What is said of an ordinary node, and of provider-1's.
		ordinary, away string
	}{
		"no claims": {off: both},
		"not bound, of class liqo": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data")}, ordinary: madeAway,
		},
		"not bound, of another class with our provisioner": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Class("ours-too")},
			ordinary: `claim "data" is of storage class "ours-too", whose volumes are made on virtual nodes`,
		},
		"not bound, of a class of home": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Class("disk")},
			away: `claim "data" is of storage class "disk", whose volumes are at home`,
		},
		"not bound, of a class that does not exist": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Class("typo")},
			away: `claim "data" is of storage class "typo", whose volumes are at home`,
		},
		"not bound, without a class": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Class("")},
			away: `claim "data" has no storage class, so its volume can only be one of home`,
		},
		"bound at home, to a volume that every node can mount": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Class("disk").Bound("nfs")},
			away: `claim "data" is bound at home, to volume nfs` + stays,
		},
		"bound at home, though of class liqo": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Bound("nfs")},
			away: `claim "data" is bound at home, to volume nfs` + stays,
		},
		"bound to a volume that nobody knows": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Bound("gone")},
			away: `claim "data" is bound to volume gone, which does not exist at home`,
		},
		"bound there": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Bound("there")},
			ordinary: `the volume of claim "data" is on virtual node provider-1` + stays,
		},
		"bound on another virtual node": {
			off: both, claims: []*build.ClaimBuilder{build.Claim("data").Bound("beyond")},
			ordinary: `the volume of claim "data" is on virtual node provider-4` + stays,
			away:     `the volume of claim "data" is on virtual node provider-4` + stays,
		},
		"one bound there and one at home": {
			off:      both,
			claims:   []*build.ClaimBuilder{build.Claim("data").Bound("there"), build.Claim("logs").Bound("nfs")},
			ordinary: `the volume of claim "data" is on virtual node provider-1` + stays,
			away:     `claim "logs" is bound at home, to volume nfs` + stays,
		},
		"the provider could not have the volume": {
			off: both, ordinary: madeAway, claims: []*build.ClaimBuilder{build.Claim("data").
				Annotation(v1beta1.AnnotationVolumeRefused, `{"provider-1":"it has no storage class"}`)},
			away: `claim "data" cannot have its volume on virtual node provider-1: it has no storage class`,
		},
		"another provider could not have the volume": {
			off: both, ordinary: madeAway, claims: []*build.ClaimBuilder{build.Claim("data").
				Annotation(v1beta1.AnnotationVolumeRefused, `{"provider-2":"it has no storage class"}`)},
		},
		"a refusal that cannot be read": {
			off: both, ordinary: madeAway, claims: []*build.ClaimBuilder{build.Claim("data").
				Annotation(v1beta1.AnnotationVolumeRefused, `provider-1`)},
		},
		"annotated to stay": {
			off: both, ordinary: madeAway, claims: []*build.ClaimBuilder{build.Claim("data").
				Annotation(v1beta1.AnnotationSkipReflection, "true")},
			away: `claim "data" stays at home, as its annotation liqo.io/skip-reflection says`,
		},
		"annotated not to stay": {
			off: both, ordinary: madeAway, claims: []*build.ClaimBuilder{build.Claim("data").
				Annotation(v1beta1.AnnotationSkipReflection, "false")},
		},
		"strategy Remote, bound at home": {
			off: remotely, claims: []*build.ClaimBuilder{build.Claim("data").Bound("nfs")}, ordinary: remote,
			away: `claim "data" is bound at home, to volume nfs` + stays,
		},
		"not offloaded, of class liqo": {
			claims: []*build.ClaimBuilder{build.Claim("data")}, ordinary: madeAway, away: notOffloaded,
		},
		"strategy Local, of class liqo": {
			off: offloading(v1beta1.Local).Obj(), claims: []*build.ClaimBuilder{build.Claim("data")},
			ordinary: madeAway, away: local,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rule := placement.Decide(placement.Facts{
				Policy: placement.Compile(test.off), Twin: twins, Pod: build.Pod("db").Obj(),
				Claims: known(test.claims...),
			})
			got := []string{rule.On(nodes["ordinary node"]).Message, rule.On(virtual("provider-1", "eu")).Message}
			if diff := cmp.Diff([]string{test.ordinary, test.away}, got); diff != "" {
				t.Errorf("ordinary node, provider-1 (-want,+got):\n%s", diff)
			}
			policy := placement.Decide(placement.Facts{
				Policy: placement.Compile(test.off), Twin: twins, Claims: known(test.claims...),
			})
			if v := policy.On(virtual("provider-1", "eu")); test.off == both && v.Outcome != placement.Permitted {
				t.Errorf("nobody asked about a pod, and the answer is %q", v.Message)
			}
		})
	}
}

func TestTheClaimsOfAPod(t *testing.T) {
	pod := build.Pod("db-0").Claim("data").Claim("logs").Spec(func(s *corev1.PodSpec) {
		s.Volumes = append(s.Volumes,
			corev1.Volume{Name: "scratch", VolumeSource: corev1.VolumeSource{
				Ephemeral: &corev1.EphemeralVolumeSource{},
			}},
			corev1.Volume{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}).Obj()
	want := []string{"data", "logs", "db-0-scratch"}
	if diff := cmp.Diff(want, placement.ClaimNames(pod)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

func TestNoRoomIsAskedForWhereTheDataAreNot(t *testing.T) {
	rule := placement.Decide(placement.Facts{
		Policy: placement.Compile(offloading(v1beta1.LocalAndRemote).Obj()), Twin: twins, Pod: build.Pod("db").Obj(),
		Claims: known(build.Claim("data").Bound("nfs")),
		Room:   func(*corev1.Node) placement.Room { panic("asked") },
	})
	if !rule.HomeOnly() {
		t.Error("a pod whose data are at home is not left to ordinary nodes")
	}
	if got := rule.Volumes(nodes["ordinary node"]); got != nil {
		t.Errorf("volumes are asked about of an ordinary node: %v", got)
	}
	if got := rule.Misfits(virtual("provider-1", "eu")); got != nil {
		t.Errorf("misfits: %v", got)
	}
}
