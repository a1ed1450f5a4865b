// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package tpmtest gives tests, test vectors and the demonstration what a sound
// attester does not offer: TPMs that come and go with a test, PCRs to extend,
// keys with a wrong attribute, and attestations that no TPM would make, signed
// by a key in a TPM.
//
// A test calls [Simulator] or [SWTPM]. Whatever needs no test takes a context
// and returns errors, so that programs can use it.
package tpmtest
