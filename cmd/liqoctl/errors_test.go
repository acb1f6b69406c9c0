package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestErrorsTakeOneLine(t *testing.T) {
	request := func(err error) error {
		return fmt.Errorf("read namespace shop: %w", &url.Error{Op: "Get", URL: "https://a.example/api", Err: err})
	}
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	tests := map[string]struct {
		err  error
		want string
	}{
		"nothing listens": {request(refused), "nothing listens there"},
		"no such host": {
			request(&net.DNSError{Err: "no such host", Name: "a.example"}),
			"check the server address",
		},
		"a black hole": {request(context.DeadlineExceeded), "the cluster cannot be reached"},
		"a foreign CA": {request(x509.UnknownAuthorityError{}), "is not the cluster's"},
		"a foreign host": {
			request(x509.HostnameError{Certificate: &x509.Certificate{}, Host: "b"}),
			"not for the address",
		},
		"a bad credential":   {apierrors.NewUnauthorized("no"), "does not accept the credential"},
		"an interrupted one": {request(context.Canceled), "repeating the command completes it"},
		"missing CRDs": {
			&meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "VirtualNode"}}, "our CRDs are missing",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := oneLine(tt.err)
			if !strings.Contains(got, tt.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want one line with %q", got, tt.want)
			}
			if !strings.HasPrefix(got, tt.err.Error()) {
				t.Errorf("%q does not say what happened", got)
			}
		})
	}
	t.Run("what speaks for itself is left alone", func(t *testing.T) {
		if got := oneLine(errors.New("a sentence")); got != "a sentence" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("many lines become one", func(t *testing.T) {
		if got := oneLine(errors.New("a\n\tb\n  c")); got != "a; b; c" {
			t.Errorf("got %q", got)
		}
	})
}

func TestWarnings(t *testing.T) {
	tests := map[string]struct {
		code int
		text string
		want []string
	}{
		"a plain warning": {299, "unknown field", []string{"unknown field"}},
		"a policy's": {
			299, "Validation failed for ValidatingAdmissionPolicy 'liqo-x' with binding 'liqo-y': it's so",
			[]string{"it's so"},
		},
		"another code": {199, "x", nil},
		"no text":      {299, "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			w := warnings(func(text string) { got = append(got, text) })
			w.HandleWarningHeaderWithContext(t.Context(), tt.code, "", tt.text)
			if strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("got %q", got)
			}
		})
	}
}
