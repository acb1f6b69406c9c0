package nemesis

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

// stageTwin is the name of the stage's namespace on providers.
const stageTwin = StageNamespace + "-" + env.Consumer

// tamperingFaults are what people do by hand to what is ours on a provider.
func tamperingFaults() []Fault {
	tamper := func(name, does string, hold time.Duration, inject Inject) Fault {
		return Fault{Name: name, Does: does, Breaks: AwayObjects, Hold: hold, Inject: inject}.needs(ProviderServer)
	}
	const soon = 30 * time.Second
	return []Fault{
		tamper("twin-deleted", "somebody deletes a twin on a provider", 0, deletedTwin).here(time.Minute),
		tamper("remote-pods-deleted", "somebody deletes some remote pods on a provider", 0, deletedPods).here(soon),
		tamper("binding-deleted", "somebody deletes the agent's RoleBinding in a twin", 0, deletedBinding).here(soon),
		tamper("copies-deleted", "somebody deletes what was reflected into a twin", 0, deletedCopies).here(soon),
		tamper("copies-edited", "somebody edits what was reflected into a twin", 0, editedCopies).here(soon),
		tamper("admission-refuses", "a provider's admission refuses all pods for 30 s", 30*time.Second, refused).
			here(time.Minute).needs(HomeServer, ProviderServer), // home has to ask for new pods
	}
}

func provider(s *Scene) client.Client { return s.Env.Cluster(s.Provider).Client() }

func deletedTwin(ctx context.Context, s *Scene) (Heal, error) {
	twin := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stageTwin}}
	return nil, client.IgnoreNotFound(provider(s).Delete(ctx, twin))
}

func deletedPods(ctx context.Context, s *Scene) (Heal, error) {
	var pods corev1.PodList
	if err := provider(s).List(ctx, &pods, client.InNamespace(stageTwin)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		if s.Rand.IntN(2) == 0 { // half of them
			continue
		}
		if err := provider(s).Delete(ctx, &pods.Items[i]); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("delete a pod: %w", err)
		}
	}
	return nil, nil
}

func deletedBinding(ctx context.Context, s *Scene) (Heal, error) {
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: stageTwin, Name: v1beta1.TwinRole}}
	return nil, client.IgnoreNotFound(provider(s).Delete(ctx, binding))
}

// copies returns what of ours is in the stage's twin, beside pods.
func copies(ctx context.Context, s *Scene) ([]client.Object, error) {
	var (
		configMaps corev1.ConfigMapList
		secrets    corev1.SecretList
		services   corev1.ServiceList
		slices     discoveryv1.EndpointSliceList
		out        []client.Object
	)
	for _, list := range []client.ObjectList{&configMaps, &secrets, &services, &slices} {
		err := provider(s).List(ctx, list, client.InNamespace(stageTwin),
			client.MatchingLabels{v1beta1.LabelOrigin: env.Consumer})
		if err != nil {
			return nil, fmt.Errorf("list copies: %w", err)
		}
	}
	for i := range configMaps.Items {
		out = append(out, &configMaps.Items[i])
	}
	for i := range secrets.Items {
		out = append(out, &secrets.Items[i])
	}
	for i := range services.Items {
		out = append(out, &services.Items[i])
	}
	for i := range slices.Items {
		out = append(out, &slices.Items[i])
	}
	return out, nil
}

func deletedCopies(ctx context.Context, s *Scene) (Heal, error) {
	objects, err := copies(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, obj := range objects {
		if err := provider(s).Delete(ctx, obj); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("delete %T %s: %w", obj, obj.GetName(), err)
		}
	}
	return nil, nil
}

func editedCopies(ctx context.Context, s *Scene) (Heal, error) {
	objects, err := copies(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, obj := range objects {
		patch := `{"metadata":{"labels":{"edited":"by-hand"}}}`
		switch obj.(type) {
		case *corev1.ConfigMap:
			patch = `{"data":{"value":"edited by hand"}}`
		case *corev1.Service:
			patch = `{"spec":{"selector":{"app":"edited-by-hand"}}}`
		case *discoveryv1.EndpointSlice:
			patch = `{"endpoints":[]}`
		}
		err := provider(s).Patch(ctx, obj, client.RawPatch("application/merge-patch+json", []byte(patch)))
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("edit %T %s: %w", obj, obj.GetName(), err)
		}
	}
	return nil, nil
}

// refusal is what the provider's admin forbids.
const refusal = "faults-refuse-pods"

// refused makes the provider's admission refuse pods of twins, and home need new ones.
func refused(ctx context.Context, s *Scene) (Heal, error) {
	policy, binding := refusing()
	heal := func(ctx context.Context) error {
		for _, obj := range []client.Object{binding, policy} {
			if err := client.IgnoreNotFound(provider(s).Delete(ctx, obj)); err != nil {
				return fmt.Errorf("take the refusal back: %w", err)
			}
		}
		return nil
	}
	for _, obj := range []client.Object{policy, binding} {
		if err := provider(s).Create(ctx, obj); err != nil {
			return heal, fmt.Errorf("refuse pods: %w", err)
		}
	}
	return heal, replacePods(ctx, s)
}

// replacePods deletes the Deployment's pods on the stage, so that others take their place.
func replacePods(ctx context.Context, s *Scene) error {
	return s.Env.Consumer().Client().DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(StageNamespace),
		client.MatchingLabels{"app": "web"})
}

func creatingPods() admissionv1.RuleWithOperations {
	return admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create},
		Rule: admissionv1.Rule{
			APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
		},
	}
}

func refusing() (client.Object, client.Object) {
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: refusal},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: ptr.To(admissionv1.Fail),
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: v1beta1.LabelRemoteClusterID, Operator: metav1.LabelSelectorOpExists},
				}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: creatingPods()}},
			},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "no pods today"}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: refusal},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: refusal, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	return policy, binding
}
