//go:build failpoints

package failpoint

import (
	"fmt"
	"net/http"

	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/klog/v2"
)

// transport makes armed faults happen.
type transport struct {
	to    Side
	next  http.RoundTripper
	armed []*armed
	infos *request.RequestInfoFactory
	does  map[string]func()
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	info, err := t.infos.NewRequestInfo(req)
	if err != nil {
		return t.next.RoundTrip(req) // not one of the API's
	}
	if err := t.at(before, info); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := t.at(after, info); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// at does what is armed for now.
func (t *transport) at(when string, info *request.RequestInfo) error {
	for _, a := range t.armed {
		if a.when != when || !a.is(t.to, info) || !a.due() {
			continue
		}
		if err := a.happen(t.does, "namespace", info.Namespace, "name", info.Name); err != nil {
			return err
		}
	}
	return nil
}

// happen does what is armed, and logs it before.
func (a *armed) happen(does map[string]func(), about ...any) error {
	klog.Background().WithValues(about...).Info("Fault", "step", a.name, "action", a.action)
	klog.Flush()
	if a.action == fail {
		return fmt.Errorf("fault at %s", a.name)
	}
	does[a.action]()
	return nil
}

// WrappedRoundTripper lets client-go find the transport inside.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }
