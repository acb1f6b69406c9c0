package explanation_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

func TestWhereTheDataKeepAPod(t *testing.T) {
	there := placement.ReadClaim(build.Claim("data").Bound("pv").Obj(), build.Volume("pv", "provider-1"), "")
	home := placement.ReadClaim(build.Claim("data").Bound("nfs").Obj(), build.Volume("nfs", ""), "")
	refused := placement.ReadClaim(build.Claim("data").Annotation(v1beta1.AnnotationVolumeRefused,
		`{"provider-1":"the provider has no storage class"}`).Obj(), nil, v1beta1.StorageProvisioner)
	for name, test := range map[string]struct {
		claim placement.Claim
		want  []string
	}{
		"bound there": {there, []string{
			"provider-1: permitted",
			"worker-1: refused | VolumeElsewhere: the volume of claim \"data\" is on virtual node provider-1, and " +
				"the pod stays with its data",
		}},
		"bound at home": {home, []string{
			"provider-1: refused | VolumeAtHome: claim \"data\" is bound at home, to volume nfs, and the pod " +
				"stays with its data",
			"worker-1: permitted",
		}},
		"refused there": {refused, []string{
			"provider-1: waits | VolumeRefused: claim \"data\" cannot have its volume on virtual node provider-1: " +
				"the provider has no storage class",
			"worker-1: refused | VolumeElsewhere: claim \"data\" is of storage class \"liqo\", whose volumes are " +
				"made on virtual nodes",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			facts := shop(strategy(v1beta1.LocalAndRemote)).only("provider-1", "worker-1")
			facts.Claims = []placement.Claim{test.claim}
			got := explanation.OfPod(facts.Facts, explanation.Subject{Pod: build.Pod("db").Namespace("shop").Obj()})
			if diff := cmp.Diff(test.want, lines(got.Verdicts)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}
