#!/bin/sh
# Builds one Go binary and shows that it is not hung: the first build compiles Kubernetes itself, which takes minutes.
#
#   tools/build.sh DIR OUTPUT "what it is and why" PACKAGE [go build flags...]
#
# DIR is the module's directory. On a terminal the counter moves in place; elsewhere a line appears every 250 packages.
set -eu
dir=$1 out=$2 why=$3 pkg=$4
shift 4
mkdir -p "$(dirname "$out")"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
log=$(mktemp)
status=$(mktemp)
trap 'rm -f "$log" "$status"' EXIT

name=$(basename "$out")
tty=0
[ -t 2 ] && tty=1
start=$(date +%s)
cd "$dir"
# Counting what a package needs may download modules first.
total=$(go list -deps "$pkg" 2>"$log" | wc -l)

{ go build -v "$@" -o "$out" "$pkg" 2>&1; echo $? >"$status"; } |
	awk -v name="$name" -v why="$why" -v total="$total" -v tty="$tty" -v log_="$log" '
	/^go: downloading / { fetched++; report(); next }
	# A package path has no spaces; anything else is a message of the compiler, kept for the end.
	/^[^ #\t]+$/ { built++; report(); next }
	{ print > log_ }
	function report() {
		if (!said) { printf "  %s: %s\n", name, why > "/dev/stderr"; said = 1 }
		if (tty) printf "\r  %s: compiled %d of at most %d packages ", name, built, total > "/dev/stderr"
		else if (built && built % 250 == 0) printf "  %s: compiled %d of at most %d packages\n", name, built, total > "/dev/stderr"
	}
	END { if (said && tty) printf "\n" > "/dev/stderr" }'
if [ "$(cat "$status")" != 0 ]; then
	cat "$log" >&2
	echo "  $name: the build failed" >&2
	exit 1
fi
took=$(($(date +%s) - start))
[ "$took" -lt 5 ] || echo "  $name: built in ${took}s" >&2
