#!/bin/sh
# Fails when something that is generated or formatted is not what its source says.
set -eu
cd "$(dirname "$0")/.."
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT

snapshot() { find api manifests/crd go.mod go.sum -type f -exec sha256sum {} + | sort -k 2; }
snapshot >"$before/sums"
make --no-print-directory generate
go mod tidy
snapshot >"$before/now"
if ! diff -u "$before/sums" "$before/now"; then
	echo "generated files or go.mod were out of date: they are now up to date, commit them" >&2
	exit 1
fi
go mod verify
unformatted=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
	echo "run gofmt -w on: $unformatted" >&2
	exit 1
fi
go vet ./...
make --no-print-directory lint
