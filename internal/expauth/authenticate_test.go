// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every hash of a cipher suite, both directions, every signature scheme.
func TestAuthenticate(t *testing.T) {
	keys := map[tls.SignatureScheme]crypto.Signer{
		tls.ECDSAWithP256AndSHA256: p256(),
		tls.ECDSAWithP384AndSHA384: p384(),
		tls.ECDSAWithP521AndSHA512: p521(),
		tls.Ed25519:                edKey(),
		tls.PSSWithSHA256:          rsaKey(),
		tls.PSSWithSHA384:          rsaKey(),
		tls.PSSWithSHA512:          rsaKey(),
	}
	require.Len(t, keys, len(SignatureSchemes()))
	for _, suite := range tls13Suites {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) {
			onlySuite(t, suite)
			client, server := pair(t)
			ends := map[Role]*Connection{Client: client, Server: server}
			for _, sender := range []Role{Client, Server} {
				for scheme, key := range keys {
					t.Run(sender.String()+"/"+scheme.String(), func(t *testing.T) {
						request := marshal(t, requestFrom(sender.Peer()))
						credential := credentialFor(t, key, scheme)
						credential.Extensions = []Extension{{cmw, evidence}}
						out, err := ends[sender].Authenticate(t.Context(), sender, request, credential)
						require.NoError(t, err)

						got, err := ends[sender.Peer()].Validate(sender, request, out)
						require.NoError(t, err)
						require.False(t, got.Empty)
						require.Equal(t, scheme, got.SignatureScheme)
						require.Len(t, got.Certificates, 1)
						require.Equal(t, credential.Chain[0], got.Certificates[0].Raw)
						require.Equal(t, credential.Extensions, got.Extensions)

						// Its context is that of the request.
						context, err := RequestContext(out)
						require.NoError(t, err)
						require.Equal(t, requestFrom(Client).Context, context)
					})
				}
			}
		})
	}
}

// What a server says is nothing that a client said, nor something for another
// connection or another request.
func TestAuthenticatorIsForOneUse(t *testing.T) {
	client, server := pair(t)
	request := marshal(t, requestFrom(Client))
	out, err := server.Authenticate(t.Context(), Server, request, credentialFor(t, p256()))
	require.NoError(t, err)
	_, err = client.Validate(Server, request, out)
	require.NoError(t, err)
	refusal, err := server.Refuse(Server, request)
	require.NoError(t, err)
	_, err = client.Validate(Server, request, refusal)
	require.ErrorIs(t, err, ErrEmpty)

	t.Run("another connection", func(t *testing.T) {
		other, _ := pair(t)
		_, err := other.Validate(Server, request, out)
		requireFault(t, err, "CertificateVerify", "decrypt_error", ErrSignature)
		_, err = other.Validate(Server, request, refusal)
		requireFault(t, err, "Finished", "decrypt_error", ErrFinished)
	})
	t.Run("reflected", func(t *testing.T) {
		// The peer asks the same and sends back what it was told.
		mirrored := requestFrom(Server)
		_, err := server.Validate(Client, marshal(t, mirrored), out)
		requireFault(t, err, "CertificateVerify", "decrypt_error", ErrSignature)
		_, err = server.Validate(Client, marshal(t, mirrored), refusal)
		requireFault(t, err, "Finished", "decrypt_error", ErrFinished)
	})
	t.Run("another context", func(t *testing.T) {
		r := requestFrom(Client)
		r.Context[0]++
		_, err := client.Validate(Server, marshal(t, r), out)
		requireFault(t, err, "Certificate", "illegal_parameter", ErrContext)
		_, err = client.Validate(Server, marshal(t, r), refusal)
		requireFault(t, err, "Finished", "decrypt_error", ErrFinished)
	})
	t.Run("another request with the context", func(t *testing.T) {
		r := requestFrom(Client)
		r.ServerName = "device.example"
		_, err := client.Validate(Server, marshal(t, r), out)
		requireFault(t, err, "CertificateVerify", "decrypt_error", ErrSignature)
		_, err = client.Validate(Server, marshal(t, r), refusal)
		requireFault(t, err, "Finished", "decrypt_error", ErrFinished)
	})
	t.Run("the own request", func(t *testing.T) {
		_, err := client.Validate(Client, request, out)
		requireFault(t, err, "ClientCertificateRequest", "unexpected_message", ErrRole)
		_, err = client.Authenticate(t.Context(), Client, request, credentialFor(t, p256()))
		requireFault(t, err, "ClientCertificateRequest", "unexpected_message", ErrRole)
		_, err = client.Refuse(Client, request)
		requireFault(t, err, "ClientCertificateRequest", "unexpected_message", ErrRole)
	})
	t.Run("no role", func(t *testing.T) {
		_, err := client.Validate(0, request, out)
		requireFault(t, err, "authenticator", "internal_error", ErrRole)
		_, err = client.Authenticate(t.Context(), 0, request, credentialFor(t, p256()))
		requireFault(t, err, "authenticator", "internal_error", ErrRole)
		_, err = client.Refuse(0, request)
		requireFault(t, err, "authenticator", "internal_error", ErrRole)
	})
	t.Run("no request", func(t *testing.T) {
		_, err := client.Validate(Server, nil, out)
		requireFault(t, err, "request", "decode_error", nil)
		_, err = server.Authenticate(t.Context(), Server, nil, credentialFor(t, p256()))
		requireFault(t, err, "request", "decode_error", nil)
	})
}

