// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package scheme is the scheme-handler that Veraison has loaded since
// v0.0.2603 in place of the evidence-, store- and endorsement-handler. It
// decides nothing: it carries the host's calls to packages endorsements and
// appraisal, and their verdicts back, which are those of the older handlers.
//
// Veraison's module of that age is not required. Its plugins speak net/rpc over
// go-plugin, whose encoding, gob, matches structures by the names of their
// fields: [Server] has the methods and this package the types that the host
// expects, written anew. Each names its source in github.com/veraison/services,
// whose interface was read at v0.0.2603, v0.0.2605, v0.0.2608 and commit
// 6b88102970509c5a731ea90c72cb79730269b5f3.
//
// For provisioning the host calls ValidateCorim, and then stores the CoRIM's
// triples itself. For an appraisal it calls, in one process and in this order,
//
//	GetTrustAnchorIDs          the evidence, whole and well formed
//	ExtractClaims              what the evidence says, not yet verified
//	GetReferenceValueIDs       the class of its attestation key (AK)
//	ValidateEvidenceIntegrity  both signatures, both nonces, the key's name
//	AppraiseClaims             PCRs and key attributes, from the claims alone
//
// and stops at the first error. AppraiseClaims sees neither evidence nor nonce.
// That its claims are those of evidence that ValidateEvidenceIntegrity accepted
// is the host's promise; a map that ExtractClaims did not make is refused.
//
// # Errors
//
// An error whose text begins with "bad evidence: " becomes a signed result that
// is contraindicated. The host answers any other with an internal error: it
// means that the verifier is at fault, or what was provisioned. A CoRIM that is
// refused is no error but a reply that says why.
package scheme
