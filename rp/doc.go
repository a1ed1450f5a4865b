// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package rp is the relying party's half of remote attestation: it asks a
// verifier for a nonce, has it appraise the evidence that a peer made for that
// nonce, and turns the verifier's signed answer into a decision.
//
//	verifier, err := rp.NewVeraison("https://verifier.example", ear.Pin(key), rp.Config{})
//	…
//	session, err := verifier.NewSession(ctx, nil)
//	…                                     // the peer makes evidence for session.Nonce()
//	result, err := rp.Appraise(ctx, session, evidence, policy.Affirming())
//
// NewVeraison is a Veraison deployment, rp/embedded a verifier in this process;
// both are a Verifier and give the same results. A Pool keeps sessions ready so
// that a nonce costs no round trip. Package ear verifies results, also those
// that a peer obtained for itself (passports); package policy has the policies.
//
// # Threat model
//
// The verifier is trusted to appraise, the network to it and the peer are not.
// A result counts only if the verifier's key signed it, for this session's
// nonce, after the session was opened. What an attacker on the network can do
// against TLS is nothing; without TLS, which has to be asked for by an option
// whose name says Insecure, he could choose the nonce and so have old evidence
// accepted. Whatever a verifier, or somebody in its place, answers is bounded
// in size and time, is not followed to another origin, and cannot obtain the
// credentials that are meant for the verifier.
//
// A result is nil unless it is verified; a policy that is nil refuses. There
// is no default that accepts.
//
// Not checked: that evidence comes from the machine at the other end of a
// connection. That takes the binding of evidence, key and connection; nonce and
// policy.Submod.AttestedKeyIs are what it is made of.
package rp
