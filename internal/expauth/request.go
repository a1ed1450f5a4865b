// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Request asks the peer for an authenticator (RFC 9261, section 4): a server's
// is a CertificateRequest, a client's a ClientCertificateRequest.
type Request struct {
	// From is who asks.
	From Role
	// Context is the certificate_request_context, 1 to 255 bytes: unique on the
	// connection, and not to be guessed. [Contexts.New] makes one.
	Context []byte
	// SignatureSchemes are those that the CertificateVerify may have; at least
	// one. [SignatureSchemes] are all that Validate knows.
	SignatureSchemes []tls.SignatureScheme
	// SignatureSchemesCert are those that the certificates may be signed with,
	// if they are not SignatureSchemes. [CertificateSignatureSchemes] are those
	// that crypto/x509 verifies.
	SignatureSchemesCert []tls.SignatureScheme
	// CertificateAuthorities are the DER names (x509.Certificate.RawSubject) of
	// CAs from which a certificate is wanted; none says nothing.
	CertificateAuthorities [][]byte
	// ServerName is the host whose certificate a client asks for; optional. A
	// server does not ask for one.
	ServerName string
	// Extensions are all others, in order. Those that the peer does not know it
	// ignores; those that it knows it may answer in its Certificate.
	Extensions []Extension
}

// SignatureSchemes are those of TLS 1.3 that an authenticator can be signed
// with here, the cheapest first. RSA keys are those of type rsaEncryption.
func SignatureSchemes() []tls.SignatureScheme {
	return []tls.SignatureScheme{
		tls.ECDSAWithP256AndSHA256, tls.Ed25519, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512,
		tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
	}
}

// CertificateSignatureSchemes are those that certificates may be signed with
// for crypto/x509 to verify them: [SignatureSchemes], and RSA as most CAs use
// it, which TLS 1.3 allows in certificates only (RFC 8446, section 4.2.3).
func CertificateSignatureSchemes() []tls.SignatureScheme {
	return append(SignatureSchemes(), tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512)
}

// offers says whether the request has an extension of its field Extensions.
func (r *Request) offers(typ uint16) bool {
	return slices.ContainsFunc(r.Extensions, func(e Extension) bool { return e.Type == typ })
}

func (r *Request) messageType() uint8 {
	if r.From == Client {
		return typeClientCertificateRequest
	}
	return typeCertificateRequest
}

// Marshal encodes the request: a handshake message of at most [MaxRequest]
// bytes.
func (r *Request) Marshal() ([]byte, error) {
	if err := r.From.check(); err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	extensions, err := r.marshalExtensions()
	if err != nil {
		return nil, fmt.Errorf("making a %s: %w", messageName(r.messageType()), err)
	}
	out, err := marshalMessage(r.messageType(), func(b *cryptobyte.Builder) {
		addOpaque8(b, r.Context)
		addExtensions(b, extensions)
	})
	if err != nil {
		return nil, fmt.Errorf("making a %s: %w", messageName(r.messageType()), err)
	}
	if len(out) > MaxRequest {
		return nil, fmt.Errorf("making a %s: it has %d bytes, at most %d", messageName(r.messageType()), len(out), MaxRequest)
	}
	return out, nil
}

