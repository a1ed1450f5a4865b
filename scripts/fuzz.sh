#!/bin/sh
# Copyright 2026 Contributors to the Veraison project.
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz target of the module for FUZZTIME each. What one finds, go
# puts under testdata/fuzz beside the target: commit it, it is a regression seed
# from then on.

set -eu

go=${GO:-go}
found=0
failed=

for package in $("$go" list ./...); do
	for target in $("$go" test -list '^Fuzz' "$package" | grep '^Fuzz' | grep -E "${FUZZ:-.}" || true); do
		found=$((found + 1))
		echo "==> $package $target"
		# A new input is minimised for up to a minute by default, longer than it
		# is fuzzed; once is enough to go on.
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" -fuzzminimizetime 1x "$package" ||
			failed="$failed $package:$target"
	done
done

if [ "$found" = 0 ]; then
	echo "fuzz: no target matches ${FUZZ:-.}" >&2
	exit 1
fi
if [ -n "$failed" ]; then
	echo "fuzz: failed:$failed" >&2
	exit 1
fi
echo "fuzz: $found targets, none failed"
