// Package demo tells the story of one namespace that extends over several clusters, with the commands that a user would
// type and what they really print. It may be told again and again: every step leaves alone what is there already.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/docs/examples"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	namespace = "shop"
	app       = "web"
	patience  = time.Minute
)

// Story is told on a running, peered playground.
type Story struct {
	Env *env.Env
	Out io.Writer
	// Colour is for terminals.
	Colour bool
	// Playground is how the reader calls the playground, with its --dir if that is not the default.
	Playground string

	twin string // the twins' name
}

// Tell tells the story and stops at the first thing that is not as told.
func (s *Story) Tell(ctx context.Context) error {
	if len(s.Env.Providers()) == 0 {
		return &env.UsageError{Reason: "the demo needs at least one provider"}
	}
	for _, chapter := range []func(context.Context) error{
		s.clusters, s.offload, s.application, s.pods, s.twins, s.services, s.volume, s.logs,
	} {
		if err := chapter(ctx); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	s.next()
	return nil
}

func (s *Story) clusters(ctx context.Context) error {
	s.title("Several clusters, one home",
		"Each has its own etcd, API server, controllers and scheduler. At home, every provider is one more node:",
		"the peering gave our agent an identity there that may do little more than make namespaces of its own.")
	return s.kubectl(ctx, env.Consumer, "get", "nodes", "-L", "liqo.io/type", "-L", "topology.kubernetes.io/region")
}

func (s *Story) offload(ctx context.Context) error {
	s.title("Extend a namespace",
		"From now on pods of namespace shop run on the providers. The scheduler decides it, pod by pod;",
		"no webhook changes anything when pods are created.",
		"(liqoctl and kubectl find home in a shell with: eval \"$("+s.Playground+" env)\")")
	home := s.Env.Consumer().Client()
	err := home.Get(ctx, client.ObjectKey{Name: namespace}, &corev1.Namespace{})
	switch {
	case apierrors.IsNotFound(err):
		if err := s.kubectl(ctx, env.Consumer, "create", "namespace", namespace); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("get namespace: %w", err)
	}
	args := []string{"offload", "namespace", namespace, "--pod-offloading-strategy", "Remote"}
	s.command("liqoctl " + strings.Join(args, " "))
	output, err := s.Env.Liqoctl(ctx, args...)
	s.output(output)
	if err != nil {
		return fmt.Errorf("liqoctl offload: %w", err)
	}
	return s.until(ctx, "twins", func(ctx context.Context) (string, error) {
		var off v1beta1.NamespaceOffloading
		key := client.ObjectKey{Namespace: namespace, Name: v1beta1.OffloadingName}
		if err := home.Get(ctx, key, &off); err != nil {
			return "", err
		}
		if off.Status.OffloadingPhase != v1beta1.PhaseReady {
			return fmt.Sprintf("the offloading is %s", off.Status.OffloadingPhase), nil
		}
		s.twin = off.Status.RemoteNamespaceName
		return "", nil
	})
}

func (s *Story) application(ctx context.Context) error {
	s.title("Run an application",
		"A front end, an API and a database, with their Services, configuration and an Ingress: docs/examples/shop.",
		"All but one line of it would run as it is on a single cluster: the storage class of the database's volume.")
	folder := filepath.Join(filepath.Dir(s.Env.Consumer().Kubeconfig), env.Consumer)
	if err := unpack(examples.Shop, folder); err != nil {
		return fmt.Errorf("write application: %w", err)
	}
	if err := s.kubectl(ctx, env.Consumer, "apply", "-k", filepath.Join(folder, "shop")); err != nil {
		return err
	}
	for _, name := range []string{app, "api"} {
		if err := s.until(ctx, "Deployment "+name, func(ctx context.Context) (string, error) {
			return s.unavailable(ctx, name)
		}); err != nil {
			return err
		}
	}
	_, err := s.database(ctx)
	return err
}

// database waits until the database runs and returns its pod.
func (s *Story) database(ctx context.Context) (*corev1.Pod, error) {
	home, db := s.Env.Consumer().Client(), &corev1.Pod{}
	return db, s.until(ctx, "the database", func(ctx context.Context) (string, error) {
		if err := home.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "db-0"}, db); err != nil {
			return "", err
		}
		if db.Status.Phase != corev1.PodRunning {
			return "db-0 is " + string(db.Status.Phase), nil
		}
		return "", nil
	})
}

// unpack writes the files of a tree into a folder.
func unpack(tree fs.FS, folder string) error {
	return fs.WalkDir(tree, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(folder, filepath.FromSlash(path))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		text, err := fs.ReadFile(tree, path)
		return errors.Join(err, os.WriteFile(to, text, 0o600))
	})
}

