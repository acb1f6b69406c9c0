package remote

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Discreet makes an error say of an API server's answer what kind it is, and which fields it is about, but not the
// server's words: it, and the policies and webhooks behind it, quote what they refuse, which may be a Secret. To
// errors.Is and errors.As it is the same error.
func Discreet(err error) error {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return err
	}
	text := fmt.Sprint(answer)
	if said, ok := answer.(error); ok {
		text = said.Error()
	}
	before, _, found := strings.Cut(err.Error(), text)
	if !found {
		before = ""
	}
	return &discreetError{err: err, text: before + hint(answer.Status())}
}

type discreetError struct {
	err  error
	text string
}

// Error implements error.
func (e *discreetError) Error() string { return e.text }

// Unwrap returns the error with all its words.
func (e *discreetError) Unwrap() error { return e.err }

// What is shown of the causes of a refusal, as API servers write them: data[tls.crt] and FieldValueTooLong.
var (
	causeField = regexp.MustCompile(`^[a-z][-A-Za-z0-9_./\[\]]{0,127}$`)
	causeType  = regexp.MustCompile(`^[A-Za-z]{1,63}$`)
)

// maxCauses is how many of them are shown.
const maxCauses = 3

func hint(status metav1.Status) string {
	out := fmt.Sprintf("the API server answers %d %s", status.Code, http.StatusText(int(status.Code)))
	var causes []string
	if status.Details != nil {
		for _, cause := range status.Details.Causes {
			if causeField.MatchString(cause.Field) && causeType.MatchString(string(cause.Type)) {
				causes = append(causes, cause.Field+": "+string(cause.Type))
			}
		}
	}
	if len(causes) > 0 {
		out += " (" + strings.Join(causes[:min(len(causes), maxCauses)], ", ") + ")"
	}
	return out + "; what else it says is not repeated, since it could quote the Secret"
}
