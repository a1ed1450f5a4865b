// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package endorsements reads and writes what a verifier is told about
// TPM-backed attesters before it sees any evidence: CoRIMs of the profile
// tag:github.com/parallaxsecond,2023-03-03:tpm
// (draft-ietf-rats-corim).
//
// A CoRIM becomes two kinds of value. A [TrustAnchor] is an attestation key
// (AK): the class of platform that it attests, its key identifier and its
// public key. A [ReferenceState] is one whole set of PCR values that a
// platform of a class may have; a class may have several, and they never mix.
//
// Call [Decode] first. It is followed by [Corim.CheckValidity] with the
// current time and, for appraisals, by [NewSet], which looks up anchors by key
// identifier and states by class. [NewTrustAnchor], [NewReferenceState] and
// [Corim.Encode] go the other way. Two dialects of CBOR are deployed: Decode
// reads both, Encode is told which, and [Convert] makes one from the other.
// CoRIMs that are signed are for package endorsements/signed.
//
// # Threat model
//
// The bytes of a CoRIM may come from anybody. Decode refuses what is larger
// than [MaxCorimSize], takes time and memory in proportion to the input,
// and answers every input with a value or an error. It reads by a grammar of its
// own instead of a lenient general decoder: no duplicate map keys,
// no indefinite lengths, integers and lengths in their shortest form, no
// trailing bytes, inside the nested byte strings as well as outside.
// Whatever the profile gives no meaning to is refused by name rather than
// passed over, because an author who wrote it meant it to be checked. Only
// descriptive metadata (language, tag identities, entities, a class's vendor and
// model) is checked for its form and decides nothing.
//
// The content of a CoRIM that decodes is trusted: it decides which keys and
// which PCR values count as good. The package does not check who wrote the
// CoRIM or who may provision it: an unsigned CoRIM has no authenticity of its
// own. It has no clock, so it does not by itself refuse an expired CoRIM, and it
// cannot know whether a key really lives in a TPM or has been revoked.
//
// Every type is immutable or meant to be read only after it was made; all of
// them may be used by several goroutines at once.
package endorsements

// Profile identifies the CoRIM profile that this package implements.
const Profile = "tag:github.com/parallaxsecond,2023-03-03:tpm"

// MaxCorimSize is the largest CoRIM that is read or written, in bytes. It has
// room for some 3,500 keys, or for some 250 states of 24 PCRs in three banks,
// and stays below the 4 MiB that Veraison's services hand to each other.
const MaxCorimSize = 1 << 20
