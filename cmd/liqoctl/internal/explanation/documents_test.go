package explanation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
)

const (
	aPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: a, " +
		"image: b}]}\n"
	aTemplate = "{metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}"
	aService  = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
	aCustom   = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: web}\n"
)

func workload(apiVersion, kind, name string) string {
	template := "template: " + aTemplate
	if kind == "CronJob" {
		template = "jobTemplate: {spec: {" + template + "}}"
	}
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s}\nspec: {%s}\n", apiVersion, kind, name, template)
}

func TestPodsOfAFile(t *testing.T) {
	const give = "give a Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob"
	for name, test := range map[string]struct {
		file    string
		want    []string
		wantErr string
	}{
		"a pod":         {file: aPod, want: []string{"shop/web"}},
		"a pod in JSON": {file: `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"}}`, want: []string{"/web"}},
		"every workload": {
			file: strings.Join([]string{
				workload("apps/v1", "Deployment", "a"), workload("apps/v1", "StatefulSet", "b"),
				workload("apps/v1", "DaemonSet", "c"), workload("apps/v1", "ReplicaSet", "d"),
				workload("batch/v1", "Job", "e"), workload("batch/v1", "CronJob", "f"),
			}, "---\n"),
			want: []string{
				"/a of Deployment/a", "/b of StatefulSet/b", "/c of DaemonSet/c", "/d of ReplicaSet/d", "/e of Job/e",
				"/f of CronJob/f",
			},
		},
		"what has no pods is passed over": {
			file: "---\n# a comment\n---\n" + aService + "---\n" + aCustom + "---\n" + aPod, want: []string{"shop/web"},
		},
		"a list": {
			file: "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service}\n" +
				"- {apiVersion: v1, kind: Pod, metadata: {name: x}}\n",
			want: []string{"/x"},
		},
		"nothing":        {file: "", wantErr: "it is empty: " + give},
		"only comments":  {file: "# no\n---\n", wantErr: "it is empty: " + give},
		"no pod":         {file: aService, wantErr: "it has no pod, but a Service: " + give},
		"a kind unknown": {file: aCustom, wantErr: "it has no pod, but a Widget: " + give},
		"no object": {file: "a: b\n", wantErr: "document 1: it is no Kubernetes object: apiVersion and kind " +
			"are missing"},
		"a list of words": {file: "- a\n", wantErr: "document 1: it is no Kubernetes object"},
		"bad YAML":        {file: aPod + "---\na: [\n", wantErr: "document 2: yaml: "},
		"an unknown field": {
			file: strings.Replace(aPod, "spec:", "spek:", 1), wantErr: `document 1: Pod: strict decoding error: ` +
				`unknown field "spek"`,
		},
		"a duplicate key": {file: aPod + "kind: Pod\n", wantErr: `key "kind" already set`},
		"a wrong type": {
			file: strings.Replace(aPod, "[{name: a, image: b}]", "5", 1), wantErr: "document 1: Pod: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			subjects, err := explanation.Subjects(strings.NewReader(test.file))
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Errorf("got %v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range subjects {
				text := s.Pod.Namespace + "/" + s.Pod.Name
				if s.From != "" {
					text += " of " + s.From
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestPodsOfADaemonSetTolerateWhatDaemonsTolerate(t *testing.T) {
	subjects, err := explanation.Subjects(strings.NewReader(workload("apps/v1", "DaemonSet", "agent")))
	if err != nil {
		t.Fatal(err)
	}
	subjects[0].Pod.Namespace = "shop"
	facts := shop().bare().only("worker-1", "provider-1").troubled().Facts
	got := explanation.OfPod(facts, subjects[0])
	want := []string{
		"provider-1: refused | NotOffloaded: namespace is not offloaded | UntoleratedTaint: node(s) had untolerated " +
			"taint(s): gpu=yes:NoSchedule | (the node is not ready: the agent is gone)",
		"worker-1: permitted",
	}
	if diff := cmp.Diff(want, lines(got.Verdicts)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	if want := "pods of DaemonSet/agent in namespace shop, if created, may go to 1 of 2 nodes"; got.Summary != want {
		t.Errorf("got %q, want %q", got.Summary, want)
	}
}
