package containers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var small = Image{
	Name: "registry.example/app:1", Busybox: []byte("a program"), Applets: []string{"busybox", "sh", "tail"},
}

// unpack returns the content of files and the targets of links by name.
func unpack(t *testing.T, raw []byte) (files map[string]string, modes map[string]int64) {
	t.Helper()
	files, modes = map[string]string{}, map[string]int64{}
	for in := tar.NewReader(bytes.NewReader(raw)); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, modes
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name], modes[header.Name] = string(content), header.Mode
		if header.Typeflag == tar.TypeSymlink {
			files[header.Name] = "-> " + header.Linkname
		}
	}
}

func written(t *testing.T, i Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := i.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func parse(t *testing.T, raw string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(raw), &v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}

// follow returns what a descriptor refers to, after a look at its digest and size.
func follow(t *testing.T, files map[string]string, to any) string {
	t.Helper()
	d := to.(map[string]any)
	digest := strings.TrimPrefix(d["digest"].(string), "sha256:")
	content, ok := files["blobs/sha256/"+digest]
	if !ok || fmt.Sprintf("%x", sha256.Sum256([]byte(content))) != digest || float64(len(content)) != d["size"] {
		t.Fatalf("%v refers to %d other bytes", d, len(content))
	}
	return content
}

func TestAnImageIsAnArchiveThatContainerdReads(t *testing.T) {
	files, _ := unpack(t, written(t, small))
	if got := parse(t, files["oci-layout"])["imageLayoutVersion"]; got != "1.0.0" {
		t.Errorf("layout is %v", got)
	}
	entry := parse(t, files["index.json"])["manifests"].([]any)[0].(map[string]any)
	if got := entry["annotations"].(map[string]any)["io.containerd.image.name"]; got != small.Name {
		t.Errorf("it is called %v", got)
	}
	manifest := parse(t, follow(t, files, entry))
	config := parse(t, follow(t, files, manifest["config"]))
	layer := manifest["layers"].([]any)[0]
	content, modes := unpack(t, []byte(follow(t, files, layer)))

	want := []any{layer.(map[string]any)["digest"]}
	if diff := cmp.Diff(want, config["rootfs"].(map[string]any)["diff_ids"]); diff != "" {
		t.Errorf("an unpacked layer has another digest (-want,+got)\n%s", diff)
	}
	wantFiles := map[string]string{
		"bin/": "", "tmp/": "", "root/": "", "etc/": "",
		"bin/busybox": "a program", "bin/sh": "-> busybox", "bin/tail": "-> busybox",
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
	}
	if diff := cmp.Diff(wantFiles, content); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	for name, mode := range map[string]int64{"bin/busybox": 0o755, "tmp/": 0o1777, "etc/passwd": 0o644} {
		if modes[name] != mode {
			t.Errorf("%s has mode %o, want %o", name, modes[name], mode)
		}
	}
}

func TestTheSameImageIsTheSameBytes(t *testing.T) {
	if !bytes.Equal(written(t, small), written(t, small)) {
		t.Error("they differ")
	}
	other := small
	other.Busybox = []byte("another program")
	if bytes.Equal(written(t, small), written(t, other)) {
		t.Error("another program makes no difference")
	}
}

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAnImageThatCannotBeWrittenSaysSo(t *testing.T) {
	if err := small.Write(full{}); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error is %v", err)
	}
}
