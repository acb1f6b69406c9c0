package cidr

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func peering(t *testing.T, away, home []string) Peering {
	t.Helper()
	theirs, err := Parse(away)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Parse(home)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(theirs, ours)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAddressesAsTheOtherClusterReachesThem(t *testing.T) {
	away := []string{"10.244.0.0/16=10.71.0.0/16", "fd00:1::/48=fd00:71::/48"}
	home := []string{"10.244.0.0/16=10.72.0.0/16", "10.73.0.0/20=10.99.16.0/20", "fd00:1::/48=fd00:72::/48"}
	for name, tc := range map[string]struct {
		away, home         []string
		address            string
		wantHome, wantAway string
	}{
		"a flat network changes nothing":       {nil, nil, "10.1.2.3", "10.1.2.3", "10.1.2.3"},
		"a flat network changes nothing, IPv6": {nil, nil, "2001:db8::1", "2001:db8::1", "2001:db8::1"},
		"both clusters use the same range":     {away, home, "10.244.7.9", "10.71.7.9", "10.72.7.9"},
		"both clusters use the same range, IPv6": {
			away, home, "fd00:1::a:b", "fd00:71::a:b", "fd00:72::a:b",
		},
		"what home knows of the provider is its own there": {away, home, "10.71.7.9", "", "10.244.7.9"},
		"a third cluster is reached another way": {
			away, home, "10.73.9.1", "", "10.99.25.1",
		},
		"what nobody translates is what it is to the provider": {away, home, "192.0.2.1", "", "192.0.2.1"},
		"only declared ranges are the provider's": {
			[]string{"10.244.0.0/16=10.244.0.0/16"}, nil, "10.96.0.1", "", "10.96.0.1"},
		"a declared range can keep its addresses": {
			[]string{"10.244.0.0/16=10.244.0.0/16"}, nil, "10.244.0.1", "10.244.0.1", "10.244.0.1"},
		"a family that is not declared is none of the provider's": {
			[]string{"10.244.0.0/16=10.244.0.0/16"}, nil, "fd00::1", "", "fd00::1"},
		"a single address": {
			[]string{"10.0.0.1/32=10.9.9.9/32"}, nil, "10.0.0.1", "10.9.9.9", "10.0.0.1",
		},
		"a size that is no whole byte": {
			[]string{"10.0.16.0/21=10.9.8.0/21"}, nil, "10.0.23.255", "10.9.15.255", "10.0.23.255",
		},
		"the last of a range":              {away, nil, "10.244.255.255", "10.71.255.255", "10.244.255.255"},
		"loopback is nobody's":             {nil, nil, "127.0.0.1", "", "127.0.0.1"},
		"link-local is nobody's":           {nil, nil, "169.254.169.254", "", "169.254.169.254"},
		"link-local is nobody's, IPv6":     {nil, nil, "fe80::1%eth0", "", "fe80::1%eth0"},
		"multicast is nobody's":            {nil, nil, "ff02::1", "", "ff02::1"},
		"IPv4 written as IPv6 is nobody's": {nil, nil, "::ffff:10.1.2.3", "", "::ffff:10.1.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			p, address := peering(t, tc.away, tc.home), netip.MustParseAddr(tc.address)
			got, ok := p.Home(address)
			if want := tc.wantHome; ok != (want != "") || ok && got.String() != want {
				t.Errorf("at home: want %q, got %s, %v", want, got, ok)
			}
			if got := p.Away(address); got.String() != tc.wantAway {
				t.Errorf("at the provider: want %s, got %s", tc.wantAway, got)
			}
		})
	}
}

func TestPairsThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		pairs []string
		says  string
	}{
		"no pair":          {[]string{"10.0.0.0/8"}, "must be CIDR=CIDR"},
		"no CIDR":          {[]string{"10.0.0.0/8=here"}, `"here" is no CIDR`},
		"an address":       {[]string{"10.0.0.1=10.0.0.2"}, `"10.0.0.1" is no CIDR`},
		"bits of a host":   {[]string{"10.1.2.3/16=10.2.0.0/16"}, "the CIDR is 10.1.0.0/16"},
		"two sizes":        {[]string{"10.1.0.0/16=10.2.0.0/24"}, "one family and size"},
		"two families":     {[]string{"10.1.0.0/24=fd00::/24"}, "one family and size"},
		"loopback":         {[]string{"10.0.0.0/8=127.0.0.0/8"}, "in 127.0.0.0/8"},
		"everything":       {[]string{"0.0.0.0/0=0.0.0.0/0"}, "in 0.0.0.0/8"},
		"link-local":       {[]string{"169.254.0.0/16=10.0.0.0/16"}, "in 169.254.0.0/16"},
		"link-local, IPv6": {[]string{"fd00::/16=fe80::/16"}, "in fe80::/10"},
		"loopback, IPv6":   {[]string{"::/64=fd00::/64"}, "in ::/127"},
		"multicast":        {[]string{"10.0.0.0/24=230.0.0.0/24"}, "in 224.0.0.0/3"},
		"IPv4 as IPv6":     {[]string{"::ffff:10.0.0.0/112=fd00::/112"}, "in ::ffff:0.0.0.0/96"},
		"one range to two": {
			[]string{"10.0.0.0/8=11.0.0.0/8", "10.1.0.0/16=12.1.0.0/16"}, "overlaps with",
		},
		"two ranges to one": {
			[]string{"10.0.0.0/16=11.0.0.0/16", "10.1.0.0/16=11.0.0.0/16"}, "overlaps with",
		},
		"the second of two is at fault": {[]string{"10.0.0.0/16=11.0.0.0/16", "x"}, `"x": `},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tc.pairs)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("want an error that says %q, got %v", tc.says, err)
			}
		})
	}
}

func TestPeeringsInWhichAnAddressWouldMeanTwo(t *testing.T) {
	for name, tc := range map[string]struct{ away, home, says string }{
		"at home":         {"10.0.0.0/16=10.1.0.0/16", "10.1.0.0/16=10.2.0.0/16", "at home"},
		"at the provider": {"10.0.0.0/16=10.1.0.0/16", "10.3.0.0/24=10.0.9.0/24", "at the provider"},
	} {
		t.Run(name, func(t *testing.T) {
			away, awayErr := Parse([]string{tc.away})
			home, homeErr := Parse([]string{tc.home})
			if awayErr != nil || homeErr != nil {
				t.Fatal(awayErr, homeErr)
			}
			if _, err := New(away, home); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("want an error that says %q, got %v", tc.says, err)
			}
		})
	}
}

func TestAPairIsWrittenAsItIsRead(t *testing.T) {
	const text = "10.244.0.0/16=10.71.0.0/16"
	m, err := Parse([]string{" 10.244.0.0/16 = 10.71.0.0/16 "})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, m[0].String()); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

// FuzzPeering is any pair of ranges and any address.
func FuzzPeering(f *testing.F) {
	f.Add("10.244.0.0/16=10.71.0.0/16", "10.244.3.4")
	f.Add("fd00::/37=fd01::/37", "fd00::1")
	f.Add("10.0.0.0/8=11.0.0.0/8", "::ffff:10.0.0.1")
	f.Add("1.0.0.0/31=9.9.9.8/31", "1.0.0.1")
	f.Fuzz(func(t *testing.T, pair, text string) {
		m, err := Parse([]string{pair})
		if err != nil {
			return
		}
		p, err := New(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			a = m[0].From.Addr()
		}
		home, ok := p.Home(a)
		if !ok {
			if m[0].From.Contains(a) {
				t.Errorf("%s is in %s, and nobody's", a, m[0].From)
			}
			return
		}
		if !home.IsGlobalUnicast() || home.Is4In6() || !m[0].To.Contains(home) {
			t.Errorf("%s is reached at %s by %s", a, home, pair)
		}
		if back := p.Away(home); back != a {
			t.Errorf("%s is reached at %s, which is %s", a, home, back)
		}
	})
}
