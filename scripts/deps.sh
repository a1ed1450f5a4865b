#!/bin/sh
# Copyright 2026 Contributors to the Veraison project.
# SPDX-License-Identifier: Apache-2.0
#
# Sees to it that Debian packages are there: installs the ones that are missing
# when it may, and says what to do when it may not.
#
# usage: scripts/deps.sh PACKAGE...

set -eu

# present PACKAGE: asks for what the package is needed for, not for the package,
# so that other systems and hand-built installations are fine.
present() {
	case $1 in
	libssl-dev) echo '#include <openssl/evp.h>' | "${CC:-cc}" -E - >/dev/null 2>&1 ;;
	openssl) command -v openssl >/dev/null 2>&1 ;;
	swtpm) command -v swtpm >/dev/null 2>&1 ;;
	tpm2-tools) command -v tpm2_createprimary >/dev/null 2>&1 ;;
	*) echo "deps: unknown package $1" >&2; exit 2 ;;
	esac
}

missing=
for package in "$@"; do
	present "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "deps: missing:$missing" >&2
	echo "hint: on Debian or Ubuntu, as root: apt-get install$missing" >&2
	exit 1
fi

echo "==> installing$missing"
export DEBIAN_FRONTEND=noninteractive
# An old package list names versions that are gone.
# shellcheck disable=SC2086 # a list of packages
apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
	apt-get update
	apt-get install -y --no-install-recommends $missing
}
for package in "$@"; do
	present "$package" || {
		echo "deps: $package is installed, but what it is needed for is still not found" >&2
		exit 1
	}
done
