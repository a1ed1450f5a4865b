// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"crypto/hmac"
	"crypto/tls"
	"crypto/x509"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// Authenticator is what a validated one says.
type Authenticator struct {
	// Empty says that the peer refuses; then the rest is empty, and the error
	// that comes with it is [ErrEmpty].
	Empty bool
	// Certificates are those of the chain, the end-entity's first. The peer has
	// the first one's private key; who it belongs to is not verified.
	Certificates []*x509.Certificate
	// Extensions are those of the first certificate's entry. The request offered
	// each of them; their content is not looked at. Those of other entries are
	// checked likewise and dropped.
	Extensions []Extension
	// SignatureScheme is that of the CertificateVerify.
	SignatureScheme tls.SignatureScheme
}

// Validate checks an authenticator by sender for request, which is the bytes
// that were sent (RFC 9261, sections 5.2 and 6): its context is the request's,
// it has no extension that the request did not offer, the CertificateVerify is
// by the first certificate's key with a scheme that the request lists, and the
// Finished is right.
//
// Whose certificate it is has to be verified by the caller (x509.Certificate's
// Verify), as has, by [Contexts.Done], that the request is answered once. There
// is a result only if all is well, with one exception: an empty authenticator
// is a result with Empty set and the error [ErrEmpty], since such a one is
// invalid (section 7.4). Errors are of type [*Error].
func (c *Connection) Validate(sender Role, request, authenticator []byte) (*Authenticator, error) {
	r, err := requestTo(sender, request)
	if err != nil {
		return nil, err
	}
	messages, err := split(authenticator)
	if err != nil {
		return nil, err
	}
	if len(messages) == 1 {
		mac, err := c.emptyMAC(sender, request, r)
		if err != nil {
			return nil, in("Finished", err)
		}
		if err := checkFinished(messages[0], mac); err != nil {
			return nil, err
		}
		return &Authenticator{Empty: true}, failf("authenticator", alertCertificateRequired, "%w", ErrEmpty)
	}
	certificate, verify, finished := messages[0], messages[1], messages[2]

	m, chain, err := openCertificate(certificate, r)
	if err != nil {
		return nil, in("Certificate", err)
	}
	handshakeContext, finishedKey, err := c.keys(sender)
	if err != nil {
		return nil, in("authenticator", err)
	}
	scheme, err := checkVerify(verify, r, chain[0], c.digest(handshakeContext, request, certificate.raw))
	if err != nil {
		return nil, in("CertificateVerify", err)
	}
	mac := c.mac(finishedKey, c.digest(handshakeContext, request, certificate.raw, verify.raw))
	if err := checkFinished(finished, mac); err != nil {
		return nil, err
	}
	return &Authenticator{Certificates: chain, Extensions: m.entries[0].extensions, SignatureScheme: scheme}, nil
}

// RequestContext is the certificate_request_context of a request or of an
// authenticator, by which the two are matched (RFC 9261, section 7.2). Nothing
// is verified. An empty authenticator has none.
func RequestContext(data []byte) ([]byte, error) {
	if len(data) > 0 && (data[0] == typeCertificateRequest || data[0] == typeClientCertificateRequest) {
		r, err := ParseRequest(data)
		if err != nil {
			return nil, err
		}
		return r.Context, nil
	}
	messages, err := split(data)
	if err != nil {
		return nil, err
	}
	if len(messages) == 1 {
		return nil, failf("authenticator", alertCertificateRequired, "%w", ErrEmpty)
	}
	m, err := parseCertificate(messages[0].body)
	if err != nil {
		return nil, in("Certificate", err)
	}
	return m.context, nil
}

// split takes an authenticator apart: Certificate, CertificateVerify and
// Finished (section 5.2.4), or Finished alone (section 6).
func split(data []byte) ([]message, error) {
	if len(data) > MaxAuthenticator {
		return nil, failf("authenticator", alertDecodeError, "%d bytes, at most %d", len(data), MaxAuthenticator)
	}
	s := cryptobyte.String(data)
	first, err := readMessage(&s)
	if err != nil {
		return nil, failf("authenticator", alertDecodeError, "%w", err)
	}
	messages := []message{first}
	if first.typ != typeFinished {
		for _, want := range []uint8{typeCertificate, typeCertificateVerify, typeFinished} {
			m := first
			if want != typeCertificate {
				if m, err = readMessage(&s); err != nil {
					return nil, failf("authenticator", alertDecodeError, "%s expected: %w", messageName(want), err)
				}
				messages = append(messages, m)
			}
			if m.typ != want {
				return nil, failf("authenticator", alertUnexpectedMessage, "%s instead of %s", messageName(m.typ), messageName(want))
			}
		}
	}
	if !s.Empty() {
		return nil, failf("authenticator", alertUnexpectedMessage, "%w", errTrailing)
	}
	return messages, nil
}

// openCertificate checks all of a Certificate but its signatures.
func openCertificate(raw message, r *Request) (*certificateMessage, []*x509.Certificate, error) {
	m, err := parseCertificate(raw.body)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(m.context, r.Context) {
		return nil, nil, faultf(alertIllegalParameter, "%w: not that of the request", ErrContext)
	}
	var ders [][]byte
	for i, e := range m.entries {
		if err := checkOffered(e.extensions, r); err != nil {
			return nil, nil, faultIn(err, "certificate %d", i)
		}
		ders = append(ders, e.der)
	}
	chain, err := parseChain(ders)
	if err != nil {
		return nil, nil, err
	}
	return m, chain, nil
}

// checkVerify checks a CertificateVerify (section 5.2.2) by leaf's key.
func checkVerify(raw message, r *Request, leaf *x509.Certificate, digest []byte) (tls.SignatureScheme, error) {
	var (
		body      = raw.body
		scheme    uint16
		signature cryptobyte.String
	)
	if !body.ReadUint16(&scheme) || !body.ReadUint16LengthPrefixed(&signature) {
		return 0, faultf(alertDecodeError, "it is cut short")
	}
	if !body.Empty() {
		return 0, faultf(alertDecodeError, "%w", errTrailing)
	}
	s := tls.SignatureScheme(scheme)
	if !slices.Contains(r.SignatureSchemes, s) {
		return 0, faultf(alertIllegalParameter, "%w: %v, the request lists %v", ErrScheme, s, r.SignatureSchemes)
	}
	if err := fits(s, leaf.PublicKey); err != nil {
		return 0, faultf(alertIllegalParameter, "%w: %w", ErrScheme, err)
	}
	if err := verify(leaf.PublicKey, s, digest, signature); err != nil {
		return 0, faultf(alertDecryptError, "%w", err)
	}
	return s, nil
}

// checkFinished compares a Finished in constant time (section 5.2.4).
func checkFinished(m message, mac []byte) error {
	if len(m.body) != len(mac) {
		return failf("Finished", alertDecodeError, "%d bytes, want %d", len(m.body), len(mac))
	}
	if !hmac.Equal(m.body, mac) {
		return failf("Finished", alertDecryptError, "%w: not for this connection and request", ErrFinished)
	}
	return nil
}
