package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// TestTheExampleOfADeployment: what docs/highavailability.md shows is a command line that is taken, by the account that
// liqoctl peer makes, and replicas that nothing drains at once.
func TestTheExampleOfADeployment(t *testing.T) {
	text, err := os.ReadFile("../../docs/examples/agent/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var deployment appsv1.Deployment
	var budget policyv1.PodDisruptionBudget
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	if err := errors.Join(documents.Decode(&deployment), documents.Decode(&budget)); err != nil {
		t.Fatal(err)
	}
	if err := documents.Decode(&metav1.PartialObjectMetadata{}); !errors.Is(err, io.EOF) {
		t.Errorf("there is more than these two: %v", err)
	}
	pod := deployment.Spec.Template
	opts, flags := defaults(), pflag.NewFlagSet("", pflag.ContinueOnError)
	opts.addFlags(flags)
	args := strings.NewReplacer("$(POD_IP)", "10.0.0.1").Replace(strings.Join(pod.Spec.Containers[0].Args, "\n"))
	if err := errors.Join(flags.Parse(strings.Split(args, "\n")), opts.validate()); err != nil {
		t.Errorf("the agent does not take these flags: %v", err)
	}
	if !opts.LeaderElect || *deployment.Spec.Replicas < 2 {
		t.Errorf("%d replicas with an election: %t", *deployment.Spec.Replicas, opts.LeaderElect)
	}
	if pod.Spec.ServiceAccountName != v1beta1.AgentServiceAccount ||
		deployment.Namespace != v1beta1.TenantNamespace("milan") {
		t.Errorf("it acts as %s of %s", pod.Spec.ServiceAccountName, deployment.Namespace)
	}
	selected, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil || budget.Namespace != deployment.Namespace || !selected.Matches(labels.Set(pod.Labels)) {
		t.Errorf("the budget selects %s in %s (%v)", selected, budget.Namespace, err)
	}
	apart := pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector
	if other, err := metav1.LabelSelectorAsSelector(apart); err != nil || !other.Matches(labels.Set(pod.Labels)) {
		t.Errorf("replicas are kept apart from %s (%v)", other, err)
	}
}
