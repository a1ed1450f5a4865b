// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package attester is the TPM side of attested TLS: an attestation key (AK) and
// a TLS identity key (TIK) in a TPM 2.0, evidence about both and about the
// platform's PCRs for a nonce that a verifier chose, and TLS signatures.
//
// [Open] a TPM, take up the keys with [TPM.LoadAK] and [TPM.LoadTIK], or make
// them once with [TPM.CreateAK] and [TPM.CreateTIK] and keep them with
// [TPM.SaveKey]; have the AK provisioned at the verifier ([AK.KID], [AK.PEM]);
// make an [Attester] of them. It answers each nonce with [Attester.Attest], and
// its Signer is the private key of the TLS connection. Package passport, below
// this one, keeps a verifier's answer at hand instead.
//
// # Keys
//
// A key's place is a file or a persistent handle. A file is a TSS2 key file in
// PEM, which OpenSSL's tpm2 provider and tpm2-tools read too; what it holds only
// its TPM can use. A handle takes no file, but some of the TPM's memory.
//
// Keys made here are children of the storage root key that the file format
// prescribes: a primary ECC P-256 key of the owner hierarchy, derived anew from
// the TPM's seed whenever it is needed. A child, unlike a primary key, is
// random, and its encrypted blob can be stored. The owner hierarchy is the one
// that a platform's owner may use without the endorsement hierarchy's policy;
// the price is that the TPM obfuscates the clock, the reset count and the
// firmware version in its attestations (Part 1, section 36.7). Keys made by
// others may be below another persistent key, or anywhere in the TPM if they are
// at a persistent handle themselves.
//
// Loading an AK or a TIK checks what a verifier would ask for, and has the key
// sign once: a wrong key, a password, or a TPM whose RSA-PSS signatures TLS 1.3
// does not accept, is found out at the start. A key with a password or a policy
// is refused with an error of its own, [ErrPassword] or [ErrPolicy]; for one that
// is not noDA, finding out about its password counts as a wrong guess.
//
// A TIK has one scheme as a rule, ECDSA or RSA-PSS with one hash, and the TPM
// lets it sign in no other way. TLS 1.2 peers that know RSA without PSS only
// need one of the scheme [RSA], which does both.
//
// # Sharing a TPM
//
// All methods may be called concurrently: operations on one TPM take turns, in
// the order of their arrival. A context is honoured while an operation waits
// and between its commands. A command that the TPM has begun cannot be called
// back: the caller returns at once, while the operation ends behind it and
// leaves nothing in the TPM.
//
// TPMs have room for three objects. The two keys used last stay loaded, so that
// an attestation is two commands and a signature one. They make room for
// whatever else needs it, come back by themselves when the TPM was reset or
// another program flushed them, and are flushed by [TPM.Close]. [TPM.Do] finds
// the TPM without them. A TPM that is busy (TPM_RC_RETRY, _YIELDED, _TESTING) is
// asked again, ever less often, while the context lasts; one in lockout is not:
// [ErrLockout].
//
// # Threat model
//
// The TPM is trusted, software on the platform is not: whoever can open the
// TPM, and read the key files, can use the keys, which have no password, but
// cannot take them out of the TPM nor have the AK sign a statement that the TPM
// did not make. What travels between this process and the TPM is neither
// encrypted nor authenticated. None of it is secret, and a verifier detects what
// was changed in evidence; but whoever sits on that path when an AK is created
// can put a key of its own in its place. An AK is worth what its provisioning is
// worth.
//
// # Not done here
//
// Nothing is verified here for others, and nothing that the TPM says is a
// verdict: that is the verifier's part. PCR values from [TPM.ReadPCRs] are not
// signed. This package does not prove by a certificate that the TPM is genuine,
// and does not send evidence anywhere.
//
// References to Part 1, 2 and 3 are to the TPM 2.0 Library Specification of
// the Trusted Computing Group.
package attester
