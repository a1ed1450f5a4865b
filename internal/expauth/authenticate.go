// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"context"
	"crypto/tls"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Authenticate makes sender's authenticator for request, which is the bytes
// that came from its peer (RFC 9261, section 5.2): at most [MaxAuthenticator]
// bytes.
//
// That the request's context is new on the connection is for the caller to
// check, by [Contexts.Take]. A request that no credential suits is to be
// answered by [Connection.Refuse]. Errors are of type [*Error].
func (c *Connection) Authenticate(ctx context.Context, sender Role, request []byte, credential *Credential) ([]byte, error) {
	r, err := requestTo(sender, request)
	if err != nil {
		return nil, err
	}
	chain, err := credential.parse()
	if err != nil {
		return nil, in("Certificate", err)
	}
	scheme, err := r.choose(credential, chain)
	if err != nil {
		return nil, err
	}
	if err := checkOffered(credential.Extensions, r); err != nil {
		return nil, in("Certificate", err)
	}
	m := certificateMessage{context: r.Context}
	for _, der := range credential.Chain {
		m.entries = append(m.entries, certificateEntry{der: der})
	}
	m.entries[0].extensions = credential.Extensions
	certificate, err := m.marshal()
	if err != nil {
		return nil, in("Certificate", err)
	}

	handshakeContext, finishedKey, err := c.keys(sender)
	if err != nil {
		return nil, in("authenticator", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, failf("CertificateVerify", alertUserCanceled, "signing: %w", context.Cause(ctx))
	}
	signature, err := sign(credential.signerFor(ctx), scheme, c.digest(handshakeContext, request, certificate))
	if err != nil {
		return nil, failf("CertificateVerify", alertInternalError, "%w", err)
	}
	verify, err := marshalVerify(scheme, signature)
	if err != nil {
		return nil, in("CertificateVerify", err)
	}
	finished, err := marshalFinished(c.mac(finishedKey, c.digest(handshakeContext, request, certificate, verify)))
	if err != nil {
		return nil, in("Finished", err)
	}
	out := append(append(certificate, verify...), finished...)
	if len(out) > MaxAuthenticator {
		return nil, failf("authenticator", alertInternalError, "it has %d bytes, at most %d", len(out), MaxAuthenticator)
	}
	return out, nil
}

// Refuse makes sender's empty authenticator for request (RFC 9261, section 6):
// the peer learns, and can be sure, that this end declines. Errors are of type
// [*Error].
func (c *Connection) Refuse(sender Role, request []byte) ([]byte, error) {
	r, err := requestTo(sender, request)
	if err != nil {
		return nil, err
	}
	mac, err := c.emptyMAC(sender, request, r)
	if err != nil {
		return nil, in("Finished", err)
	}
	out, err := marshalFinished(mac)
	return out, in("Finished", err)
}

// emptyMAC is the content of an empty authenticator: its transcript has a
// Certificate without certificates, which is not sent.
func (c *Connection) emptyMAC(sender Role, request []byte, r *Request) ([]byte, error) {
	certificate, err := (&certificateMessage{context: r.Context}).marshal()
	if err != nil {
		return nil, err
	}
	handshakeContext, finishedKey, err := c.keys(sender)
	if err != nil {
		return nil, err
	}
	return c.mac(finishedKey, c.digest(handshakeContext, request, certificate)), nil
}

// requestTo reads a request that sender is to answer.
func requestTo(sender Role, request []byte) (*Request, error) {
	if err := sender.check(); err != nil {
		return nil, failf("authenticator", alertInternalError, "%w: %w", ErrRole, err)
	}
	r, err := ParseRequest(request)
	if err != nil {
		return nil, err
	}
	if r.From != sender.Peer() {
		return nil, failf(messageName(r.messageType()), alertUnexpectedMessage, "%w: the %v asks, and is to answer", ErrRole, r.From)
	}
	return r, nil
}

// marshalVerify encodes a CertificateVerify (RFC 8446, section 4.4.3).
func marshalVerify(scheme tls.SignatureScheme, signature []byte) ([]byte, error) {
	if len(signature) == 0 {
		return nil, fmt.Errorf("the signer gave no signature")
	}
	return marshalMessage(typeCertificateVerify, func(b *cryptobyte.Builder) {
		b.AddUint16(uint16(scheme))
		addOpaque16(b, signature)
	})
}

// marshalFinished encodes a Finished (RFC 8446, section 4.4.4).
func marshalFinished(mac []byte) ([]byte, error) {
	return marshalMessage(typeFinished, func(b *cryptobyte.Builder) { b.AddBytes(mac) })
}
