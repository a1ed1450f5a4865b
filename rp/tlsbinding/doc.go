// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package tlsbinding makes TLS connections to machines that are proven to be in
// a known state: the peer's evidence is bound to the very connection, and
// appraised by a verifier, before the first byte of application data.
//
//	cfg := &tlsbinding.Config{
//		TLS: &tls.Config{RootCAs: roots},
//		Requirement: &tlsbinding.Requirement{
//			Verifier: verifier,                                  // rp.NewVeraison, or rp/embedded
//			Policy:   policy.Affirming(policy.TPM.Instances(kid)),
//		},
//	}
//	conn, err := tlsbinding.Dial(ctx, "tcp", "server.example:443", cfg)
//	…
//	peer, _ := tlsbinding.PeerOf(conn)                       // what the verifier said
//
// A side that attests has a Credential, a side that demands attestation a
// Requirement; either side may have both. Dial, Client and Server make one
// connection, a Listener accepts them; both ends are an ordinary *tls.Conn
// afterwards, with which net/http speaks HTTP/2. Transport is for HTTP clients,
// HookServer for HTTP servers, package grpccreds for gRPC. DialFramed and
// NewFramedListener make connections whose peers can be attested again at any
// time beside the application's data; over HTTP, NewReattestHandler and
// Transport.Reattest do that.
//
// The protocol is TLS 1.3 by crypto/tls, then exported authenticators (RFC 9261)
// with the cmw_attestation extension of draft-fossati-seat-expat-04, in frames:
// docs/PROTOCOL.md. Evidence inside the TLS handshake, as
// draft-fossati-tls-attestation has it, is package inhandshake, with what it
// cannot promise.
//
// # Threat model
//
// The relying party trusts its verifier to appraise, that verifier's keys, and
// the TPMs that it has endorsed. It trusts neither the network, nor other
// machines, however good their own state is, nor software keys.
//
// What an attacker may have, and what still holds:
//
//   - The network. TLS keeps him out; if he is a man in the middle whom the
//     TLS layer accepts, what follows keeps him out.
//   - The private key of the server's TLS certificate, where that is a software
//     key. He can be the server of a TLS connection, and can get evidence from
//     the real machine over another one. The evidence is made for that other
//     connection's exporter value, and so is the authenticator: relayed, neither
//     is accepted (ErrNotBound).
//   - Another machine in a good state. Its evidence is as good, but it is not
//     the machine that is meant: its certificate says so, or its instance.
//     InsecureAnyInstance gives this up.
//   - Use of the machine's TPM from outside the measured software, or the
//     machine itself after it was attested: nothing here helps. PCRs say what was
//     started, not what became of it; see Requirement.MaxAge.
//   - The way to the verifier. See package rp: results are signed, for a nonce
//     that this side made. Whoever cuts it gets no connection.
//   - The verifier's result for the machine's key, in the passport model: it is
//     no secret. Without the key in the TPM nobody gets through with it. A
//     passport shows how the machine was when the verifier looked.
//
// And what he may try:
//
//   - Relay and diversion: binding to the exporter and to the key, above.
//   - Replay: each request has a context of its own, 32 random bytes, used once;
//     evidence, authenticator and verifier session are for it.
//   - Reflection: keys of authenticators and types of requests differ by
//     direction; a side's own context is refused when it comes back.
//   - Key substitution: the evidence attests a key; the verifier's result names
//     it; it has to be that of the authenticator's certificate, which signed.
//   - Downgrade: what is demanded is demanded whatever the peer offers. There is
//     no fallback, neither to plain TLS nor to fewer checks; resumption and 0-RTT,
//     which would skip them, are off. TLS 1.2 is refused.
//   - Withholding: a peer that is slow, silent or sends without end is bounded in
//     time and size. It costs a Listener one place, which it loses first when
//     there are not enough. An attester has a bound on what waits for its TPM.
//   - Two names for one peer: the certificate of the TLS handshake may be another
//     than the attested one. Peer is who was attested; Requirement.SameCertificate
//     has both be one.
//   - Asking: a side that attests shows its certificates, its instance and its
//     PCRs to a peer that may not be good, and in mutual attestation does so
//     before it knows. They are encrypted to whoever the TLS handshake
//     authenticated.
//
// When a later attestation fails the connection is closed within seconds, PeerOf
// knows its peer no more, and the contexts of HTTP requests on it end (HookServer).
//
// Not in the model: what the application does with the connection, and that the
// verifier is honest. Attestation over one connection says nothing of another.
package tlsbinding
