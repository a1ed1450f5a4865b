// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package integration

// raceDetector tells whether the tests run under the race detector.
const raceDetector = false
