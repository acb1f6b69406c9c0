package provider

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
)

// someAuthority returns a certificate that signs others, as PEM.
func someAuthority(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func clientCAs(bundle string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication"},
		Data:       map[string]string{"client-ca-file": bundle},
	}
}

func TestWhoseCertificatesAreAccepted(t *testing.T) {
	first, second := someAuthority(t), someAuthority(t)+someAuthority(t)
	for name, c := range map[string]struct {
		before, now string
		lost        error // what reading fails with by now
		want        string
		fails       bool
	}{
		"at the start":                           {now: first, want: first},
		"after a rotation":                       {before: first, now: second, want: second},
		"nothing changed":                        {before: first, now: first, want: first},
		"what is no certificate changes nothing": {before: first, now: "x", want: first, fails: true},
		"nor does an outage":                     {before: first, lost: errors.New("cut"), want: first, fails: true},
		"nothing is accepted before it is known": {lost: errors.New("cut"), fails: true},
		"nor when there is none":                 {now: "", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			home := fake.NewClientset(clientCAs(c.before))
			ca := &clientCA{home: home}
			if c.before != "" {
				if err := ca.read(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			home.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, clientCAs(c.now), c.lost
			})
			if err := ca.read(t.Context()); (err != nil) != c.fails {
				t.Errorf("error %v, want one: %v", err, c.fails)
			}
			if got := string(ca.CurrentCABundleContent()); got != c.want {
				t.Errorf("known are %q, want %q", got, c.want)
			}
			if options, known := ca.VerifyOptions(); known != (c.want != "") || known && options.Roots == nil {
				t.Errorf("verified is by %v, %v", options, known)
			}
		})
	}
}

func TestAuthoritiesAreReadAgain(t *testing.T) {
	reads, first := make(chan struct{}, 10), true
	bundle := someAuthority(t)
	home := fake.NewClientset()
	home.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		reads <- struct{}{}
		if first {
			first = false
			return true, nil, errors.New("cut")
		}
		return true, clientCAs(bundle), nil
	})
	clk := clocktesting.NewFakeClock(time.Now())
	ca := &clientCA{home: home, clock: clk}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); ca.run(ctx) }()
	for _, pause := range []time.Duration{0, clientCARetry, clientCAInterval} { // sooner after a failure
		asleep := func(context.Context) (bool, error) { return pause == 0 || clk.HasWaiters(), nil }
		if err := wait.PollUntilContextTimeout(ctx, time.Millisecond, converges, true, asleep); err != nil {
			t.Fatal(err)
		}
		clk.Step(pause)
		select {
		case <-reads:
		case <-time.After(converges):
			t.Fatalf("not read again after %s", pause)
		}
	}
	cancel()
	<-over
}
