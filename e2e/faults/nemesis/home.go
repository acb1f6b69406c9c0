package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/history"
)

// homeFaults are what people do at home.
func homeFaults() []Fault {
	const soon, while = 30 * time.Second, 30 * time.Second
	at := func(name, does string, inject Inject) Fault {
		return Fault{Name: name, Does: does, Breaks: HomeObjects, Inject: inject}.needs(HomeServer)
	}
	return []Fault{
		at("map-deleted", "somebody deletes a NamespaceMap", deletedMap).here(soon),
		at("map-edited", "somebody takes a namespace out of a NamespaceMap", editedMap).here(soon),
		at("node-deleted", "somebody deletes a virtual node", deletedNode).here(time.Minute),
		at("namespace-reborn", "an offloaded namespace is finalized by force, and made again", reborn).
			here(2 * time.Minute),
		Fault{
			Name: "forced-during-cut", Does: "a pod of a StatefulSet is deleted by force while its provider is cut off",
			Breaks: Link, Hold: while, Inject: forcedDuringCut,
		}.here(soon).needs(HomeServer),
		Fault{
			Name:   "kinds-reinstalled",
			Does:   "our CRDs are deleted, and with them everything of these kinds; then all is made anew",
			Breaks: Everything, Hold: while, Inject: reinstalled,
		}.here(3 * time.Minute),
	}
}

func atHome(s *Scene) client.Client { return s.Env.Consumer().Client() }

func mapOf(s *Scene) *v1beta1.NamespaceMap {
	return &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1beta1.TenantNamespace(s.Provider), Name: s.Provider,
	}}
}

func deletedMap(ctx context.Context, s *Scene) (Heal, error) {
	return nil, client.IgnoreNotFound(atHome(s).Delete(ctx, mapOf(s)))
}

func editedMap(ctx context.Context, s *Scene) (Heal, error) {
	patch := fmt.Sprintf(`{"spec":{"desiredMapping":{%q:null}}}`, StageNamespace)
	return nil, atHome(s).Patch(ctx, mapOf(s), client.RawPatch("application/merge-patch+json", []byte(patch)))
}

func deletedNode(ctx context.Context, s *Scene) (Heal, error) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.Provider}}
	return nil, client.IgnoreNotFound(atHome(s).Delete(ctx, node))
}

// poll is how often the lab looks whether what it waits for is so.
const poll = 200 * time.Millisecond

// until waits for a condition, as long as the context lives. An error is none.
func until(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (ok bool, _ error) {
		ok, last = done(ctx)
		return ok && last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait until %s: %w", what, errors.Join(err, last))
	}
	return nil
}

// rebornNamespace is the namespace that is finalized by force.
const rebornNamespace = "reborn"

