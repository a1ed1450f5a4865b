// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package signed signs CoRIMs and verifies signed ones (COSE_Sign1, RFC 9052,
// and draft-ietf-rats-corim-11, 4.2). What a CoRIM says, and how a signed one is
// read without being verified, is package endorsements' affair.
//
// [Verify] takes a signed CoRIM and the policy of whoever is to believe it:
// public keys that may sign, or roots that certificates in the message must lead
// to. It returns what was signed, by whom, or an error. [Sign] goes the other
// way; its key can be in a TPM or an HSM.
//
// # Threat model
//
// The message may come from anybody. The policy alone says who is trusted; a
// policy without a key and without a root trusts nobody. The algorithm is that
// of the key, and the message must name it: ECDSA on P-256 with SHA-256, on P-384
// with SHA-384, on P-521 with SHA-512, or Ed25519. Header parameters that are not
// understood are refused, critical or not; so is any that decides something and
// is not protected. A certificate must be one that may sign, in time, and no
// certification authority's. The period of the signature and that of the CoRIM
// must both include the policy's time.
//
// The signer's name is what the signer says. It is in the result for logs;
// nothing compares it with a certificate's subject. Revocation of certificates is
// not checked: keep their lives short, or trust keys.
package signed
