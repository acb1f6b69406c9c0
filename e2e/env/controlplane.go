package env

import (
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/manifests"
)

// component returns how a component of the cluster is run.
func (c *Cluster) component(name string) (component, error) {
	builders := map[string]func() component{Etcd: c.etcd, APIServer: c.apiServer}
	if !c.env.opts.Bare {
		builders[ControllerManager], builders[Scheduler], builders[Kwok] = c.controllerManager, c.scheduler, c.kwok
	}
	if c.hasLink() {
		builders[LinkProxy] = c.linkProxy
	}
	if c.index == 0 && c.env.opts.Peer {
		c.ours(builders)
	}
	build, ok := builders[name]
	if !ok {
		return component{}, &UsageError{fmt.Sprintf("cluster %s has no component %q", c.Name, name)}
	}
	return build(), nil
}

func (c *Cluster) cert(name string) string { return c.path("pki", name+".crt") }
func (c *Cluster) key(name string) string  { return c.path("pki", name+".key") }

func (c *Cluster) etcd() component {
	client, peer := "https://"+address(c.ports[Etcd]), "http://"+address(c.ports[portEtcdPeer])
	return component{
		cluster: c, name: Etcd, program: "playground", ports: []int{c.ports[Etcd], c.ports[portEtcdPeer]},
		args: []string{
			"etcd",
			"--name=" + c.Name,
			"--data-dir=" + c.path("etcd"),
			"--unsafe-no-fsync", // nothing here is worth a disk's time
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=" + c.Name + "=" + peer,
			"--cert-file=" + c.cert(certServing), "--key-file=" + c.key(certServing),
			"--client-cert-auth", "--trusted-ca-file=" + c.cert(certCA),
			"--quota-backend-bytes=4294967296",
			"--log-level=warn",
		},
	}
}

func (c *Cluster) apiServer() component {
	return component{
		cluster: c, name: APIServer, program: "playground", ports: []int{c.ports[APIServer]},
		health: c.Server() + "/readyz",
		args: append([]string{
			"kube-apiserver",
			"--etcd-servers=https://" + address(c.ports[Etcd]),
			"--etcd-cafile=" + c.cert(certCA),
			"--etcd-certfile=" + c.cert(certEtcdClient), "--etcd-keyfile=" + c.key(certEtcdClient),
			"--bind-address=" + loopback, "--advertise-address=" + loopback,
			fmt.Sprintf("--secure-port=%d", c.ports[APIServer]),
			"--endpoint-reconciler-type=none", // Endpoints refuse loopback addresses
			"--service-cluster-ip-range=" + c.services.String(),
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged",
			"--kubelet-preferred-address-types=InternalIP",
			"--audit-policy-file=" + c.path("audit-policy.yaml"),
			"--audit-log-path=" + c.auditPath(),
			"--audit-log-format=json", "--audit-log-maxsize=1000", "--audit-log-maxbackup=1",
			"--profiling=false",
		}, append(c.apiServerIdentities(), c.env.opts.APIServer...)...),
	}
}

// apiServerIdentities are the flags that say whom the API server believes, and who it is.
func (c *Cluster) apiServerIdentities() []string {
	flags := []string{
		"--tls-cert-file=" + c.cert(certServing), "--tls-private-key-file=" + c.key(certServing),
		"--client-ca-file=" + c.cert(certCA),
		"--requestheader-client-ca-file=" + c.cert(certFrontProxyCA),
		"--requestheader-allowed-names=" + certFrontProxy,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.cert(certFrontProxy), "--proxy-client-key-file=" + c.key(certFrontProxy),
		"--kubelet-client-certificate=" + c.cert(certKubelet), "--kubelet-client-key=" + c.key(certKubelet),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.path("pki", keyTokens+".pub"),
		"--service-account-signing-key-file=" + c.key(keyTokens),
	}
	if c.index == 0 && !c.env.opts.Bare {
		// Agents have their certificates signed, as kubelets do; without a controller manager nobody signs.
		flags = append(flags, "--kubelet-certificate-authority="+c.cert(certCA))
	}
	return flags
}