// marshalExtensions checks the request and gives all its extensions.
func (r *Request) marshalExtensions() ([]Extension, error) {
	switch {
	case len(r.Context) == 0 || len(r.Context) > MaxContext:
		return nil, fmt.Errorf("%w: %d bytes, want 1 to %d", ErrContext, len(r.Context), MaxContext)
	case len(r.SignatureSchemes) == 0:
		return nil, fmt.Errorf("no signature scheme given")
	}
	var list []Extension
	add := func(typ uint16, content func(*cryptobyte.Builder)) error {
		var b cryptobyte.Builder
		content(&b)
		data, err := b.Bytes()
		if err != nil {
			return fmt.Errorf("%s: encoding: %w", extensionName(typ), err)
		}
		list = append(list, Extension{typ, data})
		return nil
	}
	if err := add(extSignatureAlgorithms, func(b *cryptobyte.Builder) { addSchemes(b, r.SignatureSchemes) }); err != nil {
		return nil, err
	}
	if len(r.SignatureSchemesCert) > 0 {
		if err := add(extSignatureAlgorithmsCert, func(b *cryptobyte.Builder) { addSchemes(b, r.SignatureSchemesCert) }); err != nil {
			return nil, err
		}
	}
	if len(r.CertificateAuthorities) > 0 {
		for i, name := range r.CertificateAuthorities {
			if !isName(name) {
				return nil, fmt.Errorf("certificate authority %d is not a DER name: give the certificate's RawSubject", i)
			}
		}
		if err := add(extCertificateAuthorities, func(b *cryptobyte.Builder) { addAuthorities(b, r.CertificateAuthorities) }); err != nil {
			return nil, err
		}
	}
	if r.ServerName != "" {
		if r.From != Client {
			return nil, fmt.Errorf("a server name is the client's to ask for")
		}
		if err := checkHostName(r.ServerName); err != nil {
			return nil, err
		}
		if err := add(extServerName, func(b *cryptobyte.Builder) { addServerName(b, r.ServerName) }); err != nil {
			return nil, err
		}
	}
	for _, e := range r.Extensions {
		switch e.Type {
		case extSignatureAlgorithms, extSignatureAlgorithmsCert, extCertificateAuthorities, extServerName:
			return nil, fmt.Errorf("%s has a field of its own", extensionName(e.Type))
		}
	}
	list = append(list, r.Extensions...)
	return list, checkExtensions(list)
}

// ParseRequest reads a request. Every length must be right, and the extensions
// that Request has fields for well formed; others are kept as they are
// (RFC 9261, section 5.2.1). Errors are of type [*Error].
func ParseRequest(data []byte) (*Request, error) {
	if len(data) > MaxRequest {
		return nil, failf("request", alertDecodeError, "%d bytes, at most %d", len(data), MaxRequest)
	}
	s := cryptobyte.String(data)
	m, err := readMessage(&s)
	if err != nil {
		return nil, failf("request", alertDecodeError, "%w", err)
	}
	r := new(Request)
	switch m.typ {
	case typeClientCertificateRequest:
		r.From = Client
	case typeCertificateRequest:
		r.From = Server
	default:
		return nil, failf("request", alertUnexpectedMessage, "%s instead of a request", messageName(m.typ))
	}
	if !s.Empty() {
		return nil, failf(messageName(m.typ), alertDecodeError, "%w", errTrailing)
	}
	if err := r.parse(m.body); err != nil {
		return nil, in(messageName(m.typ), err)
	}
	return r, nil
}

func (r *Request) parse(body cryptobyte.String) error {
	var context cryptobyte.String
	if !body.ReadUint8LengthPrefixed(&context) {
		return faultf(alertDecodeError, "certificate_request_context is cut short")
	}
	// RFC 9261 lets it be empty; then there could be one request a connection.
	if context.Empty() {
		return faultf(alertIllegalParameter, "%w: it is empty", ErrContext)
	}
	r.Context = bytes.Clone(context)
	list, err := readExtensions(&body)
	if err != nil {
		return err
	}
	if !body.Empty() {
		return faultf(alertDecodeError, "%w", errTrailing)
	}
	for _, e := range list {
		if err := r.set(e); err != nil {
			return err
		}
	}
	// RFC 8446, section 4.3.2.
	if len(r.SignatureSchemes) == 0 {
		return faultf(alertMissingExtension, "signature_algorithms is missing")
	}
	return nil
}

