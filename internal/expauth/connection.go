// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"crypto"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"fmt"

	// The hashes of TLS 1.3.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// Connection is what authenticators are tied to: the exporters of one TLS 1.3
// connection. It may be used concurrently.
type Connection struct {
	hash   crypto.Hash
	export exporter
}

// exporter is RFC 8446, section 7.5.
type exporter func(label string, context []byte, length int) ([]byte, error)

// NewConnection takes a connection after its handshake. What is not TLS 1.3 is
// refused. state is that of the [tls.Conn] itself: one that was put together by
// hand has no exporters.
func NewConnection(state *tls.ConnectionState) (*Connection, error) {
	switch {
	case state == nil:
		return nil, errors.New("no TLS connection given")
	case !state.HandshakeComplete:
		return nil, errors.New("the TLS handshake is not complete: call Handshake first")
	case state.Version != tls.VersionTLS13:
		return nil, fmt.Errorf("the connection is %s: exported authenticators are made on TLS 1.3 only", tls.VersionName(state.Version))
	}
	hash, err := suiteHash(state.CipherSuite)
	if err != nil {
		return nil, err
	}
	own := *state // the caller may put another into his
	return newConnection(hash, own.ExportKeyingMaterial), nil
}

func newConnection(hash crypto.Hash, export exporter) *Connection {
	return &Connection{hash: hash, export: export}
}

// NewExample is a connection that there never was, for test vectors: its
// exporter is any function.
func NewExample(hash crypto.Hash, export func(label string, context []byte, length int) ([]byte, error)) *Connection {
	return newConnection(hash, export)
}

// suiteHash is the hash of a TLS 1.3 cipher suite (RFC 8446, appendix B.4).
func suiteHash(suite uint16) (crypto.Hash, error) {
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256:
		return crypto.SHA256, nil
	case tls.TLS_AES_256_GCM_SHA384:
		return crypto.SHA384, nil
	default:
		return 0, fmt.Errorf("the hash of cipher suite %s is not known", tls.CipherSuiteName(suite))
	}
}

// Hash is that of the connection's cipher suite, the authenticator hash of
// RFC 9261, section 5.1.
func (c *Connection) Hash() crypto.Hash { return c.hash }

// Export is the connection's exporter (RFC 8446, section 7.5), for what is to
// be bound to the connection beside the authenticator.
func (c *Connection) Export(label string, context []byte, length int) ([]byte, error) {
	out, err := c.export(label, context, length)
	if err != nil {
		return nil, fmt.Errorf("exporter %q: %w", label, err)
	}
	if len(out) != length {
		return nil, fmt.Errorf("exporter %q: %d bytes, want %d", label, len(out), length)
	}
	return out, nil
}

// keys are those of RFC 9261, section 5.1: the Handshake Context and the
// Finished MAC Key of authenticators by sender. They differ by side, so that
// nothing can be sent back to who said it.
func (c *Connection) keys(sender Role) (handshakeContext, finishedKey []byte, err error) {
	if handshakeContext, err = c.Export("EXPORTER-"+sender.String()+" authenticator handshake context", nil, c.hash.Size()); err != nil {
		return nil, nil, err
	}
	if finishedKey, err = c.Export("EXPORTER-"+sender.String()+" authenticator finished key", nil, c.hash.Size()); err != nil {
		return nil, nil, err
	}
	return handshakeContext, finishedKey, nil
}

// digest is the hashed transcript of section 5.2.
func (c *Connection) digest(parts ...[]byte) []byte {
	h := c.hash.New()
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// mac is the content of a Finished (sections 5.2.3 and 6).
func (c *Connection) mac(key, digest []byte) []byte {
	h := hmac.New(c.hash.New, key)
	h.Write(digest)
	return h.Sum(nil)
}