func TestRefuse(t *testing.T) {
	for _, sender := range []Role{Client, Server} {
		t.Run(sender.String(), func(t *testing.T) {
			client, server := pair(t)
			ends := map[Role]*Connection{Client: client, Server: server}
			request := marshal(t, requestFrom(sender.Peer()))
			out, err := ends[sender].Refuse(sender, request)
			require.NoError(t, err)
			got, err := ends[sender.Peer()].Validate(sender, request, out)
			requireFault(t, err, "authenticator", "certificate_required", ErrEmpty)
			require.Equal(t, &Authenticator{Empty: true}, got)
			_, err = RequestContext(out)
			require.ErrorIs(t, err, ErrEmpty)
		})
	}
}

// The credential's best that the request lists is chosen.
func TestSchemeChoice(t *testing.T) {
	client, server := pair(t)
	sign := func(listed []tls.SignatureScheme, key crypto.Signer, able ...tls.SignatureScheme) (tls.SignatureScheme, error) {
		r := requestFrom(Client)
		r.SignatureSchemes = listed
		request := marshal(t, r)
		out, err := server.Authenticate(t.Context(), Server, request, credentialFor(t, key, able...))
		if err != nil {
			return 0, err
		}
		got, err := client.Validate(Server, request, out)
		require.NoError(t, err)
		return got.SignatureScheme, nil
	}
	all := SignatureSchemes()
	for name, c := range map[string]struct {
		listed []tls.SignatureScheme
		key    crypto.Signer
		able   []tls.SignatureScheme
		want   tls.SignatureScheme
	}{
		"derived from the key":    {all, rsaKey(), nil, tls.PSSWithSHA256},
		"the credential's order":  {all, rsaKey(), []tls.SignatureScheme{tls.PSSWithSHA512, tls.PSSWithSHA256}, tls.PSSWithSHA512},
		"only what is listed":     {[]tls.SignatureScheme{tls.PSSWithSHA384}, rsaKey(), nil, tls.PSSWithSHA384},
		"unknown ones skipped":    {append([]tls.SignatureScheme{0x0a0a, 0x0905}, all...), p256(), nil, tls.ECDSAWithP256AndSHA256},
		"PKCS #1 v1.5 skipped":    {append([]tls.SignatureScheme{tls.PKCS1WithSHA256}, all...), rsaKey(), []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PSSWithSHA256}, tls.PSSWithSHA256},
		"another curve's skipped": {all, p384(), []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384}, tls.ECDSAWithP384AndSHA384},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := sign(c.listed, c.key, c.able...)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	for name, c := range map[string]struct {
		listed []tls.SignatureScheme
		key    crypto.Signer
		able   []tls.SignatureScheme
	}{
		"none in common":   {[]tls.SignatureScheme{tls.Ed25519}, p256(), nil},
		"not the key's":    {all, p256(), []tls.SignatureScheme{tls.Ed25519}},
		"the other curve":  {[]tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}, p256(), []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}},
		"PKCS #1 v1.5":     {[]tls.SignatureScheme{tls.PKCS1WithSHA256}, rsaKey(), []tls.SignatureScheme{tls.PKCS1WithSHA256}},
		"SHA-1":            {[]tls.SignatureScheme{tls.ECDSAWithSHA1}, p256(), []tls.SignatureScheme{tls.ECDSAWithSHA1}},
		"PKCS #1 v1.5 def": {[]tls.SignatureScheme{tls.PKCS1WithSHA256}, rsaKey(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sign(c.listed, c.key, c.able...)
			requireFault(t, err, "CertificateVerify", "handshake_failure", ErrScheme)
		})
	}
}

