#!/bin/sh
# Runs the scenarios with real containers where this machine can, and says clearly when it cannot. As root on Debian it
# installs what they need first.
set -eu
cd "$(dirname "$0")/.."
packages="containerd runc containernetworking-plugins busybox-static iproute2"

missing=
for package in $packages; do
	dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "Installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # a list
	if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing; } >/dev/null; then
		echo "note: these packages could not be installed:$missing"
	fi
fi
make --no-print-directory e2e-containers CONTAINERS=possible
