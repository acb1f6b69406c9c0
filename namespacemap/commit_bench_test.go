package namespacemap

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	// benchKeys are written, each as a desired twin and as an entry of the status.
	benchKeys = 2000
	// benchLimit is when a way of writing that does not get there is given up.
	benchLimit = 2 * time.Minute
)

// keyWriter writes one key of one half of a map.
type keyWriter func(ctx context.Context, c client.Client, at place, home string) error

// BenchmarkKeysOfAMap compares the ways in which thousands of namespaces may be written into one object, on a real API
// server with one watcher: go test ./namespacemap -run - -bench KeysOfAMap -benchtime 1x. DESIGN.md has the figures.
func BenchmarkKeysOfAMap(b *testing.B) {
	g := &groupCommit{}
	group := func(ctx context.Context, c client.Client, at place, home string) error {
		_, err := g.write(ctx, c, at, home, benchValue(at, home))
		return err
	}
	for _, way := range []struct {
		name    string
		writers int
		write   keyWriter
	}{
		{"group commit", workers, group},
		{"group commit, managedFields kept", workers, func(ctx context.Context, c client.Client, at place,
			home string) error {
			return group(ctx, tracking{c}, at, home)
		}},
		{"merge patch of one key", 8, mergeKey},
		{"merge patch of one key, many at once", workers, mergeKey},
		{"apply with a manager for each key", 8, applyKey},
	} {
		b.Run(way.name, func(b *testing.B) {
			e := env.Start(b, env.Options{Bare: true})
			for b.Loop() {
				measureWrites(b, e, way.writers, way.write)
			}
		})
	}
}

// tracking leaves managedFields to the API server.
type tracking struct{ client.Client }

func (t tracking) Patch(ctx context.Context, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
	data, err := patch.Data(o)
	if err != nil {
		return err
	}
	var body map[string]any
	if err := json.Unmarshal(data, &body); err != nil {
		return err
	}
	delete(body, "metadata")
	if data, err = json.Marshal(body); err != nil {
		return err
	}
	return t.Client.Patch(ctx, o, client.RawPatch(patch.Type(), data), opts...)
}

func benchValue(at place, home string) any {
	if at.half == desiredHalf {
		return home + "-" + env.Consumer
	}
	return map[string]any{"remoteNamespace": home + "-" + env.Consumer, "phase": v1beta1.MappingAccepted}
}

// keyOnly is the part of a map that is about one key.
func keyOnly(at place, home string) map[string]any {
	mapping := "desiredMapping"
	if at.half == currentHalf {
		mapping = "currentMapping"
	}
	return map[string]any{string(at.half): map[string]any{mapping: map[string]any{home: benchValue(at, home)}}}
}

func mergeKey(ctx context.Context, c client.Client, at place, home string) error {
	return patchRaw(ctx, c, at, keyOnly(at, home))
}

func applyKey(ctx context.Context, c client.Client, at place, home string) error {
	body := keyOnly(at, home)
	body["apiVersion"], body["kind"] = v1beta1.GroupVersion.String(), "NamespaceMap"
	body["metadata"] = map[string]any{"namespace": at.m.Namespace, "name": at.m.Name}
	return patchRaw(ctx, c, at, body, client.FieldOwner(home), client.ForceOwnership)
}

type eitherOption interface {
	client.PatchOption
	client.SubResourcePatchOption
}

// patchRaw sends a merge patch, or with options, which are those of apply, applies.
func patchRaw(ctx context.Context, c client.Client, at place, body map[string]any, options ...eitherOption) error {
	kind := types.MergePatchType
	if len(options) > 0 {
		kind = types.ApplyPatchType
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	now := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: at.m.Namespace, Name: at.m.Name}}
	if at.half == currentHalf {
		var all []client.SubResourcePatchOption
		for _, option := range options {
			all = append(all, option)
		}
		return c.Status().Patch(ctx, now, client.RawPatch(kind, data), all...)
	}
	var all []client.PatchOption
	for _, option := range options {
		all = append(all, option)
	}
	return c.Patch(ctx, now, client.RawPatch(kind, data), all...)
}

func measureWrites(b *testing.B, e *env.Env, writers int, write keyWriter) {
	b.Helper()
	config := e.Consumer().Config()
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: testScheme(b)})
	if err != nil {
		b.Fatal(err)
	}
	m := build.Map("b").Obj()
	for _, object := range []client.Object{build.Namespace(m.Namespace).Obj(), m} {
		if err := c.Create(b.Context(), object); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), benchLimit)
	defer cancel()
	watched := watchBytes(ctx, b, config)
	cpu := apiServerCPU(e)
	start := time.Now()
	written, failed := writeAll(ctx, c, writers, write)
	seconds := time.Since(start).Seconds()
	if err := c.Get(b.Context(), client.ObjectKeyFromObject(m), m); err != nil {
		b.Fatal(err)
	}
	size, fields := len(mustJSON(b, m)), len(mustJSON(b, m.ManagedFields))
	b.ReportMetric(float64(written), "keys")
	b.ReportMetric(float64(failed), "failures")
	b.ReportMetric(seconds, "s")
	b.ReportMetric((apiServerCPU(e) - cpu).Seconds(), "apiserver-cpu-s")
	b.ReportMetric(float64(m.Generation-1), "spec-versions")
	b.ReportMetric(float64(size)/1024, "object-KiB")
	b.ReportMetric(float64(fields)/1024, "managedFields-KiB")
	b.ReportMetric(float64(watched.Load())/(1<<20), "MiB-per-watcher")
	b.ReportMetric(0, "ns/op")
	if err := c.Delete(b.Context(), m); err != nil {
		b.Fatal(err)
	}
}

// writeAll returns how many keys were written before ctx ended, and how many the API server failed to write.
func writeAll(ctx context.Context, c client.Client, writers int, write keyWriter) (written, failed int64) {
	var good, bad atomic.Int64
	for _, half := range []half{desiredHalf, currentHalf} {
		keys := make(chan string)
		var group sync.WaitGroup
		for range writers {
			group.Go(func() {
				for home := range keys {
					switch err := write(ctx, c, place{shopMap, half}, home); {
					case err == nil:
						good.Add(1)
					case ctx.Err() == nil:
						bad.Add(1)
					}
				}
			})
		}
		for i := range benchKeys {
			keys <- fmt.Sprintf("team-%04d-production", i)
		}
		close(keys)
		group.Wait()
	}
	return good.Load(), bad.Load()
}

// watchBytes counts what one watcher of maps is sent.
func watchBytes(ctx context.Context, b *testing.B, config *rest.Config) *atomic.Int64 {
	b.Helper()
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		b.Fatal(err)
	}
	url := config.Host + "/apis/" + v1beta1.GroupVersion.String() + "/namespacemaps?watch=1"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	response, err := transport.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	var total atomic.Int64
	go func() {
		defer func() { _ = response.Body.Close() }()
		buffer := make([]byte, 1<<16)
		for {
			n, err := response.Body.Read(buffer)
			total.Add(int64(n))
			if err != nil {
				return // io.EOF, or the end of the measurement
			}
		}
	}()
	return &total
}

func apiServerCPU(e *env.Env) time.Duration {
	for _, usage := range e.Usage() {
		if usage.Component == env.APIServer {
			return usage.CPU
		}
	}
	return 0
}

func mustJSON(b *testing.B, object any) string {
	b.Helper()
	var text strings.Builder
	if err := json.NewEncoder(io.Writer(&text)).Encode(object); err != nil {
		b.Fatal(err)
	}
	return text.String()
}