func reborn(ctx context.Context, s *Scene) (Heal, error) {
	c := atHome(s)
	if err := settle(ctx, c); err != nil {
		return nil, err
	}
	namespace := &corev1.Namespace{}
	if err := c.Get(ctx, client.ObjectKey{Name: rebornNamespace}, namespace); err != nil {
		return nil, fmt.Errorf("read namespace: %w", err)
	}
	old := namespace.UID
	if err := c.Delete(ctx, namespace); err != nil {
		return nil, fmt.Errorf("delete namespace: %w", err)
	}
	set, err := kubernetes.NewForConfig(s.Env.Consumer().Config())
	if err != nil {
		return nil, err
	}
	err = until(ctx, "the namespace is gone", func(ctx context.Context) (bool, error) {
		now, err := set.CoreV1().Namespaces().Get(ctx, rebornNamespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && now.UID != old {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		now.Spec.Finalizers = nil
		_, err = set.CoreV1().Namespaces().Finalize(ctx, now, metav1.UpdateOptions{})
		return false, err
	})
	if err != nil {
		return nil, err
	}
	return nil, settle(ctx, c)
}

// settle makes the namespace and what is in it, as far as it is missing, and waits until its pods run.
func settle(ctx context.Context, c client.Client) error {
	const pods = 3
	for _, obj := range []client.Object{
		build.Namespace(rebornNamespace).Obj(),
		build.Offloading(rebornNamespace).Strategy(v1beta1.Remote).Obj(),
		build.Deployment("app").Namespace(rebornNamespace).Replicas(pods).Obj(),
	} {
		err := until(ctx, fmt.Sprintf("%T %s is made", obj, obj.GetName()), func(ctx context.Context) (bool, error) {
			err := client.IgnoreAlreadyExists(c.Create(ctx, obj))
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return until(ctx, "its pods run", func(ctx context.Context) (bool, error) {
		var d appsv1.Deployment
		err := c.Get(ctx, client.ObjectKey{Namespace: rebornNamespace, Name: "app"}, &d)
		return d.Status.ReadyReplicas == pods && d.Status.ObservedGeneration == d.Generation, err
	})
}

// forcedDuringCut deletes by force one pod of the stage's StatefulSet that runs on the provider.
func forcedDuringCut(ctx context.Context, s *Scene) (Heal, error) {
	heal, err := setLink(ctx, s, s.Provider, "cut")
	if err != nil {
		return heal, err
	}
	var pods corev1.PodList
	err = atHome(s).List(ctx, &pods, client.InNamespace(StageNamespace), client.MatchingLabels{"app": "db"})
	if err != nil {
		return heal, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Spec.NodeName != s.Provider {
			continue
		}
		s.Note(history.Note{
			Kind: history.Action, Name: history.ForceDelete, Cluster: env.Consumer, Resource: "pods",
			Object: pod.Namespace + "/" + pod.Name, UID: pod.UID,
		})
		return heal, client.IgnoreNotFound(atHome(s).Delete(ctx, pod, client.GracePeriodSeconds(0),
			client.Preconditions{UID: ptr.To(pod.UID)}))
	}
	return heal, nil // none of them is there
}

// kindsOfOurs are the names of our CRDs.
func kindsOfOurs() []string {
	group := "." + v1beta1.GroupVersion.Group
	return []string{"namespaceoffloadings" + group, "namespacemaps" + group, "virtualnodes" + group}
}

// reinstalled deletes our kinds; afterwards a person does what people do after that: installs them, peers, and offloads
// what was offloaded.
func reinstalled(ctx context.Context, s *Scene) (Heal, error) {
	var offloadings v1beta1.NamespaceOffloadingList
	if err := atHome(s).List(ctx, &offloadings); err != nil {
		return nil, fmt.Errorf("list what is offloaded: %w", err)
	}
	heal := func(ctx context.Context) error {
		if err := until(ctx, "our kinds are gone", func(ctx context.Context) (bool, error) {
			return kindsGone(ctx, atHome(s))
		}); err != nil {
			return err
		}
		return makeAnew(ctx, s, offloadings.Items)
	}
	for _, name := range kindsOfOurs() {
		crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := client.IgnoreNotFound(atHome(s).Delete(ctx, crd)); err != nil {
			return heal, fmt.Errorf("delete kind %s: %w", name, err)
		}
	}
	return heal, nil
}

func kindsGone(ctx context.Context, c client.Client) (bool, error) {
	for _, name := range kindsOfOurs() {
		err := c.Get(ctx, client.ObjectKey{Name: name}, &apiextensionsv1.CustomResourceDefinition{})
		if !apierrors.IsNotFound(err) {
			return false, err
		}
	}
	return true, nil
}

func makeAnew(ctx context.Context, s *Scene, offloadings []v1beta1.NamespaceOffloading) error {
	if err := s.Env.Consumer().Apply(ctx, "crd"); err != nil {
		return err
	}
	for _, away := range s.Env.Providers() {
		again := *s
		again.Provider = away.Name
		if err := until(ctx, "it is peered with again", func(ctx context.Context) (bool, error) {
			err := peer(ctx, &again)
			return err == nil, err
		}); err != nil {
			return err
		}
	}
	for i := range offloadings {
		anew := &v1beta1.NamespaceOffloading{
			ObjectMeta: metav1.ObjectMeta{Namespace: offloadings[i].Namespace, Name: offloadings[i].Name},
			Spec:       offloadings[i].Spec,
		}
		if err := until(ctx, "it is offloaded again", func(ctx context.Context) (bool, error) {
			err := atHome(s).Create(ctx, anew)
			gone := apierrors.IsNotFound(err) // its namespace
			return err == nil || apierrors.IsAlreadyExists(err) || gone, nil
		}); err != nil {
			return err
		}
	}
	return nil
}
