// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package attester_test

const raceDetector = false
