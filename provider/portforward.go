package provider

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/wsstream"
	tunnels "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/websocket"
)

// Headers of a WebSocket handshake, and how the protocols end that carry channels of bytes.
const (
	webSocket          = "websocket"
	webSocketKey       = "Sec-Websocket-Key"
	webSocketVersion   = "Sec-Websocket-Version"
	webSocketProtocol  = "Sec-Websocket-Protocol"
	webSocketAccept    = "Sec-Websocket-Accept"
	channelSubprotocol = "channel.k8s.io"
)

// portForward connects home's client to the remote pod. Both sides speak the same protocol, in which any number of
// connections to any port of the pod have their streams, so bytes are carried as they are. It is not the library's
// handler: that one mixes up its two timeouts, cannot be ended, and would need one connection to the provider for
// each one of the client.
func (s *Streams) portForward(w http.ResponseWriter, r *http.Request) {
	to, err := targetOf(r.Context())
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	var away io.ReadWriteCloser
	if wsstream.IsWebSocketRequest(r) {
		away, err = s.forwardWebSocket(w, r, to)
	} else {
		away, err = s.forwardSPDY(w, r, to)
	}
	switch {
	case err != nil:
		refuse(w, http.StatusBadGateway, fmt.Sprintf("provider %s: %v", s.pods.opts.Destination, err))
		return
	case away == nil: // the client has been told what is wrong with its request
		return
	}
	w.Header().Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	w.WriteHeader(http.StatusSwitchingProtocols)
	home, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = away.Close()
		return
	}
	pipe(r.Context(), home, away)
}

// forwardSPDY is for kubectl and everything else that home's API server makes SPDY of.
func (s *Streams) forwardSPDY(w http.ResponseWriter, r *http.Request, to target) (io.ReadWriteCloser, error) {
	if !httpstream.IsUpgradeRequest(r) || !strings.EqualFold(r.Header.Get(httpstream.HeaderUpgrade), spdy31) {
		refuse(w, http.StatusBadRequest, "port-forward needs a connection that changes to "+spdy31)
		return nil, nil
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return nil, nil //nolint:nilerr // Handshake has answered
	}
	w.Header().Set(httpstream.HeaderUpgrade, spdy31)
	return s.away.tunnel(r.Context(), s.url(to, "portforward", &corev1.PodPortForwardOptions{}))
}

// tunnel opens a connection on which SPDY is spoken with the provider: within a WebSocket or, where that is not known,
// by itself.
func (d *dialer) tunnel(ctx context.Context, at *url.URL) (io.ReadWriteCloser, error) {
	conn, err := d.webSocketTunnel(ctx, at)
	if err == nil || !needsSPDY(err) {
		return conn, err
	}
	header := http.Header{}
	header.Set(httpstream.HeaderUpgrade, spdy31)
	header.Set(httpstream.HeaderProtocolVersion, portforward.PortForwardProtocolV1Name)
	conn, _, err = d.upgrade(ctx, http.MethodPost, at, header)
	return conn, err
}

func (d *dialer) webSocketTunnel(ctx context.Context, at *url.URL) (io.ReadWriteCloser, error) {
	transport, holder, err := websocket.RoundTripperFor(d.config)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	conn, err := websocket.Negotiate(transport, holder, r, tunnels.WebsocketsSPDYTunnelingPortForwardV1)
	if err != nil {
		return nil, err
	}
	return portforward.NewTunnelingConnection("away", conn), nil
}

// forwardWebSocket is for clients whose WebSocket home's API server passes on as it is: libraries of other languages.
// Here ports are named in the request.
func (s *Streams) forwardWebSocket(w http.ResponseWriter, r *http.Request, to target) (io.ReadWriteCloser, error) {
	options := &corev1.PodPortForwardOptions{}
	for _, text := range strings.Split(strings.Join(to.query[corev1.PortHeader], ","), ",") {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("port %q is not a port", text))
			return nil, nil
		}
		options.Ports = append(options.Ports, int32(port))
	}
	header := http.Header{}
	for _, name := range []string{webSocketKey, webSocketVersion} {
		header.Set(name, r.Header.Get(name))
	}
	header.Set(httpstream.HeaderUpgrade, webSocket)
	if offers := channelProtocols(r.Header); len(offers) > 0 {
		header.Set(webSocketProtocol, strings.Join(offers, ", "))
	}
	conn, got, err := s.away.upgrade(r.Context(), http.MethodGet, s.url(to, "portforward", options), header)
	if err != nil {
		return nil, err
	}
	w.Header().Set(httpstream.HeaderUpgrade, webSocket)
	for _, name := range []string{webSocketAccept, webSocketProtocol} {
		if value := got.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	return conn, nil
}

// channelProtocols are the protocols that a client offers, without what may be a credential among them.
func channelProtocols(header http.Header) []string {
	var offers []string
	for _, line := range header.Values(webSocketProtocol) {
		for _, offer := range strings.Split(line, ",") {
			if offer = strings.TrimSpace(offer); strings.HasSuffix(offer, channelSubprotocol) {
				offers = append(offers, offer)
			}
		}
	}
	return slices.Compact(offers)
}

// pipe carries bytes both ways until one side ends or ctx does. Then both sides are closed: neither protocol has a use
// for one half of a connection.
func pipe(ctx context.Context, home, away io.ReadWriteCloser) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var directions sync.WaitGroup
	for _, d := range []struct{ from, to io.ReadWriteCloser }{{home, away}, {away, home}} {
		directions.Go(func() {
			defer cancel()
			_, _ = io.Copy(d.to, d.from)
		})
	}
	<-ctx.Done()
	_, _ = home.Close(), away.Close()
	directions.Wait()
}
