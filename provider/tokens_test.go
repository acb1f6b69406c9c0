package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

func TestTokensOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]func(*tokenShop){
		"a pod that does not ask gets none":             testNoToken,
		"a pod gets a token of its own account":         testToken,
		"a token is for whom and as long as it says":    testAudience,
		"a token is replaced when four fifths are over": testRefresh,
		"a token ends with its pod":                     testTokenEnds,
		"a finished pod has no token":                   testTokenFinished,
		"what is done to a Secret is undone":            testTokenRepaired,
		"after a restart orphans go and others stay":    testTokenRestart,
		"a foreign Secret of that name is left alone":   testTokenForeign,
		"a renewal that home refuses is told once":      testTokenRefused,
		"a pod that changes its mind loses its token":   testTokenTakenBack,
		"every field of the downward API is accepted":   testDownward,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(&tokenShop{shop: w.shop(t, fmt.Sprintf("token-%02d", shops.Add(1)))})
		})
	}
}

// tokenShop is a shop whose agent gives tokens by a clock that the test turns.
type tokenShop struct {
	*shop
	clock  *clocktesting.FakeClock
	events chan string
	stop   func()
}

// start runs the pod loop and its tokens until stop is called.
func (s *tokenShop) start() {
	s.Helper()
	if s.clock == nil {
		s.clock = clocktesting.NewFakeClock(time.Now())
	}
	recorder := events.NewFakeRecorder(1000)
	s.events = recorder.Events
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	p, stopPods := s.agent(func(o *PodsOptions) {
		o.Access, o.Recorder = translate.Access{Host: "home.example", Port: "6443"}, recorder
	}, func(p *Pods) {
		tokens := NewTokens(p, s.clock)
		tokens.TwinReady(s.ns, s.twin)
		go func() { done <- tokens.Start(ctx) }()
	})
	p.TwinReady(s.ns, s.twin)
	s.stop = func() {
		stopPods()
		cancel()
		if err := <-done; err != nil {
			s.Error(err)
		}
		s.stop = func() {}
	}
	s.Cleanup(func() { s.stop() })
}

// asking makes a home pod that asks for tokens of home; home's admission mounts the ordinary one.
func (s *tokenShop) asking(name string, sources ...corev1.VolumeProjection) *corev1.Pod {
	s.Helper()
	b := build.Pod(name).Namespace(s.ns).Node(s.node()).
		Annotation(v1beta1.AnnotationAPIServerSupport, v1beta1.APIServerSupportHome)
	if len(sources) > 0 {
		b = b.Spec(func(spec *corev1.PodSpec) {
			spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: sources}}}}
		})
	}
	return must(s.T, s.home.CoreV1().Pods(s.ns).Create, b.Obj())
}

func (s *tokenShop) secret(home *corev1.Pod) (*corev1.Secret, error) {
	return s.away.CoreV1().Secrets(s.twin).Get(s.Context(), translate.TokenSecret(home.UID), metav1.GetOptions{})
}

// delivered waits for the Secret of a pod until check accepts it.
func (s *tokenShop) delivered(home *corev1.Pod, check func(*corev1.Secret) error) *corev1.Secret {
	s.Helper()
	var out *corev1.Secret
	s.eventually("tokens of "+home.Name, func() (err error) {
		s.clock.Step(100 * time.Millisecond) // what is tried again is tried by this clock
		if out, err = s.secret(home); err != nil || check == nil {
			return err
		}
		return check(out)
	})
	return out
}

// dropped waits until a pod has no Secret.
func (s *tokenShop) dropped(home *corev1.Pod) {
	s.Helper()
	s.eventually("tokens of "+home.Name+" go", func() error {
		s.clock.Step(100 * time.Millisecond)
		if _, err := s.secret(home); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the Secret is there (%w)", err)
		}
		return nil
	})
}

// review asks home whose token it is.
func (s *tokenShop) review(token []byte, audiences ...string) authenticationv1.TokenReviewStatus {
	s.Helper()
	got := must(s.T, s.home.AuthenticationV1().TokenReviews().Create, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: string(token), Audiences: audiences},
	})
	return got.Status
}

