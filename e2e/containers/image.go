package containers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
)

// Media types of the Open Container Initiative.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
	// annotationName is how containerd is told an image's name.
	annotationName = "io.containerd.image.name"
)

// Image is an image that holds busybox and nothing else. It serves as the sandbox of pods too.
type Image struct {
	Name    string
	Busybox []byte
	// Applets are the names under which busybox is called.
	Applets []string
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Write writes the image as an archive in the OCI layout. The same image is the same bytes.
func (i Image) Write(w io.Writer) error {
	layer, err := i.layer()
	if err != nil {
		return fmt.Errorf("make image %s: %w", i.Name, err)
	}
	content := describe(typeLayer, layer)
	config, configAs, err := document(typeConfig, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{
			"Env": []string{"PATH=/bin"},
			// What a sandbox does: nothing, for ever. Containers say themselves what they run.
			"Cmd": []string{"/bin/tail", "-f", "/dev/null"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{content.Digest}},
	})
	if err != nil {
		return err
	}
	manifest, manifestAs, err := document(typeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest, "config": configAs, "layers": []descriptor{content},
	})
	if err != nil {
		return err
	}
	manifestAs.Annotations = map[string]string{annotationName: i.Name}
	index, _, err := document(typeIndex, map[string]any{
		"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{manifestAs},
	})
	if err != nil {
		return err
	}
	return archive(w, []file{
		{name: "oci-layout", content: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{name: "index.json", content: index},
		{name: blob(manifestAs), content: manifest},
		{name: blob(configAs), content: config},
		{name: blob(content), content: layer},
	})
}

// layer returns the image's only layer.
func (i Image) layer() ([]byte, error) {
	files := []file{
		{name: "bin/", mode: 0o755},
		{name: "tmp/", mode: 0o1777},
		{name: "root/", mode: 0o700},
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")},
		{name: "bin/busybox", mode: 0o755, content: i.Busybox},
	}
	for _, applet := range i.Applets {
		if applet != "busybox" {
			files = append(files, file{name: "bin/" + applet, link: "busybox"})
		}
	}
	var layer bytes.Buffer
	err := archive(&layer, files)
	return layer.Bytes(), err
}

// file is a file of an archive; a name that ends with a slash is a folder.
type file struct {
	name    string
	mode    int64 // 0644 when zero
	link    string
	content []byte
}

func archive(w io.Writer, files []file) error {
	out := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{
			Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Linkname: f.link,
		}
		switch {
		case f.link != "":
			header.Typeflag = tar.TypeSymlink
		case f.name[len(f.name)-1] == '/':
			header.Typeflag = tar.TypeDir
		}
		if header.Mode == 0 {
			header.Mode = 0o644
		}
		if err := out.WriteHeader(header); err != nil {
			return fmt.Errorf("archive %s: %w", f.name, err)
		}
		if _, err := out.Write(f.content); err != nil {
			return fmt.Errorf("archive %s: %w", f.name, err)
		}
	}
	return out.Close()
}

func document(mediaType string, v any) ([]byte, descriptor, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, descriptor{}, fmt.Errorf("make %s: %w", mediaType, err)
	}
	return raw, describe(mediaType, raw), nil
}

func describe(mediaType string, raw []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(raw)), Size: len(raw)}
}

func blob(d descriptor) string { return "blobs/sha256/" + d.Digest[len("sha256:"):] }
