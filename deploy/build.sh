#!/bin/sh
# Copyright 2026 Contributors to the Veraison project.
# SPDX-License-Identifier: Apache-2.0
#
# Builds the real Veraison services, at the version that go.mod pins, into
# OUTDIR. What is up to date is not built anew: the go build cache knows.
#
# usage: deploy/build.sh OUTDIR

set -eu

if [ $# -ne 1 ] || [ -z "$1" ]; then
	echo "usage: $0 OUTDIR" >&2
	exit 2
fi

mkdir -p "$1"
outdir=$(cd "$1" && pwd)
cd "$(dirname "$0")"

go=${GO:-go}
services=github.com/veraison/services

# The VTS links go-sqlite3, which is C. Without cgo it builds nevertheless,
# and refuses every sqlite3 store when it runs.
if [ "$("$go" env CGO_ENABLED)" != 1 ]; then
	echo "deploy: cgo is off or there is no C compiler; the VTS needs one (Debian: gcc)" >&2
	exit 1
fi

version=$("$go" list -mod=readonly -m -f '{{.Version}}' "$services")
echo "deploy: Veraison services $version -> $outdir"
echo "deploy: the first build compiles several hundred packages and takes a minute or two"

# build NAME-UNDER-OUTDIR PACKAGE
#
# The version is what the services show in their logs, their discovery documents
# and, as the verifier's build, in attestation results; without it that is "N/A".
build() {
	printf 'deploy: building %s\n' "$1"
	mkdir -p "$(dirname "$outdir/$1")"
	"$go" build -mod=readonly -trimpath -ldflags "-X $services/config.Version=$version" -o "$outdir/$1" "$2"
}

build vts-service "$services/vts/cmd/vts-service"
build provisioning-service "$services/provisioning/cmd/provisioning-service"
build verification-service "$services/verification/cmd/verification-service"

# Veraison's own plugin lives in a folder of its own: a VTS that finds two
# plugins for one scheme or media type does not start.
build plugins-parsec-tpm/parsec-tpm.plugin "$services/scheme/parsec-tpm/plugin/combined"

build store-init ./cmd/store-init

# What internal/bench measures this project's plugin against.
build parsec-tpm-bench ./cmd/bench

echo "deploy: done"