func (c *Cluster) controllerManager() component {
	kubeconfig := c.path(ControllerManager + suffixKubeconfig)
	return component{
		cluster: c, name: ControllerManager, program: "playground", ports: []int{c.ports[ControllerManager]},
		health: "https://" + address(c.ports[ControllerManager]) + "/healthz",
		args: append([]string{
			"kube-controller-manager",
			"--kubeconfig=" + kubeconfig,
			"--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=" + loopback, fmt.Sprintf("--secure-port=%d", c.ports[ControllerManager]),
			"--tls-cert-file=" + c.cert(certServing), "--tls-private-key-file=" + c.key(certServing),
			"--cluster-signing-cert-file=" + c.cert(certCA), "--cluster-signing-key-file=" + c.key(certCA),
			"--root-ca-file=" + c.cert(certCA),
			"--service-account-private-key-file=" + c.key(keyTokens),
			"--use-service-account-credentials",
			"--cluster-name=" + c.Name,
			"--cluster-cidr=" + c.pods.String(), "--service-cluster-ip-range=" + c.services.String(),
			"--allocate-node-cidrs=false", // nodes are made with theirs
			"--enable-hostpath-provisioner",
			"--leader-elect=false", // there is one, and it should not wait for a dead one's lease
			// The default of 20 requests a second would be what tests with hundreds of pods measure.
			"--kube-api-qps=300", "--kube-api-burst=600",
			"--profiling=false",
		}, c.env.opts.ControllerManager...),
	}
}

func (c *Cluster) scheduler() component {
	kubeconfig := c.path(Scheduler + suffixKubeconfig)
	program, args := "playground", []string{"kube-scheduler"}
	if c.index == 0 && c.env.opts.hasScheduler() {
		program, args = ourScheduler, nil
	}
	return component{
		cluster: c, name: Scheduler, program: program, ports: []int{c.ports[Scheduler]},
		health: "https://" + address(c.ports[Scheduler]) + "/readyz",
		args: append(args,
			"--config="+c.path("scheduler.yaml"),
			"--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
			"--bind-address="+loopback, fmt.Sprintf("--secure-port=%d", c.ports[Scheduler]),
			"--tls-cert-file="+c.cert(certServing), "--tls-private-key-file="+c.key(certServing),
		),
	}
}

// auditPolicy writes down every request's metadata once, when it is answered or its watch begins. Health checks are
// nobody's work.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/metrics"]
- level: Metadata
`

// configuration writes the files that the control plane's flags refer to.
func (c *Cluster) configuration() error {
	if err := os.MkdirAll(c.path(), 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := writeFile(c.path("audit-policy.yaml"), []byte(auditPolicy)); err != nil {
		return err
	}
	config, err := c.schedulerConfig()
	if err != nil {
		return err
	}
	return writeFile(c.path("scheduler.yaml"), config)
}

// schedulerConfig is the configuration that we ship for the default scheduler. Providers have it too unless they are
// plain, though nothing of ours is installed there: it must not get in the way where our kinds are missing.
func (c *Cluster) schedulerConfig() ([]byte, error) {
	config, err := manifests.File("scheduler/replace-default.yaml")
	if err != nil {
		return nil, err
	}
	kubeconfig := Scheduler + suffixKubeconfig
	if c.index == 0 {
		kubeconfig = pluginKubeconfig
	} else if c.env.opts.PlainProviders {
		delete(config[0].Object, "profiles")
	}
	for field, value := range map[string]any{
		"clientConnection.kubeconfig": c.path(kubeconfig), "leaderElection.leaderElect": false,
	} {
		if err := unstructured.SetNestedField(config[0].Object, value, strings.Split(field, ".")...); err != nil {
			return nil, fmt.Errorf("configure scheduler: %w", err)
		}
	}
	out, err := yaml.Marshal(config[0].Object)
	if err != nil {
		return nil, fmt.Errorf("configure scheduler: %w", err)
	}
	return out, nil
}