// The bounds of RSA keys.
func TestRSABounds(t *testing.T) {
	for bits, ok := range map[uint]bool{2047: false, 2048: true, 8192: true, 8193: false} {
		key := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
		require.Equal(t, ok, fits(tls.PSSWithSHA512, key) == nil, "%d bits", bits)
	}
}

// How the chain may be signed (RFC 8446, section 4.2.3), and by whom.
func TestSupports(t *testing.T) {
	credential := &Credential{Chain: issued(t, p256(), rsaKey(), "CA"), Signer: p256()}
	ca, err := x509.ParseCertificate(credential.Chain[1])
	require.NoError(t, err)
	ecdsaOnly := []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
	_, server := pair(t)

	base := func() *Request {
		r := requestFrom(Client)
		r.SignatureSchemes = ecdsaOnly
		r.SignatureSchemesCert = []tls.SignatureScheme{tls.PKCS1WithSHA256}
		r.CertificateAuthorities = [][]byte{ca.RawSubject}
		return r
	}
	require.NoError(t, base().Supports(credential))

	r := base()
	r.SignatureSchemesCert = nil
	requireFault(t, r.Supports(credential), "Certificate", "handshake_failure", ErrScheme)
	_, err = server.Authenticate(t.Context(), Server, marshal(t, r), credential)
	requireFault(t, err, "Certificate", "handshake_failure", ErrScheme)

	r = base()
	r.SignatureSchemesCert = ecdsaOnly
	requireFault(t, r.Supports(credential), "Certificate", "handshake_failure", ErrScheme)

	r = base()
	r.SignatureSchemes = []tls.SignatureScheme{tls.Ed25519}
	requireFault(t, r.Supports(credential), "CertificateVerify", "handshake_failure", ErrScheme)

	// The CAs guide the choice, and are no MUST.
	r = base()
	r.CertificateAuthorities = [][]byte{must(x509.ParseCertificate(selfSigned(t, p256()))).RawSubject}
	requireFault(t, r.Supports(credential), "Certificate", "handshake_failure", nil)
	_, err = server.Authenticate(t.Context(), Server, marshal(t, r), credential)
	require.NoError(t, err)

	requireFault(t, base().Supports(nil), "Certificate", "internal_error", nil)

	// A self-signed certificate may be signed with anything.
	r = base()
	r.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256}
	r.SignatureSchemesCert = ecdsaOnly
	r.CertificateAuthorities = nil
	require.NoError(t, r.Supports(credentialFor(t, rsaKey())))
}

