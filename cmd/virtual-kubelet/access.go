package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"

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
	// In-cluster clients know a host and a port, and nothing else.
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || (u.Path != "" && u.Path != "/") || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" {
		return out, fmt.Errorf("--home-api-server: must be https://HOST or https://HOST:PORT, not %q", o.homeAPIServer)
	}
	out.Host, out.Port = u.Hostname(), cmp.Or(u.Port(), "443")
	return out, nil
}
