package namespacemap

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// The bounds of a report. All of a map's share what [MaxNamespaces] leaves; a twin that is accepted has no message of
// its own, so in a crowd its report takes that place.
const (
	// maxProblems is how many problems a report lists, as the custom resource says.
	maxProblems = 16
	// reportFrame is what a report takes besides the name of its namespace and its problems.
	reportFrame = len(`"":{"problems":[],"more":2147483647},`)
	// shortestWords is what must be left of a problem's message for it to be of use.
	shortestWords = 40
	// maxConditionMessage bounds a condition about reflection.
	maxConditionMessage = 1024
)

// reportLimit is how many bytes the report about one of a map's namespaces may take.
func reportLimit(m *v1beta1.NamespaceMap) int {
	for _, step := range []struct{ namespaces, bytes int }{{300, 4096}, {790, 1024}} {
		if roomy(m, 0, step.namespaces+1) {
			return step.bytes
		}
	}
	return messageLimit(m)
}

// reportOf returns what a map says of a namespace's problems, within limit bytes of JSON; nil without any.
func reportOf(home string, problems []v1beta1.ReflectionProblem, limit int) *v1beta1.ReflectionReport {
	if len(problems) == 0 {
		return nil
	}
	report := &v1beta1.ReflectionReport{}
	left := limit - len(home) - reportFrame
	for _, problem := range problems {
		if len(report.Problems) == maxProblems {
			break
		}
		words := problem.Message
		problem.Message = ""
		room := left - sizeOf(problem) - len(`,"message":"",`)
		if room < min(shortestWords, len(words)) {
			break
		}
		problem.Message = bounded(words, min(room, maxMessage))
		left -= sizeOf(problem) + len(",")
		report.Problems = append(report.Problems, problem)
	}
	report.More = int32(len(problems) - len(report.Problems)) //nolint:gosec // G115: far fewer objects than that
	return report
}

func sizeOf(problem v1beta1.ReflectionProblem) int {
	data, err := json.Marshal(problem)
	if err != nil {
		return maxMessage // strings do not fail
	}
	return len(data)
}

// reportIn returns what a map says of a namespace's reflection, nil when all is well.
func reportIn(m *v1beta1.NamespaceMap, home string) *v1beta1.ReflectionReport {
	if report, ok := m.Status.Reflection[home]; ok {
		return &report
	}
	return nil
}

func sameReport(a, b *v1beta1.ReflectionReport) bool { return equality.Semantic.DeepEqual(a, b) }

// changedReports returns the namespaces of whose reflection two states of a map say different things; either may be
// nil.
func changedReports(before, after *v1beta1.NamespaceMap) []string {
	var was, is map[string]v1beta1.ReflectionReport
	if before != nil {
		was = before.Status.Reflection
	}
	if after != nil {
		is = after.Status.Reflection
	}
	var changed []string
	for home, report := range is {
		if old, had := was[home]; !had || !equality.Semantic.DeepEqual(old, report) {
			changed = append(changed, home)
		}
	}
	for home := range was {
		if _, has := is[home]; !has {
			changed = append(changed, home)
		}
	}
	return changed
}

// reflectionConditions says for users what a report says: what others do to copies apart from what the cluster refuses.
func reflectionConditions(report *v1beta1.ReflectionReport) []v1beta1.ClusterCondition {
	var disputed, refused []v1beta1.ReflectionProblem
	for _, problem := range report.Problems {
		if problem.Reason == v1beta1.ProblemConflict || problem.Reason == v1beta1.ProblemNameTaken {
			disputed = append(disputed, problem)
		} else {
			refused = append(refused, problem)
		}
	}
	var conditions []v1beta1.ClusterCondition
	if len(disputed) > 0 {
		more := report.More
		if len(refused) > 0 {
			more = 0 // the other condition counts them
		}
		conditions = append(conditions, abnormal(v1beta1.ConditionConflict, disputed, more))
	}
	if len(refused) > 0 || len(disputed) == 0 {
		conditions = append(conditions, abnormal(v1beta1.ConditionNotReflected, refused, report.More))
	}
	return conditions
}

// abnormal returns a condition that is there only while something is wrong.
func abnormal(kind string, problems []v1beta1.ReflectionProblem, more int32) v1beta1.ClusterCondition {
	reason := v1beta1.ProblemRefused
	var words []string
	for _, problem := range problems {
		words = append(words, fmt.Sprintf("%s: %s", subject(problem), problem.Message))
	}
	if len(problems) > 0 {
		reason = slices.MinFunc(problems, func(a, b v1beta1.ReflectionProblem) int {
			return strings.Compare(a.Reason, b.Reason)
		}).Reason
	}
	text := strings.Join(words, "; ")
	if more > 0 {
		rest := fmt.Sprintf("; %d more objects, of which their FailedReflection events tell", more)
		text = strings.TrimPrefix(truncate(text, maxConditionMessage-len(rest))+rest, "; ")
	}
	return v1beta1.ClusterCondition{
		Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: truncate(text, maxConditionMessage),
	}
}

// subject names what a problem is about.
func subject(problem v1beta1.ReflectionProblem) string {
	return strings.TrimSuffix(problem.Resource+"/"+problem.Name, "/")
}
