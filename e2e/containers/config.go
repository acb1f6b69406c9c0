package containers

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// settings are what the programs of a node are told.
type settings struct {
	dir     string // with the files below
	pods    string // range of the pods' addresses
	plugins string
	image   string
	cgroup  string // under which all cgroups of the node are
	cert    string
	key     string
	clients string // authority of those who may speak to the kubelet
}

// containerd returns the configuration of containerd. What it keeps is below folders that only the node sees.
func (s settings) containerd() string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # Without CAP_SYS_RESOURCE nobody may make himself less likely to be killed.
  restrict_oom_score_adj = true
  disable_tcp_service = true
  disable_apparmor = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    # Copies instead of overlays: works on every file system, and the image is small.
    snapshotter = "native"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`, s.image, s.plugins, s.dir+"/cni")
}

// cni returns the configuration of the pods' network: a bridge that only the node has.
func (s settings) cni() ([]byte, error) {
	return json.MarshalIndent(map[string]any{
		"cniVersion": "0.4.0", "name": "pods",
		"plugins": []any{map[string]any{
			"type": "bridge", "bridge": "pods", "isGateway": true,
			"ipam": map[string]any{
				"type": "host-local", "ranges": []any{[]any{map[string]any{"subnet": s.pods}}},
				"dataDir": "/run/cni",
			},
		}},
	}, "", "  ")
}

// kubelet returns the configuration of the kubelet. It trusts what the cluster's authority signed, asks the API server
// who may do what, and evicts nobody, however busy the machine is with other things.
func (s settings) kubelet() ([]byte, error) {
	config := kubeletv1beta1.KubeletConfiguration{
		TypeMeta: metav1.TypeMeta{
			APIVersion: kubeletv1beta1.SchemeGroupVersion.String(), Kind: "KubeletConfiguration",
		},
		TLSCertFile: s.cert, TLSPrivateKeyFile: s.key,
		ContainerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
		CgroupDriver:             "cgroupfs", CgroupRoot: "/" + s.cgroup, FailCgroupV1: ptr.To(false),
		FailSwapOn: ptr.To(false), OOMScoreAdj: ptr.To[int32](0),
		EvictionHard: map[string]string{
			"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
			"imagefs.available": "0%", "imagefs.inodesFree": "0%",
		},
		ImageGCHighThresholdPercent:   ptr.To[int32](100),
		LocalStorageCapacityIsolation: ptr.To(false),
		MakeIPTablesUtilChains:        ptr.To(false),
		HealthzPort:                   ptr.To[int32](0),
		ResolverConfig:                ptr.To(s.dir + "/resolv.conf"),
	}
	config.Authentication.Anonymous.Enabled = ptr.To(false)
	config.Authentication.Webhook.Enabled = ptr.To(true)
	config.Authentication.X509.ClientCAFile = s.clients
	config.Authorization.Mode = kubeletv1beta1.KubeletAuthorizationModeWebhook
	return yaml.Marshal(config)
}

// kubeconfig returns the kubelet's access to the API server. The server is reached at an address that is not in its
// certificate, hence the name that is.
func (s settings) kubeconfig(server string, cluster *rest.Config) ([]byte, error) {
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["cluster"] = &clientcmdapi.Cluster{
		Server: server, TLSServerName: "localhost", CertificateAuthorityData: cluster.CAData,
	}
	cfg.AuthInfos["node"] = &clientcmdapi.AuthInfo{ClientCertificate: s.cert, ClientKey: s.key}
	cfg.Contexts["node"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "node"}
	cfg.CurrentContext = "node"
	return clientcmd.Write(*cfg)
}