func TestAuthenticateRefuses(t *testing.T) {
	_, server := pair(t)
	request := marshal(t, requestFrom(Client))
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	for name, c := range map[string]struct {
		change         func(*Credential)
		message, alert string
		is             error
		says           string
	}{
		"no signer":       {func(c *Credential) { c.Signer = nil }, "Certificate", "internal_error", nil, "no certificate or no key"},
		"no certificate":  {func(c *Credential) { c.Chain = nil }, "Certificate", "internal_error", nil, "no certificate or no key"},
		"not the key":     {func(c *Credential) { c.Signer = p384() }, "Certificate", "internal_error", nil, "for another key"},
		"unknown key":     {func(c *Credential) { c.Chain = [][]byte{unknownKey(t)} }, "Certificate", "unsupported_certificate", nil, "of a type that is not supported"},
		"not a cert":      {func(c *Credential) { c.Chain = [][]byte{{1}} }, "Certificate", "bad_certificate", nil, "certificate 0"},
		"not a cert in 1": {func(c *Credential) { c.Chain = append(c.Chain, []byte{1}) }, "Certificate", "bad_certificate", nil, "certificate 1"},
		"long chain": {func(c *Credential) {
			for range MaxCertificates {
				c.Chain = append(c.Chain, c.Chain[0])
			}
		}, "Certificate", "internal_error", nil, "11 certificates: at most 10"},
		"great certificate": {func(c *Credential) { c.Chain = append(c.Chain, make([]byte, MaxCertificate+1)) },
			"Certificate", "internal_error", nil, "certificate 1 of the credential has 65537 bytes"},
		"extension not offered": {func(c *Credential) { c.Extensions = []Extension{{0xff01, nil}} },
			"Certificate", "unsupported_extension", ErrExtension, "0xff01"},
		"extension for requests": {func(c *Credential) { c.Extensions = []Extension{{extSignatureAlgorithms, nil}} },
			"Certificate", "illegal_parameter", nil, "signature_algorithms does not belong"},
		"extension twice": {func(c *Credential) { c.Extensions = []Extension{{cmw, nil}, {cmw, nil}} },
			"Certificate", "internal_error", nil, "given twice"},
		"great extension": {func(c *Credential) { c.Extensions = []Extension{{cmw, make([]byte, 65536)}} },
			"Certificate", "internal_error", nil, "65536 bytes"},
		"great extensions": {func(c *Credential) {
			c.Extensions = []Extension{{cmw, make([]byte, 40000)}, {statusRequest, make([]byte, 40000)}}
		}, "Certificate", "internal_error", nil, "80008 bytes"},
		"many extensions": {func(c *Credential) { c.Extensions = make([]Extension, MaxExtensions+1) },
			"Certificate", "internal_error", nil, "65 extensions"},
		"small RSA key": {func(c *Credential) { *c = *credentialFor(t, small) },
			"CertificateVerify", "unsupported_certificate", ErrScheme, "1024 bits: want 2048 to 8192"},
		"small RSA key that says it can": {func(c *Credential) { *c = *credentialFor(t, small, tls.PSSWithSHA256) },
			"CertificateVerify", "handshake_failure", ErrScheme, "the key makes"},
		"curve of no scheme": {func(c *Credential) { *c = *credentialFor(t, p224) },
			"CertificateVerify", "unsupported_certificate", ErrScheme, "P-224"},
		"key usage": {func(c *Credential) {
			c.Chain = [][]byte{selfSigned(t, p256(), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })}
		}, "Certificate", "unsupported_certificate", nil, "key usage"},
		"signer fails":       {func(c *Credential) { c.Signer = &badSigner{Signer: p256(), err: io.ErrClosedPipe} }, "CertificateVerify", "internal_error", io.ErrClosedPipe, ""},
		"signer says nought": {func(c *Credential) { c.Signer = &badSigner{Signer: p256()} }, "CertificateVerify", "internal_error", nil, "no signature"},
		"signer says much":   {func(c *Credential) { c.Signer = &badSigner{Signer: p256(), out: make([]byte, 65536)} }, "CertificateVerify", "internal_error", nil, "encoding"},
		"too large": {func(c *Credential) {
			c.Chain = append(c.Chain, selfSigned(t, p256(), padded(30000)), selfSigned(t, p256(), padded(30000)))
			c.Extensions = []Extension{{cmw, make([]byte, 40000)}}
		}, "authenticator", "internal_error", nil, "at most 131072"},
	} {
		t.Run(name, func(t *testing.T) {
			credential := credentialFor(t, p256())
			c.change(credential)
			out, err := server.Authenticate(t.Context(), Server, request, credential)
			require.Nil(t, out)
			requireFault(t, err, c.message, c.alert, c.is)
			require.ErrorContains(t, err, c.says)
		})
	}
	_, err := server.Authenticate(t.Context(), Server, request, nil)
	requireFault(t, err, "Certificate", "internal_error", nil)
}

// padded makes a certificate great.
func padded(n int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.Organization = []string{string(bytes.Repeat([]byte("x"), n))}
	}
}

type badSigner struct {
	crypto.Signer
	out []byte
	err error
}

func (s *badSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return s.out, s.err }

// contextSigner stands for a TPM's.
type contextSigner struct {
	crypto.Signer
	ctx context.Context
}

func (s contextSigner) WithContext(ctx context.Context) crypto.Signer {
	return contextSigner{s.Signer, ctx}
}

func (s contextSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	if s.ctx == nil {
		return nil, errors.New("signed without the context")
	}
	<-s.ctx.Done()
	return nil, s.ctx.Err()
}

func TestAuthenticateHonoursContext(t *testing.T) {
	_, server := pair(t)
	request := marshal(t, requestFrom(Client))
	credential := credentialFor(t, p256())

	ctx, cancel := context.WithCancel(t.Context())
	credential.Signer = contextSigner{Signer: p256()}
	go cancel()
	_, err := server.Authenticate(ctx, Server, request, credential)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "CertificateVerify", e.Message)
	require.ErrorIs(t, err, context.Canceled)

	// Nobody is asked to sign what nobody waits for.
	credential.Signer = &badSigner{Signer: p256(), err: errors.New("signed")}
	_, err = server.Authenticate(ctx, Server, request, credential)
	requireFault(t, err, "CertificateVerify", "user_canceled", context.Canceled)
}
