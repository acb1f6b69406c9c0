package peering_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/reflection/remote"
)

var epoch = time.Unix(1_800_000_000, 0)

// issue returns a token of 100 minutes that is issued at a minute of the story.
func issue(minute int) string {
	at := epoch.Add(time.Duration(minute) * time.Minute)
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d}`, at.Unix(), at.Add(100*time.Minute).Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
}

// stage is a Renewer before fakes: the provider issues tokens by the story's clock.
type stage struct {
	*peering.Renewer
	clock    *clocktesting.FakeClock
	tokens   *holder
	requests int
	refuse   error // by the provider
	conflict error // by home, once
	registry *prometheus.Registry
}

func secretWith(t *testing.T, token string) *corev1.Secret {
	t.Helper()
	kubeconfig, err := remote.Credential{
		Server: "https://provider.example", CA: authority(t), Token: token,
	}.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "liqo-tenant-b", Name: "kubeconfig-b"},
		Data:       map[string][]byte{v1beta1.KubeconfigKey: kubeconfig},
	}
}

// authority returns a certificate that some server could have.
func authority(t *testing.T) []byte {
	t.Helper()
	pem, _, err := cert.GenerateSelfSignedCertKey("provider.example", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pem
}

func newStage(t *testing.T, stored string) *stage {
	t.Helper()
	s := &stage{
		clock: clocktesting.NewFakeClock(epoch), tokens: &holder{token: stored}, registry: prometheus.NewRegistry(),
	}
	home := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(secretWith(t, stored)).
		WithInterceptorFuncs(interceptor.Funcs{Update: func(
			ctx context.Context, c client.WithWatch, object client.Object, opts ...client.UpdateOption,
		) error {
			if err := s.conflict; err != nil {
				s.conflict = nil
				return err
			}
			return c.Update(ctx, object, opts...)
		}}).Build()
	away := fake.NewClientBuilder().WithScheme(scheme(t)).
		WithInterceptorFuncs(interceptor.Funcs{SubResourceCreate: func(
			_ context.Context, _ client.Client, sub string, account, request client.Object,
			_ ...client.SubResourceCreateOption,
		) error {
			return s.issue(t, sub, account, request)
		}}).Build()
	s.Renewer = &peering.Renewer{
		Home: home, Away: away, Secret: client.ObjectKey{Namespace: "liqo-tenant-b", Name: "kubeconfig-b"}, HomeID: "a",
		Tokens: s.tokens, TTL: 100 * time.Minute, Clock: s.clock, Jitter: func() float64 { return 0.5 },
		Metrics: peering.NewMetrics(s.registry, "b"),
	}
	return s
}

func (s *stage) issue(t *testing.T, sub string, account, request client.Object) error {
	s.requests++
	if s.refuse != nil {
		return s.refuse
	}
	asked := fmt.Sprintf("%s of %s/%s", sub, account.GetNamespace(), account.GetName())
	if want := "token of liqo-tenant-a/liqo-consumer"; asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
	tr := request.(*authenticationv1.TokenRequest)
	if *tr.Spec.ExpirationSeconds != 6000 {
		t.Errorf("asked for %d seconds", *tr.Spec.ExpirationSeconds)
	}
	tr.Status.Token = issue(int(s.clock.Since(epoch).Minutes()))
	return nil
}

func (s *stage) stored(t *testing.T) string {
	t.Helper()
	var secret corev1.Secret
	if err := s.Home.Get(t.Context(), s.Secret, &secret); err != nil {
		t.Fatal(err)
	}
	credential, err := remote.Parse(secret.Data[v1beta1.KubeconfigKey])
	if err != nil {
		t.Fatal(err)
	}
	return credential.Token
}

func TestRenewer(t *testing.T) {
	tests := map[string]struct {
		minute  int    // of the story; the stored token is issued at 0, renewed at 80, expires at 100
		used    string // token in use, if not the stored one
		jitter  float64
		refuse  error
		confl   error
		want    int // minute at which the token in use then was issued
		wantSto int // the same of the stored one
		wantIn  time.Duration
		wantErr string
		wantReq int
	}{
		"a young token stays, and is looked at every minute": {minute: 10, jitter: 0.5, wantIn: time.Minute},
		"shortly before it is due it is looked at when due":  {minute: 80, jitter: 0.6, wantIn: time.Minute},
		"a due token is renewed, used and stored": {
			minute: 81, jitter: 0.5, want: 81, wantSto: 81, wantIn: time.Minute, wantReq: 1,
		},
		"jitter makes it due earlier": {
			minute: 76, jitter: 0, want: 76, wantSto: 76, wantIn: time.Minute, wantReq: 1,
		},
		"jitter makes it due later": {minute: 83, jitter: 0.99, wantIn: time.Minute},
		"the token in the Secret is newer: it is taken": {
			minute: 10, used: issue(-50), jitter: 0.5, wantIn: time.Minute,
		},
		"the token in use is newer: it stays, and is stored": {
			minute: 10, used: issue(5), jitter: 0.5, want: 5, wantSto: 5, wantIn: time.Minute,
		},
		"the token in use is newer, and cannot be stored: it is said, and tried again soon": {
			minute: 10, used: issue(5), jitter: 0.5, confl: errors.New("conflict"), want: 5, wantErr: "conflict",
		},
		"a provider that refuses leaves everything as it was": {
			minute: 81, jitter: 0.5, refuse: errors.New("no route"), wantErr: "no route", wantReq: 1,
		},
		"a Secret that changed meanwhile is not overwritten": {
			minute: 81, jitter: 0.5, confl: errors.New("conflict"), want: 81, wantErr: "conflict", wantReq: 1,
		},
		"an expired token says what to do": {minute: 101, jitter: 0.5, wantErr: "run liqoctl peer again"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, issue(0))
			s.refuse, s.conflict = tt.refuse, tt.confl
			s.Jitter = func() float64 { return tt.jitter }
			if tt.used != "" {
				s.tokens.token = tt.used
			}
			s.clock.SetTime(epoch.Add(time.Duration(tt.minute) * time.Minute))
			in, err := s.Renew(t.Context())
			if err != nil {
				in = 0 // nobody reads it
			}
			if (tt.wantErr == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
			got := []any{s.tokens.token, s.stored(t), in, s.requests}
			want := []any{issue(tt.want), issue(tt.wantSto), tt.wantIn, tt.wantReq}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("token in use, stored, next look, requests (-want,+got):\n%s", diff)
			}
		})
	}
}

// TestRenewerStoresWhatItMissed: a new token that home could not take is there before the old one expires.
func TestRenewerStoresWhatItMissed(t *testing.T) {
	s := newStage(t, issue(0))
	s.conflict = errors.New("home is away")
	s.clock.SetTime(epoch.Add(81 * time.Minute))
	if _, err := s.Renew(t.Context()); err == nil {
		t.Fatal("no error, so no retry")
	}
	s.clock.Step(time.Minute)
	if _, err := s.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{issue(81), issue(81), 1}, []any{s.tokens.token, s.stored(t), s.requests}); diff != "" {
		t.Errorf("token in use, stored, requests (-want,+got):\n%s", diff)
	}
}

func TestRenewerRefusesWhatNeverExpires(t *testing.T) {
	for name, token := range map[string]string{
		"no web token":   "opaque",
		"not base64":     "a.%.c",
		"not JSON":       "a." + base64.RawURLEncoding.EncodeToString([]byte("{")) + ".c",
		"without expiry": "a." + base64.RawURLEncoding.EncodeToString([]byte(`{"iat":1}`)) + ".c",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newStage(t, token).Renew(t.Context())
			if err == nil || !strings.Contains(err.Error(), "expires") {
				t.Errorf("got %v", err)
			}
			if _, bounded := peering.TokenExpiry(token); bounded {
				t.Error("it is said to expire")
			}
		})
	}
}

// TestRenewerWaits runs the loop: failures are tried again after growing delays of at most 30 s, and then it goes on.
func TestRenewerWaits(t *testing.T) {
	s := newStage(t, issue(0))
	s.refuse = errors.New("down")
	s.clock.SetTime(epoch.Add(81 * time.Minute))
	ctx, stop := context.WithCancel(log.IntoContext(t.Context(), logr.Discard()))
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	for n, delay := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		awaitTimer(t, s.clock)
		if s.requests != n+1 {
			t.Fatalf("%d requests before delay %d", s.requests, n)
		}
		s.clock.Step(delay*time.Second - time.Millisecond)
		if !s.clock.HasWaiters() {
			t.Fatalf("delay %d was shorter than %ds", n, delay)
		}
		if n == 6 {
			s.refuse = nil
		}
		s.clock.Step(time.Millisecond)
	}
	awaitTimer(t, s.clock)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := s.stored(t); got == issue(0) {
		t.Error("the token was not renewed")
	}
	want := `
# HELP twinspace_peering_token_renewals_total Attempts to renew the token for the provider, by result (success, error).
# TYPE twinspace_peering_token_renewals_total counter
twinspace_peering_token_renewals_total{remote_cluster_id="b",result="error"} 7
twinspace_peering_token_renewals_total{remote_cluster_id="b",result="success"} 1
`
	const name = "twinspace_peering_token_renewals_total"
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), name); err != nil {
		t.Error(err)
	}
}

func awaitTimer(t *testing.T, c *clocktesting.FakeClock) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !c.HasWaiters() {
		select {
		case <-deadline:
			t.Fatal("it does not wait")
		case <-tick.C:
		}
	}
}
