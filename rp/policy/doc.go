// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package policy has policies over attestation results: functions that compose.
//
//	p := policy.Affirming(
//		policy.MaxAge(time.Minute),
//		policy.TPM.AttestedKeyIs(key),
//		policy.TPM.Instances(kid),
//	)
//
// Affirming is the one to start with: the verifier found nothing to object to.
// What is given to it can only ask for more. All asks for nothing of its own;
// it is for those who mean to accept less. A policy refuses with an
// *rp.PolicyError; a claim that a result lacks is never good enough.
//
// A policy decides by what a verified result says. That the result is the
// verifier's, for this nonce, was checked before.
package policy
