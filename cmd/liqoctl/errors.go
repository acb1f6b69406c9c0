package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
)

// oneLine puts an error in one line that says what is wrong and what to do.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
	if advice := advise(err); advice != "" {
		text += ": " + advice
	}
	return text
}

// advise says what to do about errors of clients and servers, which do not say so themselves.
func advise(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		dns      *net.DNSError
		request  *url.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted; repeating the command completes it"
	case apierrors.IsUnauthorized(err):
		return "the cluster does not accept the credential of this kubeconfig; get a new one"
	case meta.IsNoMatchError(err):
		return "our CRDs are missing on this cluster; install them with kubectl apply -k manifests/overlays/default"
	case errors.As(err, &unknown):
		return "certificate-authority-data of this kubeconfig is not the cluster's"
	case errors.As(err, &hostname):
		return "the cluster's certificate is not for the address in this kubeconfig"
	case errors.As(err, &dns):
		return "check the server address in the kubeconfig"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there; check the server address in the kubeconfig, and that the cluster is up"
	case errors.As(err, &request):
		return "the cluster cannot be reached; check the server address in the kubeconfig, and the network"
	}
	return ""
}

// unreachable says that no API server answered.
func unreachable(err error) bool {
	var request *url.Error
	return errors.As(err, &request)
}

// checkConfig refuses what would fail later with words that do not say why: plain text, and a client certificate that
// has expired, which servers do not tell from a wrong one.
func checkConfig(config *rest.Config) error {
	if strings.HasPrefix(config.Host, "http://") {
		return fmt.Errorf("the server address %s must begin with https://, or the credential would travel in the clear",
			config.Host)
	}
	block, _ := pem.Decode(config.CertData)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err == nil && time.Now().After(cert.NotAfter) {
		return fmt.Errorf("the client certificate expired on %s: get a new kubeconfig",
			cert.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// checkLendable refuses ways to a provider that must not be handed on to an agent, which shows a token there.
func checkLendable(config *rest.Config) error {
	switch {
	case config.Insecure:
		return errors.New("insecure-skip-tls-verify is not allowed for a provider, whose agent must know whom it " +
			"shows " +
			"its token to: put certificate-authority-data in the kubeconfig instead")
	case config.Proxy != nil:
		return errors.New("proxy-url is not allowed for a provider, since it would send the agent's token through a " +
			"third party: use an address that this cluster reaches by itself")
	}
	return nil
}

// handler hands the warnings of an API server to a function.
type handler func(string)

func warnings(warn func(string)) rest.WarningHandlerWithContext { return handler(warn) }

// HandleWarningHeaderWithContext is called with each warning.
func (h handler) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	if code == 299 && text != "" {
		h(policyName.ReplaceAllString(text, ""))
	}
}

// policyName is what API servers put before the sentence of a policy.
var policyName = regexp.MustCompile(`^Validation failed for ValidatingAdmissionPolicy '[^']*' with binding '[^']*': `)
