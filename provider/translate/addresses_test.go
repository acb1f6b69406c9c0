package translate

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// reached translates one range of each family, and knows no other addresses of the provider.
func reached(away netip.Addr) (netip.Addr, bool) {
	home, ok := map[string]string{
		"10.244.0.9": "10.71.0.9", "10.244.0.10": "10.71.0.10", "fd00:1::9": "fd00:71::9",
		"10.244.0.11": "127.0.0.1", // a mistake that must not get through
	}[away.String()]
	if !ok {
		return netip.Addr{}, false
	}
	return netip.MustParseAddr(home), true
}

func TestPodIPsAsHomeReachesThem(t *testing.T) {
	for name, tc := range map[string]struct {
		podIP string
		from  []string
		want  []string
		says  string
	}{
		"both families": {
			podIP: "10.244.0.9", from: []string{"10.244.0.9", "fd00:1::9"}, want: []string{"10.71.0.9", "fd00:71::9"},
		},
		"only the old field": {podIP: "10.244.0.9", want: []string{"10.71.0.9"}},
		"one of a family":    {from: []string{"10.244.0.9", "10.244.0.10"}, want: []string{"10.71.0.9"}},
		"the first that can be one": {
			from: []string{"10.96.0.1", "10.244.0.10"}, want: []string{"10.71.0.10"},
		},
		"none that is home's, or nobody's": {
			podIP: "10.96.0.1", from: []string{"10.96.0.1", "169.254.169.254"},
			says: "; its address 10.96.0.1 is none that pods of the provider may have",
		},
		"none that would be reached at loopback": {podIP: "10.244.0.11", says: "; its address 10.244.0.11 is none"},
		"none yet":                               {},
	} {
		t.Run(name, func(t *testing.T) {
			away := pod(nil)
			away.Status.PodIP = tc.podIP
			for _, ip := range tc.from {
				away.Status.PodIPs = append(away.Status.PodIPs, corev1.PodIP{IP: ip})
			}
			got := View{Address: reached, Now: now}.Status(pod(nil), away)
			var ips []string
			for _, ip := range got.PodIPs {
				ips = append(ips, ip.IP)
			}
			if diff := cmp.Diff(tc.want, ips); diff != "" || got.PodIP != first(tc.want) {
				t.Errorf("podIP %q; -want,+got:\n%s", got.PodIP, diff)
			}
			message := find(got.Conditions, Offloaded).Message
			if tc.says == "" && strings.Contains(message, "address") || !strings.Contains(message, tc.says) {
				t.Errorf("want %q in %q", tc.says, message)
			}
		})
	}
}

func TestWhatAProviderSaysForAnAddressIsCut(t *testing.T) {
	away := pod(nil)
	away.Status.PodIP = strings.Repeat("x", 1<<20)
	got := View{Address: reached, Now: now}.Status(pod(nil), away)
	if message := find(got.Conditions, Offloaded).Message; len(message) > maxMessage {
		t.Errorf("%d bytes", len(message))
	}
}
