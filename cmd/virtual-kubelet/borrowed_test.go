package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
)

// lender hands out tokens 1, 2, 3 and so on, unless it must not.
type lender struct {
	minted int
	err    error
}

func (l *lender) mint(context.Context) (string, time.Duration, error) {
	if l.err != nil {
		return "", 0, l.err
	}
	l.minted++
	return strconv.Itoa(l.minted), time.Hour, nil
}

func TestBorrowedTokens(t *testing.T) {
	type step struct {
		after   time.Duration
		refused string // by the API server, before
		err     error
		want    string
	}
	no := errors.New("no")
	for name, steps := range map[string][]step{
		"one lasts": {{0, "", nil, "1"}, {40 * time.Minute, "", nil, "1"}},
		"another comes before it ends": {
			{0, "", nil, "1"}, {48 * time.Minute, "", nil, "2"}, {40 * time.Minute, "", nil, "2"},
		},
		"it is used to its end when there is no other": {
			{0, "", nil, "1"}, {50 * time.Minute, "", no, "1"}, {time.Second, "", nil, "1"},
			{5 * time.Second, "", nil, "2"},
		},
		"none is used beyond its end":     {{0, "", nil, "1"}, {time.Hour, "", no, ""}, {0, "", nil, "2"}},
		"one that is refused is replaced": {{0, "", nil, "1"}, {time.Minute, "1", nil, "2"}, {0, "", nil, "2"}},
		"but not with every request": {
			{0, "", nil, "1"}, {time.Second, "1", nil, "1"}, {4 * time.Second, "", nil, "2"},
		},
		"one that was refused before is not": {{0, "", nil, "1"}, {time.Minute, "0", nil, "1"}},
		"nobody lends any":                   {{0, "", no, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			clk, l := clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0)), &lender{}
			b := &borrowed{mint: l.mint, clock: clk}
			for i, s := range steps {
				clk.Step(s.after)
				if s.refused != "" {
					b.refused(s.refused)
				}
				l.err = s.err
				got, err := b.current(t.Context())
				if got != s.want || (err != nil) != (s.want == "") {
					t.Errorf("step %d: token %q, %v; want %q", i+1, got, err, s.want)
				}
			}
		})
	}
}

func TestRequestsShowTheBorrowedToken(t *testing.T) {
	var shown []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("Authorization"))
		if r.Header.Get("Authorization") == "Bearer 1" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	clk, l := clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0)), &lender{}
	c := &http.Client{Transport: &bearer{identity: &borrowed{mint: l.mint, clock: clk}, next: http.DefaultTransport}}
	ask := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer of bad news")
		resp, err := c.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	for range 2 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		clk.Step(notBefore)
	}
	if diff := cmp.Diff([]string{"Bearer 1", "Bearer 2"}, shown); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	clk.Step(2 * time.Hour)
	l.err = errors.New("nothing is lent")
	if err := ask(); !errors.Is(err, l.err) || len(shown) != 2 {
		t.Errorf("%v, and the API server was asked %d times; want the refusal, and 2", err, len(shown))
	}
}

func TestOnesOwnCredentialStaysOutsideWhatIsBorrowed(t *testing.T) {
	accounts := fake.NewClientset()
	asked := ""
	accounts.PrependReactor("create", "serviceaccounts",
		func(a clienttesting.Action) (bool, runtime.Object, error) {
			create, ok := a.(clienttesting.CreateActionImpl)
			if !ok {
				return false, nil, nil
			}
			asked = create.GetNamespace() + "/" + create.Name + "/" + create.GetSubresource()
			return true, &authenticationv1.TokenRequest{
				Spec:   authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](600)},
				Status: authenticationv1.TokenRequestStatus{Token: "milan's"},
			}, nil
		})
	around := 0
	home := &rest.Config{Host: "https://home", BearerToken: "our own", BearerTokenFile: "file", QPS: 7}
	home.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		around++
		return rt
	})
	s := &shared{opts: defaults(), home: home, accounts: accounts}
	config, err := s.as(t.Context(), "milan")
	if err != nil {
		t.Fatal(err)
	}
	if want := "liqo-tenant-milan/virtual-kubelet/token"; asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
	if config.BearerToken != "" || config.BearerTokenFile != "" || config.Host != home.Host || config.QPS != home.QPS {
		t.Errorf("reaches home as %v", config)
	}
	if config.WrapTransport(http.DefaultTransport); around != 1 {
		t.Errorf("what stands around all transports stands around %d of these", around)
	}
}
