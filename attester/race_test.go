// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build race

package attester_test

// raceDetector makes the longest tests shorter: it slows them down tenfold.
const raceDetector = true
