// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

// What is larger is refused, whoever made it. TLS itself would allow 16 MiB.
const (
	// MaxRequest is the size of a request in bytes.
	MaxRequest = 16 << 10
	// MaxAuthenticator is the size of an authenticator in bytes. An extension
	// is at most 65535 bytes (RFC 8446, section 4.2).
	MaxAuthenticator = 128 << 10
	// MaxCertificates is the number of certificates in a chain.
	MaxCertificates = 10
	// MaxCertificate is the size of one certificate in bytes.
	MaxCertificate = 64 << 10
	// MaxExtensions is the number of extensions in a request, and in one entry
	// of a chain.
	MaxExtensions = 64
	// MaxContext is the size of a request's context in bytes (RFC 9261,
	// section 4).
	MaxContext = 255
	// MinRSABits and MaxRSABits bound an RSA key. The upper bound is that of
	// crypto/tls: it limits what a peer can make us compute.
	MinRSABits = 2048
	MaxRSABits = 8192
)
