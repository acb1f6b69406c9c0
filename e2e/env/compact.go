package env

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// compactedKey is where API servers tell each other what they had etcd forget, and forget themselves.
const compactedKey = "compact_rev_key"

// Compact makes a cluster's etcd forget every revision but the last, as API servers do every five minutes with older
// ones: within 15 seconds, pages of lists that were begun before end with 410 Gone. Watches go on from the API server's
// memory; when that is started again, too, those that were cut end with 410, and whoever watches has to list.
func (e *Env) Compact(ctx context.Context, cluster string) error {
	c, err := e.find(cluster)
	if err != nil {
		return err
	}
	var now struct {
		Header struct {
			Revision json.Number `json:"revision"`
		} `json:"header"`
	}
	err = c.etcdCall(ctx, "kv/range", map[string]any{"key": []byte(compactedKey), "count_only": true}, &now)
	if err != nil {
		return fmt.Errorf("compact etcd of %s: %w", cluster, err)
	}
	last := now.Header.Revision
	for _, call := range []struct {
		method string
		ask    map[string]any
	}{
		{"kv/put", map[string]any{"key": []byte(compactedKey), "value": []byte(last)}},
		{"kv/compaction", map[string]any{"revision": last, "physical": true}},
	} {
		if err := c.etcdCall(ctx, call.method, call.ask, &struct{}{}); err != nil {
			return fmt.Errorf("compact etcd of %s: %w", cluster, err)
		}
	}
	return nil
}

// etcdCall calls a method of etcd's in JSON.
func (c *Cluster) etcdCall(ctx context.Context, method string, ask, answer any) error {
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	client, err := c.prober()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	url := "https://" + address(c.ports[Etcd]) + "/v3/" + method
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(raw))
	}
	return errors.Join(err, json.Unmarshal(raw, answer))
}
