package manifests

import (
	"testing"
)

func TestObjects(t *testing.T) {
	for _, dir := range []string{"crd", "base", "provider"} {
		objects, err := Objects(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(objects) == 0 {
			t.Errorf("no object in %s", dir)
		}
		seen := map[string]bool{}
		for _, o := range objects {
			key := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
			if o.GetKind() == "" || o.GetName() == "" || o.GetKind() == "Kustomization" || seen[key] {
				t.Errorf("unexpected object %q in %s", key, dir)
			}
			seen[key] = true
		}
	}
}
