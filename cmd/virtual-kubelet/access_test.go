package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/reflection"
)

func TestWhereProvidersReachHome(t *testing.T) {
	const url = "--home-api-server"
	for name, tc := range map[string]struct {
		args []string
		want translate.Access
		says string
	}{
		"not at all":    {nil, translate.Access{Default: "disabled"}, ""},
		"for some pods": {[]string{url, "https://api.example:6443"}, access("disabled", "api.example", "6443"), ""},
		"for all pods": {
			[]string{url, "https://api.example/", support, "home"}, access("home", "api.example", "443"), "",
		},
		"by an address":    {[]string{url, "https://[fd00::1]:6443"}, access("disabled", "fd00::1", "6443"), ""},
		"nobody knows how": {[]string{support, "home"}, translate.Access{}, "needs --home-api-server"},
		"the other one": {
			[]string{support, "remote"}, translate.Access{}, `must be disabled or home, not "remote"`,
		},
		"in the open":       {[]string{url, "http://api.example"}, translate.Access{}, `not "http://api.example"`},
		"nowhere":           {[]string{url, "https://"}, translate.Access{}, "must be https://HOST"},
		"a path":            {[]string{url, "https://api.example/home"}, translate.Access{}, "must be https://HOST"},
		"with a password":   {[]string{url, "https://a:b@api.example"}, translate.Access{}, "must be https://HOST"},
		"a name, no URL":    {[]string{url, "api.example:6443"}, translate.Access{}, "must be https://HOST"},
		"something else":    {[]string{url, "://"}, translate.Access{}, "must be https://HOST"},
		"said in one place": {[]string{url, "https://api.example?x=y"}, translate.Access{}, "must be https://HOST"},
	} {
		t.Run(name, func(t *testing.T) {
			opts, flags := defaults(), pflag.NewFlagSet("", pflag.ContinueOnError)
			opts.addFlags(flags)
			good := []string{"--cluster-id", "rome", "--remote-cluster-id", "milan", "--node-ip", "10.0.0.1"}
			if err := flags.Parse(append(good, tc.args...)); err != nil {
				t.Fatal(err)
			}
			err := opts.validate()
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("want %q, got %v", tc.says, err)
			}
			got, _ := opts.access()
			if diff := cmp.Diff(tc.want, got); err == nil && diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

const support = "--api-server-support"

func access(support, host, port string) translate.Access {
	return translate.Access{Default: support, Host: host, Port: port}
}

// Pods and what is reflected for them must agree on a name, and neither feature knows the other.
func TestPodsFindTheReflectedCertificateAuthority(t *testing.T) {
	ca := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt"}}
	if want, got := reflection.ConfigMaps().Name(ca, "home"), translate.RootCA("home"); got != want {
		t.Errorf("reflected as %s, looked for as %s", want, got)
	}
}
