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

// Compact makes a cluster's etcd forget every revision but the last: pages of lists that were begun before end with 410
// Gone. Watches that were cut go on from the API server's memory, until that, too, is started again: then they end with
// 410, and whoever watches has to list.
func (e *Env) Compact(ctx context.Context, cluster string) error {
	c, err := e.find(cluster)
	if err != nil {
		return err
	}
	ask := map[string]any{"key": []byte("/"), "count_only": true}
	var now struct {
		Header struct {
			Revision json.Number `json:"revision"`
		} `json:"header"`
	}
	if err := c.etcdCall(ctx, "kv/range", ask, &now); err != nil {
		return fmt.Errorf("compact etcd of %s: %w", cluster, err)
	}
	order := map[string]any{"revision": now.Header.Revision, "physical": true}
	if err := c.etcdCall(ctx, "kv/compaction", order, &struct{}{}); err != nil {
		return fmt.Errorf("compact etcd of %s: %w", cluster, err)
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