// unavailable says what a Deployment still lacks.
func (s *Story) unavailable(ctx context.Context, name string) (string, error) {
	var d appsv1.Deployment
	if err := s.Env.Consumer().Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
		return "", err
	}
	if d.Status.AvailableReplicas < *d.Spec.Replicas || d.Status.ObservedGeneration < d.Generation {
		return fmt.Sprintf("%d of %d pods are available", d.Status.AvailableReplicas, *d.Spec.Replicas), nil
	}
	return "", nil
}

func (s *Story) pods(ctx context.Context) error {
	s.title("All of it is visible at home",
		"The pods are Running, on nodes that are clusters. Their addresses are those of the providers' pod networks.")
	return s.kubectl(ctx, env.Consumer, "-n", namespace, "get", "pods", "-o", "wide")
}

func (s *Story) twins(ctx context.Context) error {
	s.title("Where the pods really are",
		"On each provider the namespace has a twin, "+s.twin+", and in it the pods that this provider runs,",
		"on its own nodes, placed by its own scheduler; and the configuration that these pods read.",
		"Secrets go only where a pod or an Ingress refers to them.")
	for _, provider := range s.Env.Providers() {
		if err := s.kubectl(ctx, provider.Name, "-n", s.twin, "get", "pods,configmaps,secrets"); err != nil {
			return err
		}
	}
	return nil
}

func (s *Story) services(ctx context.Context) error {
	s.title("A Service is the same everywhere",
		"The Service exists in every twin, and its EndpointSlices there list the pods of all clusters:",
		"whoever calls it on one provider reaches the pods on the other. The Ingress is there as well.")
	for _, provider := range s.Env.Providers() {
		if err := s.until(ctx, "endpoints on "+provider.Name, func(ctx context.Context) (string, error) {
			return s.missingEndpoints(ctx, provider)
		}); err != nil {
			return err
		}
		if err := s.kubectl(ctx, provider.Name, "-n", s.twin, "get", "services,endpointslices,ingresses"); err != nil {
			return err
		}
	}
	return nil
}

// missingEndpoints says what the Service's twin still lacks.
func (s *Story) missingEndpoints(ctx context.Context, provider *env.Cluster) (string, error) {
	home, err := endpoints(ctx, s.Env.Consumer(), namespace)
	if err != nil {
		return "", err
	}
	away, err := endpoints(ctx, provider, s.twin)
	if err != nil {
		return "", err
	}
	if home == 0 || away < home {
		return fmt.Sprintf("%d of %d endpoints are there", away, home), nil
	}
	return "", nil
}

// endpoints counts the different addresses behind the Service.
func endpoints(ctx context.Context, c *env.Cluster, namespace string) (int, error) {
	var slices discoveryv1.EndpointSliceList
	err := c.Client().List(ctx, &slices, client.InNamespace(namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: app})
	if err != nil {
		return 0, fmt.Errorf("list endpoints in %s: %w", c.Name, err)
	}
	addresses := map[string]bool{}
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			addresses[endpoint.Addresses[0]] = true
		}
	}
	return len(addresses), nil
}

func (s *Story) volume(ctx context.Context) error {
	s.title("Data stay where they are",
		"The database asked for a volume of class liqo. It was made on the cluster where its pod went, and a volume",
		"at home stands for it, which keeps the pod there: other nodes do not have these data.")
	db, err := s.database(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		s.kubectl(ctx, env.Consumer, "-n", namespace, "get", "pods", "-l", "app=db", "-o", "wide"),
		s.kubectl(ctx, env.Consumer, "-n", namespace, "get", "persistentvolumeclaims,persistentvolumes"),
		s.kubectl(ctx, db.Spec.NodeName, "-n", s.twin, "get", "persistentvolumeclaims"),
	)
}

func (s *Story) logs(ctx context.Context) error {
	s.title("Logs come home",
		"kubectl asks the API server at home, which asks the virtual node, which asks the provider.")
	return s.kubectl(ctx, env.Consumer, "-n", namespace, "logs", "deployment/"+app, "--tail=3")
}

// until waits for a state and says why it does not come; look returns what is missing, or nothing.
func (s *Story) until(ctx context.Context, what string, look func(context.Context) (string, error)) error {
	var missing string
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true,
		func(ctx context.Context) (done bool, err error) {
			missing, err = look(ctx)
			if apierrors.IsNotFound(err) {
				missing, err = err.Error(), nil
			}
			return missing == "", err
		})
	if err != nil {
		return fmt.Errorf("wait for %s (%s): %w", what, missing, err)
	}
	return nil
}