// set takes one extension.
func (r *Request) set(e Extension) error {
	s := cryptobyte.String(e.Data)
	var err error
	switch e.Type {
	case extSignatureAlgorithms:
		r.SignatureSchemes, err = readSchemes(&s)
	case extSignatureAlgorithmsCert:
		r.SignatureSchemesCert, err = readSchemes(&s)
	case extCertificateAuthorities:
		r.CertificateAuthorities, err = readAuthorities(&s)
	case extServerName:
		if r.From != Client {
			return faultf(alertIllegalParameter, "server_name does not belong in a CertificateRequest")
		}
		r.ServerName, err = readServerName(&s)
	default:
		r.Extensions = append(r.Extensions, e)
		return nil
	}
	if err == nil && !s.Empty() {
		err = faultf(alertDecodeError, "%w", errTrailing)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", extensionName(e.Type), err)
	}
	return nil
}

// Signature schemes: RFC 8446, section 4.2.3.

func addSchemes(b *cryptobyte.Builder, schemes []tls.SignatureScheme) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, s := range schemes {
			b.AddUint16(uint16(s))
		}
	})
}

func readSchemes(s *cryptobyte.String) ([]tls.SignatureScheme, error) {
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || list.Empty() {
		return nil, faultf(alertDecodeError, "the list is empty or cut short")
	}
	var schemes []tls.SignatureScheme
	for !list.Empty() {
		var scheme uint16
		if !list.ReadUint16(&scheme) {
			return nil, faultf(alertDecodeError, "half a scheme at the end")
		}
		schemes = append(schemes, tls.SignatureScheme(scheme))
	}
	return schemes, nil
}

// Certificate authorities: RFC 8446, section 4.2.4.

func addAuthorities(b *cryptobyte.Builder, names [][]byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, name := range names {
			addOpaque16(b, name)
		}
	})
}

func readAuthorities(s *cryptobyte.String) ([][]byte, error) {
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || list.Empty() {
		return nil, faultf(alertDecodeError, "the list is empty or cut short")
	}
	var names [][]byte
	for !list.Empty() {
		var name cryptobyte.String
		if !list.ReadUint16LengthPrefixed(&name) {
			return nil, faultf(alertDecodeError, "a name is cut short")
		}
		if !isName(name) {
			return nil, faultf(alertDecodeError, "name %d is not DER", len(names))
		}
		names = append(names, bytes.Clone(name))
	}
	return names, nil
}

// isName says whether data is a DER SEQUENCE and nothing else, as a name is.
func isName(data []byte) bool {
	s := cryptobyte.String(data)
	return s.SkipASN1(asn1.SEQUENCE) && s.Empty()
}

// Server name: RFC 6066, section 3. Nothing but one host name was ever defined.

const nameTypeHost = 0

func addServerName(b *cryptobyte.Builder, name string) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(nameTypeHost)
		addOpaque16(b, []byte(name))
	})
}

func readServerName(s *cryptobyte.String) (string, error) {
	var (
		list, name cryptobyte.String
		typ        uint8
	)
	if !s.ReadUint16LengthPrefixed(&list) || !list.ReadUint8(&typ) || !list.ReadUint16LengthPrefixed(&name) {
		return "", faultf(alertDecodeError, "the list is empty or cut short")
	}
	if typ != nameTypeHost {
		return "", faultf(alertIllegalParameter, "name of type %d, want a host name (0)", typ)
	}
	if !list.Empty() {
		return "", faultf(alertIllegalParameter, "more than one name")
	}
	if err := checkHostName(string(name)); err != nil {
		return "", faultf(alertIllegalParameter, "%w", err)
	}
	return string(name), nil
}

// checkHostName is RFC 6066, section 3: ASCII, no dot at the end, no address.
func checkHostName(name string) error {
	if len(name) == 0 || len(name) > 255 {
		return fmt.Errorf("server name of %d bytes: want 1 to 255", len(name))
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("server name %q: the byte 0x%02x is none of a host name", name, c)
		}
	}
	if name[len(name)-1] == '.' {
		return fmt.Errorf("server name %q ends in a dot", name)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("server name %q is an address: RFC 6066 wants a name", name)
	}
	return nil
}