// life is for how long a token lives by its own account.
func (s *tokenShop) life(token []byte) time.Duration {
	s.Helper()
	parts := strings.Split(string(token), ".")
	if len(parts) != 3 {
		s.Fatal("that is no token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		s.Fatal(err)
	}
	var claims struct{ Exp, Iat int64 }
	if err := json.Unmarshal(raw, &claims); err != nil {
		s.Fatal(err)
	}
	return time.Duration(claims.Exp-claims.Iat) * time.Second
}

func testNoToken(s *tokenShop) {
	audit, err := s.planes[0].Audit()
	if err != nil {
		s.Fatal(err)
	}
	s.start()
	home := s.create("web")
	if !slices.ContainsFunc(home.Spec.Volumes, func(v corev1.Volume) bool { return v.Projected != nil }) {
		s.Fatal("home's admission mounts no token, so nothing is tested")
	}
	away := s.remote(home)
	s.run(away)
	s.phase(home, corev1.PodRunning)
	if len(away.Spec.Volumes) > 0 || len(away.Spec.Containers[0].Env) > 0 {
		s.Errorf("it mounts %v and is told %v", away.Spec.Volumes, away.Spec.Containers[0].Env)
	}
	if _, err := s.secret(home); !apierrors.IsNotFound(err) {
		s.Errorf("it has a Secret: %v", err)
	}
	all, err := audit.Events()
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range all {
		if e.ObjectRef != nil && e.ObjectRef.Subresource == "token" && e.ObjectRef.Namespace == s.ns {
			s.Error("home was asked for a token")
		}
	}
}

// testToken is what SEC-11 says of a token, but for its end.
func testToken(s *tokenShop) {
	audit, err := s.planes[1].Audit()
	if err != nil {
		s.Fatal(err)
	}
	s.start()
	home := s.asking("web")
	away := s.remote(home)
	secret := s.delivered(home, nil)
	token := secret.Data["token-0"]

	status := s.review(token)
	if !status.Authenticated || status.User.Username != "system:serviceaccount:"+s.ns+":default" {
		s.Errorf("it is of %+v", status)
	}
	if got := status.User.Extra["authentication.kubernetes.io/pod-uid"]; len(got) != 1 || got[0] != string(home.UID) {
		s.Errorf("it is bound to pod %v, not to %s", got, home.UID)
	}
	if life := s.life(token); life != time.Hour {
		s.Errorf("it lives for %s", life)
	}
	if got := away.Spec.Containers[0].Env; len(got) != 2 || got[0].Value != "home.example" || got[1].Value != "6443" {
		s.Errorf("it is pointed to %v", got)
	}
	s.run(away)
	home = s.phase(home, corev1.PodRunning)

	// Nowhere but in the Secret.
	away, err = s.awayPod("web")
	if err != nil {
		s.Fatal(err)
	}
	label := secret.DeepCopy()
	label.Data = nil
	for what, obj := range map[string]any{"home pod": home, "remote pod": away, "Secret's metadata": label} {
		text, err := json.Marshal(obj)
		if err != nil {
			s.Fatal(err)
		}
		if strings.Contains(string(text), string(token)) {
			s.Errorf("the token is in the %s", what)
		}
	}
	// And there before the pod that mounts it.
	var order []string
	all, err := audit.Events()
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range all {
		if e.ObjectRef != nil && e.ObjectRef.Namespace == s.twin && e.Verb == "create" &&
			e.ObjectRef.Subresource == "" && slices.Contains([]string{"pods", "secrets"}, e.ObjectRef.Resource) {
			order = append(order, e.ObjectRef.Resource)
		}
	}
	if !slices.Equal(order, []string{"secrets", "pods"}) {
		s.Errorf("created: %v", order)
	}
}

func testAudience(s *tokenShop) {
	s.start()
	home := s.asking("web",
		corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Path: "vault", Audience: "vault", ExpirationSeconds: ptr.To[int64](900)}},
		corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Path: "long", Audience: "bank", ExpirationSeconds: ptr.To[int64](86400)}})
	s.remote(home)
	data := s.delivered(home, nil).Data
	if len(data) != 3 {
		s.Fatalf("%d tokens", len(data))
	}
	for key, want := range map[string]struct {
		audience string
		life     time.Duration
	}{
		"token-0": {"vault", 15 * time.Minute}, "token-1": {"bank", time.Hour}, "token-2": {"", time.Hour},
	} {
		if got := s.life(data[key]); got != want.life {
			s.Errorf("%s lives for %s", key, got)
		}
		if want.audience == "" {
			continue
		}
		if status := s.review(data[key], want.audience); !status.Authenticated {
			s.Errorf("%s is not for %s: %s", key, want.audience, status.Error)
		}
		if status := s.review(data[key]); status.Authenticated {
			s.Errorf("%s is for home's API server too", key)
		}
	}
}

func testRefresh(s *tokenShop) {
	s.start()
	home := s.asking("web")
	s.run(s.remote(home))
	s.phase(home, corev1.PodRunning)
	first := s.delivered(home, nil)
	s.clock.Step(47 * time.Minute)
	s.never("it is replaced too early", func() error {
		got, err := s.secret(home)
		if err == nil && got.ResourceVersion != first.ResourceVersion {
			return errors.New("the Secret changed")
		}
		return err
	})
	s.clock.Step(time.Minute)
	second := s.delivered(home, func(got *corev1.Secret) error {
		if string(got.Data["token-0"]) == string(first.Data["token-0"]) {
			return errors.New("the token is the same")
		}
		return nil
	})
	if second.UID != first.UID {
		s.Error("the Secret is another one, which a kubelet would have to notice")
	}
	if !s.review(second.Data["token-0"]).Authenticated {
		s.Error("the new token is worth nothing")
	}
}

func testTokenEnds(s *tokenShop) {
	s.start()
	home := s.asking("web")
	away := s.remote(home)
	token := s.delivered(home, nil).Data["token-0"]
	config := rest.AnonymousClientConfig(s.planes[0].Config())
	config.BearerToken = string(token)
	thief, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	whoami := func() error {
		_, err := thief.AuthenticationV1().SelfSubjectReviews().Create(s.Context(),
			&authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		return err
	}
	if err := whoami(); err != nil {
		s.Fatalf("the token is worth nothing while the pod lives: %v", err)
	}
	s.deleteHome("web", ptr.To[int64](0))
	s.gone(s.awayPod, away)
	s.dropped(home)
	s.eventually("home knows the token no more", func() error {
		if err := whoami(); !apierrors.IsUnauthorized(err) {
			return fmt.Errorf("it says %w", err)
		}
		return nil
	})
}

func testTokenFinished(s *tokenShop) {
	s.start()
	home := s.asking("job")
	away := s.remote(home)
	s.run(away)
	s.phase(home, corev1.PodRunning)
	s.delivered(home, nil)
	s.report(away, corev1.PodStatus{Phase: corev1.PodSucceeded})
	s.phase(home, corev1.PodSucceeded)
	s.dropped(home)
}
