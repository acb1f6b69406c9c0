package remote_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/twinspace/twinspace/reflection/remote"
)

func TestDiscreet(t *testing.T) {
	const secret = "hunter2"
	kind, gr := schema.GroupKind{Kind: "Secret"}, schema.GroupResource{Resource: "secrets"}
	path := field.NewPath("data")
	loose := apierrors.NewInvalid(kind, "db", nil)
	loose.ErrStatus.Details.Causes = []metav1.StatusCause{
		{Type: secret + "!", Field: "data"}, {Type: "A", Field: secret + "?"},
	}
	quoted := apierrors.NewInvalid(kind, "db", field.ErrorList{field.Invalid(path.Key("a/b"), secret, secret)})
	plain := errors.New("dial tcp 192.0.2.1: connection refused")
	for name, tc := range map[string]struct {
		err  error
		want string // the beginning
	}{
		"nothing":             {nil, ""},
		"an error of our own": {plain, plain.Error()},
		"a value that is quoted": {
			fmt.Errorf("create: %w", quoted),
			"create: the API server answers 422 Unprocessable Entity (data[a/b]: FieldValueInvalid); what else",
		},
		"a policy that quotes": {
			apierrors.NewForbidden(gr, "db", errors.New("policy says "+secret+" is weak")),
			"the API server answers 403 Forbidden; what else",
		},
		"a webhook that does not understand": {
			fmt.Errorf("patch: %w", apierrors.NewBadRequest("error found in ..|"+secret+"|..")),
			"patch: the API server answers 400 Bad Request; what else",
		},
		"causes that are no causes": {loose, "the API server answers 422 Unprocessable Entity; what else"},
		"more causes than are shown": {
			apierrors.NewInvalid(kind, "db", field.ErrorList{
				field.TooLong(path, "", 1), field.Required(path.Key("a"), ""), field.Required(path.Key("b"), ""),
				field.Required(path.Key("c"), ""),
			}),
			"the API server answers 422 Unprocessable Entity (data: FieldValueTooLong, data[a]: FieldValueRequired, " +
				"data[b]: FieldValueRequired); what else",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := remote.Discreet(tc.err)
			if tc.err == nil {
				if got != nil {
					t.Errorf("got %v", got)
				}
				return
			}
			if !strings.HasPrefix(got.Error(), tc.want) || strings.Contains(got.Error(), secret) {
				t.Errorf("got %q, want it to begin with %q", got, tc.want)
			}
			if !errors.Is(got, tc.err) || apierrors.ReasonForError(got) != apierrors.ReasonForError(tc.err) {
				t.Error("it is another error now")
			}
		})
	}
}
