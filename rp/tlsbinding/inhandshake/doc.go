// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package inhandshake is attestation inside the TLS handshake, as
// draft-fossati-tls-attestation has it (versions -02 and -07), on stock
// crypto/tls. It is a compatibility mode, for places that take a *tls.Config
// and leave no room for a protocol after the handshake: QUIC, or a server that
// is handed over to a library. Where there is a choice, use package tlsbinding.
//
//	server, err := inhandshake.NewServer(inhandshake.Config{…, InsecureAcceptRelay: true})
//	http.Server{TLSConfig: server.TLSConfig()}           // one for all connections
//
//	client, err := inhandshake.NewClient(inhandshake.Config{…, InsecureAcceptRelay: true})
//	conn, err := client.Dial(ctx, "tcp", "device.example:443")
//	peer, ok := client.PeerOf(conn.(*tls.Conn).ConnectionState())
//
// # Its weakness
//
// The evidence is made for a nonce and about a key, not for a connection: the
// handshake has no value of its own when the nonce is sent. Whoever has the
// private key of the attested machine can forward the nonce to that machine,
// and put its evidence into a connection of his own (a relay). Nothing in the
// connection shows it. What stands against it is that nobody has the key: so a
// peer is refused unless the result attests that the key of its certificate is
// fixed in a TPM, and unless the requirement names who the peer is, by PKI or
// by attestation key. That rests on the verifier and on the TPM alone. It does
// not help against somebody who may use the TPM where it is, for as long as he
// may. Package tlsbinding binds evidence to the connection itself.
// InsecureAcceptRelay has to be set to say that this was read.
//
// A server that attests makes evidence for a nonce of 8 to 64 bytes that any TLS
// client chooses, before anything is known of the client. Such a nonce can also
// be what another protocol binds its evidence with. So never use the same AK and
// TIK for this mode and for the default mode of package tlsbinding.
//
// Besides: the nonce and the names of evidence types and verifiers travel in
// the clear, in the ClientHello. A ClientHello costs a server a verifier
// session, or work of its TPM, before anything is known of the client:
// Config.MaxHandshakes bounds the sessions, and
// tlsbinding.CredentialConfig.MaxPending the work of the TPM. Who holds all
// places keeps others out for as long as Config.Timeout. There is no
// re-attestation.
//
// # On the wire
//
// It is a plain, valid TLS 1.3 handshake; docs/in-handshake.md shows it byte by
// byte. The draft's extensions of the ClientHello are in ALPN entries behind
// the application's own, which no server selects. Those of the server are in a
// distinguished name: of the CertificateRequest's certificate_authorities where
// the client attests, and of the issuer of the certificate with the evidence
// where the server does. The evidence is a CMW (RFC 9999) in an extension
// id-pe-cmw of a certificate for the attested key. That is the first
// certificate where the key has no other; else it is the last, and the chain
// stays as the CA made it. Nobody checks the signature of that certificate, so
// that no TPM makes it: that the peer has the key is what CertificateVerify
// shows.
//
// A peer that does not know any of this sees an unknown application protocol
// and, as a client, an unknown CA. A server that requires no attestation serves
// it; a client that requires none connects to it. But a server that has
// application protocols refuses a client that offers nothing except these
// entries: a client that means to reach such servers names its application's
// protocol in Config.TLS.NextProtos.
package inhandshake
