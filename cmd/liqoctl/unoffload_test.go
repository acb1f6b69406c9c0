package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestUnoffloadByForce(t *testing.T) {
	left := build.Map("b").Has("shop", "shop-a", v1beta1.MappingTerminating).
		Has("bank", "bank-a", v1beta1.MappingAccepted).Obj()
	entry := left.Status.CurrentMapping["shop"]
	entry.Message = "the provider's API server cannot be reached"
	left.Status.CurrentMapping["shop"] = entry
	none := build.Map("c").Has("bank", "bank-a", v1beta1.MappingAccepted).Obj()

	t.Run("says what is left behind", func(t *testing.T) {
		s := newStage(t, build.Offloading("shop").Obj(), left.DeepCopy(), none)
		code, _, errOut := s.run("unoffload", "namespace", "shop", "--skip-confirm", "--force")
		want := "warning: namespace shop-a is left behind on cluster b, and deleted when it can be: " +
			"the provider's API server cannot be reached\ndone: namespace shop is at home only\n"
		if diff := cmp.Diff(want, errOut); code != exitDone || diff != "" {
			t.Errorf("exit code %d (-want,+got):\n%s", code, diff)
		}
		if len(s.applied) != 1 || !strings.Contains(string(s.applied[0]), `"offloading.liqo.io/force-removal":"true"`) {
			t.Errorf("patches %s", s.applied)
		}
	})
	t.Run("leaves nothing behind where everything goes", func(t *testing.T) {
		s := newStage(t, build.Offloading("shop").Obj(), none.DeepCopy())
		code, _, errOut := s.run("unoffload", "namespace", "shop", "--skip-confirm", "--force")
		if code != exitDone || errOut != "done: namespace shop is at home only\n" {
			t.Errorf("exit code %d: %s", code, errOut)
		}
	})
	t.Run("asks first, and says what force means", func(t *testing.T) {
		s := newStage(t, build.Offloading("shop").Obj(), left.DeepCopy())
		s.typed = "n\n"
		code, _, errOut := s.run("unoffload", "namespace", "shop", "--force")
		if code != exitFailed || !strings.Contains(errOut, "are left behind; pods in them may run on. [y/N]") {
			t.Errorf("exit code %d: %s", code, errOut)
		}
		if len(s.applied)+len(s.deleted) > 0 {
			t.Errorf("patched %s, deleted %q", s.applied, s.deleted)
		}
	})
	t.Run("leaves no mark where the deletion is refused", func(t *testing.T) {
		s := newStage(t, build.Offloading("shop").Obj(), left.DeepCopy())
		s.keeps = errors.New("deletion is not for you")
		code, _, errOut := s.run("unoffload", "namespace", "shop", "--skip-confirm", "--force")
		if code != exitFailed || !strings.Contains(errOut, "not for you") {
			t.Errorf("exit code %d: %s", code, errOut)
		}
		if len(s.applied) > 0 {
			t.Errorf("patches %s", s.applied)
		}
	})
	t.Run("is not asked for in silence", func(t *testing.T) {
		s := newStage(t, build.Offloading("shop").Obj())
		if code, _, errOut := s.run("unoffload", "namespace", "shop", "--skip-confirm"); code != exitDone {
			t.Errorf("exit code %d: %s", code, errOut)
		}
		if len(s.applied) > 0 {
			t.Errorf("patches %s", s.applied)
		}
	})
}
