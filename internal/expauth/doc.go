// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package expauth is exported authenticators (RFC 9261) on stock crypto/tls:
// after the handshake, one side of a TLS 1.3 connection asks the other to prove
// that it holds the key of a certificate, and the proof counts on that
// connection alone.
//
//	connection, err := expauth.NewConnection(&state)          // both sides
//	…
//	request, err := (&expauth.Request{From: expauth.Client, …}).Marshal()
//	…                                                         // to the server
//	answer, err := connection.Authenticate(ctx, expauth.Server, request, credential)
//	…                                                         // to the client
//	proof, err := connection.Validate(expauth.Server, request, answer)
//
// Requests and authenticators are bytes; how they travel is the caller's
// business. The connection that they are about is the natural way.
//
// # What holds
//
// An authenticator that Validate returned was made by whoever holds the private
// key of its first certificate, and by the other end of this very connection:
// for this request, in this direction, with extensions and an algorithm that
// were asked for. A TLS session that ends in a man in the middle has other
// exporter values, so what he relays fails, even if he holds the software key
// of the TLS certificate.
//
// # What the caller has to do
//
// X.509 path validation: nothing here says whose certificate it is. Nor is
// anything said of the extensions' contents. One context must be used for one
// request and one authenticator only: [Contexts] keeps count.
//
// # What is left out
//
// Authenticators that nobody asked for, which a server may send by section 5:
// what they may hold is decided by the ClientHello, which crypto/tls does not
// show, and here the one that relies always asks. TLS 1.2 and DTLS. Keys of the
// type id-RSASSA-PSS, which crypto/x509 does not read. The oid_filters
// extension is kept and not acted upon.
package expauth
