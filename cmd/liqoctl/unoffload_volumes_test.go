package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// stored is the home volume of a claim, with data in the copy of that UID.
func stored(name, namespace, copyUID string) *corev1.PersistentVolume {
	pv := build.Volume(name, "b")
	pv.Labels = map[string]string{v1beta1.LabelRemoteClusterID: "b"}
	pv.Annotations = map[string]string{v1beta1.AnnotationRemoteClaimUID: copyUID}
	pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: "data-" + name}
	return pv
}

func TestUnoffloadSaysWhichDataAreLost(t *testing.T) {
	const twins = "This deletes the twins of namespace shop and everything in them."
	driven := stored("nfs", "shop", "x")
	driven.Spec.CSI.Driver = "nfs.example.com"
	for name, test := range map[string]struct {
		there []client.Object
		want  string
	}{
		"nothing there": {want: twins},
		"one volume": {
			there: []client.Object{stored("1", "shop", "x")},
			want:  twins + " The data of 1 volume are lost with it, on the providers: data-1 (b).",
		},
		"two volumes": {
			there: []client.Object{stored("2", "shop", "y"), stored("1", "shop", "x")},
			want:  twins + " The data of 2 volumes are lost with it, on the providers: data-1 (b), data-2 (b).",
		},
		"of another namespace":        {there: []client.Object{stored("1", "bank", "x")}, want: twins},
		"of another driver":           {there: []client.Object{driven}, want: twins},
		"without a copy up to now":    {there: []client.Object{stored("1", "shop", "")}, want: twins},
		"a volume nobody has claimed": {there: []client.Object{build.Volume("free", "b")}, want: twins},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, append(test.there, build.Offloading("shop").Obj())...)
			s.typed = "n\n"
			code, _, errOut := s.run("unoffload", "namespace", "shop")
			if code != exitFailed || !strings.HasPrefix(errOut, test.want+" [y/N] ") {
				t.Errorf("exit code %d: %s\nwant: %s", code, errOut, test.want)
			}
			if len(s.deleted) > 0 {
				t.Errorf("deleted %q", s.deleted)
			}
		})
	}
}
