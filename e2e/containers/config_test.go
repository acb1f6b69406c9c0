package containers

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"
)

func example() settings {
	return settings{
		dir: "/tmp/node", pods: "10.12.0.0/16", plugins: "/usr/lib/cni", image: "registry.example/app:1",
		cgroup: "twinspace-1", cert: "/tmp/node.crt", key: "/tmp/node.key", clients: "/tmp/clients.crt",
	}
}

func TestContainerdIsToldWhereThingsAre(t *testing.T) {
	got := example().containerd()
	for _, want := range []string{
		`sandbox_image = "registry.example/app:1"`,
		`bin_dir = "/usr/lib/cni"`,
		`conf_dir = "/tmp/node/cni"`,
		"restrict_oom_score_adj = true",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
}

func TestPodsGetAddressesOfTheClustersRange(t *testing.T) {
	raw, err := example().cni()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Plugins []struct {
			Type string
			IPAM struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Plugins) != 1 || got.Plugins[0].Type != "bridge" ||
		got.Plugins[0].IPAM.Ranges[0][0].Subnet != "10.12.0.0/16" {
		t.Errorf("got %s", raw)
	}
}

// The kubelet refuses what it does not know, so what it is told is read here as strictly.
func TestTheKubeletLetsNobodyInWhoIsNotKnown(t *testing.T) {
	raw, err := example().kubelet()
	if err != nil {
		t.Fatal(err)
	}
	var got kubeletv1beta1.KubeletConfiguration
	if err := yaml.UnmarshalStrict(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.Authentication.Anonymous.Enabled == nil || *got.Authentication.Anonymous.Enabled {
		t.Error("it lets in whoever comes")
	}
	if got.Authorization.Mode != kubeletv1beta1.KubeletAuthorizationModeWebhook {
		t.Errorf("it authorizes by %s", got.Authorization.Mode)
	}
	want := []string{"/tmp/clients.crt", "/tmp/node.crt", "/tmp/node.key", "/twinspace-1", "cgroupfs"}
	have := []string{
		got.Authentication.X509.ClientCAFile, got.TLSCertFile, got.TLSPrivateKeyFile, got.CgroupRoot, got.CgroupDriver,
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	if got.ReadOnlyPort != 0 || got.HealthzPort == nil || *got.HealthzPort != 0 {
		t.Error("it has ports that nobody asked for")
	}
}

func TestTheKubeletKnowsTheServerByANameOfItsCertificate(t *testing.T) {
	s := example()
	access := &rest.Config{TLSClientConfig: rest.TLSClientConfig{CAData: []byte("an authority")}}
	raw, err := s.kubeconfig("https://198.18.1.1:6443", access)
	if err != nil {
		t.Fatal(err)
	}
	got, err := clientcmd.Load(raw)
	if err != nil {
		t.Fatal(err)
	}
	context := got.Contexts[got.CurrentContext]
	server, user := got.Clusters[context.Cluster], got.AuthInfos[context.AuthInfo]
	if server.Server != "https://198.18.1.1:6443" || server.TLSServerName != "localhost" ||
		string(server.CertificateAuthorityData) != "an authority" {
		t.Errorf("it speaks to %+v", server)
	}
	if user.ClientCertificate != s.cert || user.ClientKey != s.key {
		t.Errorf("it identifies by %+v", user)
	}
}
