// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package attester is the TPM side of attested TLS: it makes an attestation
// key (AK) and a TLS identity key (TIK) in a TPM 2.0, and evidence about both
// and about the platform's PCRs for a nonce that a verifier chose.
//
// [Open] a TPM, make the keys with [TPM.CreateAK] and [TPM.CreateTIK], have
// the AK provisioned at the verifier ([AK.KID], [AK.PEM]), and answer each
// nonce with [TPM.Attest].
//
// # Keys
//
// Both keys are children of the storage root key that the TSS2 key file format
// prescribes: a primary ECC P-256 key of the owner hierarchy, derived anew
// from the TPM's seed whenever it is needed. A child, unlike a primary key, is
// random, and its encrypted blob can be stored. The owner hierarchy is the one
// that a platform's owner may use without the endorsement hierarchy's policy;
// the price is that the TPM obfuscates the clock, the reset count and the
// firmware version in its attestations (Part 1, section 36.7).
//
// # Sharing a TPM
//
// All methods may be called concurrently: operations on one TPM take turns, in
// the order of their arrival. A context is honoured while an operation waits
// and between its commands. A command that the TPM has begun cannot be called
// back: the caller returns at once, while the operation ends behind it and
// leaves nothing in the TPM. At most three objects are in the TPM at any time,
// and none between operations: TPMs have room for three.
//
// # Threat model
//
// The TPM is trusted, software on the platform is not: whoever can open the
// TPM can use the keys, which have no password, but cannot take them out of
// the TPM nor have the AK sign a statement that the TPM did not make. What
// travels between this process and the TPM is neither encrypted nor
// authenticated. None of it is secret, and a verifier detects what was changed
// in evidence; but whoever sits on that path when an AK is created can put a
// key of its own in its place. An AK is worth what its provisioning is worth.
//
// # Not done here
//
// Nothing is verified here, and nothing that the TPM says is a verdict: that
// is the verifier's part. PCR values from [TPM.ReadPCRs] are not signed. This
// package does not prove by a certificate that the TPM is genuine, does not
// send evidence anywhere, and does not use keys that need a password or a
// policy.
//
// References to Part 1, 2 and 3 are to the TPM 2.0 Library Specification of
// the Trusted Computing Group.
package attester
