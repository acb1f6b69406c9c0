package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/provider/translate"
)

// access is how remote pods reach an API server.
func (o *options) access() (translate.Access, error) {
	out := translate.Access{Default: o.apiServerSupport}
	if out.Default != v1beta1.APIServerSupportDisabled && out.Default != v1beta1.APIServerSupportHome {
		return out, fmt.Errorf("--api-server-support: must be %s or %s, not %q; pods say more in annotation %s",
			v1beta1.APIServerSupportDisabled, v1beta1.APIServerSupportHome, out.Default,
			v1beta1.AnnotationAPIServerSupport)
	}
	if o.homeAPIServer == "" {
		if out.Default == v1beta1.APIServerSupportHome {
			return out, errors.New("--api-server-support=home needs --home-api-server: " +
				"pods on a provider cannot guess where home is")
		}
		return out, nil
	}
	u, err := url.Parse(o.homeAPIServer)
	if err != nil || !isAddress(u) {
		return out, fmt.Errorf("--home-api-server: must be https://HOST or https://HOST:PORT, not %q", o.homeAPIServer)
	}
	out.Host, out.Port = u.Hostname(), cmp.Or(u.Port(), "443")
	return out, nil
}

// isAddress says that a URL is a host and perhaps a port, which is all that in-cluster clients know of an API server.
func isAddress(u *url.URL) bool {
	bare := url.URL{Scheme: "https", Host: u.Host}
	return u.Hostname() != "" && strings.TrimSuffix(u.String(), "/") == bare.String()
}
