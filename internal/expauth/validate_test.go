// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpecimenIsSound(t *testing.T) {
	l, c := specimen(t)
	got, err := c.Validate(Server, l.request, l.authenticator())
	require.NoError(t, err)
	require.Equal(t, []Extension{{cmw, evidence}}, got.Extensions)
	_, err = c.Validate(Server, l.request, l.empty())
	require.ErrorIs(t, err, ErrEmpty)
}

// One bit anywhere, and it is nothing.
func TestFlippedBits(t *testing.T) {
	l, c := specimen(t)
	for name, good := range map[string][]byte{"authenticator": l.authenticator(), "empty": l.empty()} {
		t.Run(name, func(t *testing.T) {
			for i := range good {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				got, err := c.Validate(Server, l.request, bad)
				require.Nil(t, got, "byte %d", i)
				var e *Error
				require.ErrorAs(t, err, &e, "byte %d", i)
				require.NotErrorIs(t, err, ErrEmpty)
			}
			for n := range good {
				got, err := c.Validate(Server, l.request, good[:n])
				require.Nil(t, got, "%d bytes", n)
				var e *Error
				require.ErrorAs(t, err, &e, "%d bytes", n)
			}
			_, err := c.Validate(Server, l.request, append(bytes.Clone(good), 0))
			requireFault(t, err, "authenticator", "unexpected_message", nil)
			require.ErrorContains(t, err, "bytes left over at the end")
		})
	}
	t.Run("request", func(t *testing.T) {
		good := l.authenticator()
		for i := range l.request {
			bad := bytes.Clone(l.request)
			bad[i] ^= 1 << (i % 8)
			got, err := c.Validate(Server, bad, good)
			require.Nil(t, got, "byte %d", i)
			require.Error(t, err, "byte %d", i)
		}
	})
}

// The order and number of messages (RFC 9261, sections 5.2.4 and 6).
func TestMessageSequence(t *testing.T) {
	l, c := specimen(t)
	certificate := l.certificate()
	verify := l.verify(certificate)
	finished := l.finished(certificate, verify)
	for name, x := range map[string]struct {
		parts [][]byte
		alert string
		says  string
	}{
		"nothing":                     {nil, "decode_error", "no handshake message left"},
		"no CertificateVerify":        {[][]byte{certificate, l.finished(certificate)}, "unexpected_message", "Finished instead of CertificateVerify"},
		"no Finished":                 {[][]byte{certificate, verify}, "decode_error", "Finished expected"},
		"Certificate alone":           {[][]byte{certificate}, "decode_error", "CertificateVerify expected"},
		"no Certificate":              {[][]byte{verify, finished}, "unexpected_message", "CertificateVerify instead of Certificate"},
		"Finished first":              {[][]byte{finished, certificate, verify}, "unexpected_message", "left over"},
		"swapped":                     {[][]byte{verify, certificate, finished}, "unexpected_message", "CertificateVerify instead of Certificate"},
		"Certificate twice":           {[][]byte{certificate, certificate, verify, finished}, "unexpected_message", "Certificate instead of CertificateVerify"},
		"CertificateVerify twice":     {[][]byte{certificate, verify, verify, finished}, "unexpected_message", "CertificateVerify instead of Finished"},
		"Finished twice":              {[][]byte{certificate, verify, finished, finished}, "unexpected_message", "left over"},
		"two empty ones":              {[][]byte{l.empty(), l.empty()}, "unexpected_message", "left over"},
		"unknown message":             {[][]byte{handshake(25, certificate[4:]), verify, finished}, "unexpected_message", "handshake message 25 instead of Certificate"},
		"the request":                 {[][]byte{l.request}, "unexpected_message", "ClientCertificateRequest instead of Certificate"},
		"header cut short":            {[][]byte{certificate, verify, finished[:3]}, "decode_error", "Finished is cut short"},
		"length greater than content": {[][]byte{certificate, verify, {20, 0, 0, 33}, finished[4:]}, "decode_error", "Finished is cut short"},
		"too long":                    {[][]byte{make([]byte, MaxAuthenticator+1)}, "decode_error", "at most 131072"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Validate(Server, l.request, slices.Concat(x.parts...))
			require.Nil(t, got)
			requireFault(t, err, "authenticator", x.alert, nil)
			require.ErrorContains(t, err, x.says)
		})
	}
}

// Each has one defect, and all that depends on it was computed anew: the peer
// itself is the attacker.
func TestValidateRefuses(t *testing.T) {
	sha := func(key crypto.Signer, opts crypto.SignerOpts) func([]byte) []byte {
		return func(content []byte) []byte {
			h := opts.HashFunc().New()
			h.Write(content)
			return must(key.Sign(rand.Reader, h.Sum(nil), opts))
		}
	}
	pss := func(salt int) crypto.SignerOpts { return &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA256} }
	withRSA := func(l *longhand, scheme tls.SignatureScheme, opts crypto.SignerOpts) {
		l.entries[0].der = selfSigned(t, rsaKey())
		l.scheme = uint16(scheme)
		l.sign = sha(rsaKey(), opts)
	}
	listing := func(l *longhand, schemes ...tls.SignatureScheme) {
		r := requestFrom(Client)
		r.SignatureSchemes = schemes
		l.request = marshal(t, r)
	}
	for name, x := range map[string]struct {
		change         func(*longhand)
		message, alert string
		is             error
		says           string
	}{
		"another context":  {func(l *longhand) { l.context = bytes.Repeat([]byte{0xc1}, 32) }, "Certificate", "illegal_parameter", ErrContext, ""},
		"longer context":   {func(l *longhand) { l.context = append(bytes.Clone(l.context), 0) }, "Certificate", "illegal_parameter", ErrContext, ""},
		"no context":       {func(l *longhand) { l.context = nil }, "Certificate", "illegal_parameter", ErrContext, ""},
		"no certificate":   {func(l *longhand) { l.entries = nil }, "Certificate", "decode_error", nil, "it has no certificate"},
		"null certificate": {func(l *longhand) { l.entries[0].der = nil }, "Certificate", "decode_error", nil, "certificate 0 has 0 bytes"},
		"great certificate": {func(l *longhand) { l.entries = append(l.entries, longhandEntry{make([]byte, MaxCertificate+1), nil}) },
			"Certificate", "decode_error", nil, "certificate 1 has 65537 bytes"},
		"long chain": {func(l *longhand) {
			for range MaxCertificates {
				l.entries = append(l.entries, longhandEntry{l.entries[0].der, nil})
			}
		}, "Certificate", "bad_certificate", nil, "more than 10 certificates"},
		"not a certificate": {func(l *longhand) { l.entries[0].der = []byte{0x30, 0} }, "Certificate", "bad_certificate", nil, "certificate 0"},
		"not a certificate behind": {func(l *longhand) { l.entries = append(l.entries, longhandEntry{[]byte{0x30, 0}, nil}) },
			"Certificate", "bad_certificate", nil, "certificate 1"},
		"certificate and more": {func(l *longhand) { l.entries[0].der = append(bytes.Clone(l.entries[0].der), 0) }, "Certificate", "bad_certificate", nil, "certificate 0"},
		"extension not offered": {func(l *longhand) { l.entries[0].extensions = extension(0xff01, evidence) },
			"Certificate", "unsupported_extension", ErrExtension, "certificate 0: extension that the request did not offer: extension 0xff01"},
		"extension not offered behind": {func(l *longhand) {
			l.entries = append(l.entries, longhandEntry{l.entries[0].der, extension(0xff01, evidence)})
		}, "Certificate", "unsupported_extension", ErrExtension, "certificate 1"},
		"extension twice": {func(l *longhand) {
			l.entries[0].extensions = slices.Concat(extension(cmw, evidence), extension(cmw, evidence))
		}, "Certificate", "illegal_parameter", nil, "certificate 0: extension 0xff00 appears twice"},
		"extension of requests": {func(l *longhand) { l.entries[0].extensions = extension(extSignatureAlgorithms, []byte{0, 2, 4, 3}) },
			"Certificate", "illegal_parameter", nil, "signature_algorithms does not belong in a Certificate"},
		"extension cut short": {func(l *longhand) { l.entries[0].extensions = []byte{0xff, 0, 0, 1} },
			"Certificate", "decode_error", nil, "an extension is cut short"},
		"extension without length": {func(l *longhand) { l.entries[0].extensions = []byte{0xff, 0, 0} },
			"Certificate", "decode_error", nil, "an extension is cut short"},
		"X.509 v1": {func(l *longhand) { l.entries[0].der = version1(t) },
			"Certificate", "unsupported_certificate", nil, "X.509 version 1, want 3"},
		"key usage": {func(l *longhand) {
			l.entries[0].der = selfSigned(t, p256(), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
		}, "Certificate", "unsupported_certificate", nil, "key usage"},

		"another key signs": {func(l *longhand) {
			l.sign = sha(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), crypto.SHA256)
		}, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"no signature":      {func(l *longhand) { l.sign = func([]byte) []byte { return nil } }, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"label of a server": {func(l *longhand) { l.label = "TLS 1.3, server CertificateVerify" }, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"label of a client": {func(l *longhand) { l.label = "TLS 1.3, client CertificateVerify" }, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"signed for another request": {func(l *longhand) {
			sign, other := l.sign, *l
			listing(&other, tls.ECDSAWithP256AndSHA256)
			l.sign = func([]byte) []byte { return sign(other.content(other.certificate())) }
		}, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"signed for another connection": {func(l *longhand) {
			sign, other := l.sign, *l
			other.secret = bytes.Repeat([]byte{0x5f}, 32)
			l.sign = func([]byte) []byte { return sign(other.content(other.certificate())) }
		}, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"signed for the other side": {func(l *longhand) {
			sign, other := l.sign, *l
			other.sender = "client"
			l.sign = func([]byte) []byte { return sign(other.content(other.certificate())) }
		}, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"signed for other evidence": {func(l *longhand) {
			sign, other := l.sign, *l
			other.entries = []longhandEntry{{l.entries[0].der, extension(cmw, []byte("Evidence"))}}
			l.sign = func([]byte) []byte { return sign(other.content(other.certificate())) }
		}, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"scheme not listed": {func(l *longhand) { listing(l, tls.ECDSAWithP384AndSHA384, tls.PSSWithSHA256) },
			"CertificateVerify", "illegal_parameter", ErrScheme, "the request lists"},
		"scheme of another key": {func(l *longhand) { l.scheme = uint16(tls.Ed25519) }, "CertificateVerify", "illegal_parameter", ErrScheme, "none for an ECDSA key"},
		"scheme of another curve": {func(l *longhand) {
			l.entries[0].der = selfSigned(t, p384())
			l.sign = sha(p384(), crypto.SHA256)
		}, "CertificateVerify", "illegal_parameter", ErrScheme, "none for a key on P-384"},
		"scheme of another hash": {func(l *longhand) {
			l.scheme = uint16(tls.ECDSAWithP384AndSHA384)
			l.sign = sha(p256(), crypto.SHA384)
		}, "CertificateVerify", "illegal_parameter", ErrScheme, "none for a key on P-256"},
		"PKCS #1 v1.5": {func(l *longhand) {
			listing(l, tls.PKCS1WithSHA256)
			withRSA(l, tls.PKCS1WithSHA256, crypto.SHA256)
		}, "CertificateVerify", "illegal_parameter", ErrScheme, "none for an RSA key in TLS 1.3"},
		"SHA-1": {func(l *longhand) {
			listing(l, tls.ECDSAWithSHA1)
			l.scheme = uint16(tls.ECDSAWithSHA1)
			l.sign = sha(p256(), crypto.SHA1)
		}, "CertificateVerify", "illegal_parameter", ErrScheme, "none for an ECDSA key in TLS 1.3"},
		"PSS with a long salt": {func(l *longhand) { withRSA(l, tls.PSSWithSHA256, pss(64)) }, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"PSS without salt":     {func(l *longhand) { withRSA(l, tls.PSSWithSHA256, pss(0)) }, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"PKCS #1 as PSS":       {func(l *longhand) { withRSA(l, tls.PSSWithSHA256, crypto.SHA256) }, "CertificateVerify", "decrypt_error", ErrSignature, ""},
		"unknown key": {func(l *longhand) {
			l.entries[0].der = unknownKey(t)
			l.scheme = uint16(tls.Ed25519)
		}, "CertificateVerify", "illegal_parameter", ErrScheme, "of a type that is not supported"},
		"small RSA key": {func(l *longhand) {
			key := must(rsa.GenerateKey(rand.Reader, 1024))
			l.entries[0].der = selfSigned(t, key)
			l.scheme = uint16(tls.PSSWithSHA256)
			l.sign = sha(key, pss(32))
		}, "CertificateVerify", "illegal_parameter", ErrScheme, "RSA key of 1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			l, c := specimen(t)
			x.change(l)
			got, err := c.Validate(Server, l.request, l.authenticator())
			require.Nil(t, got)
			requireFault(t, err, x.message, x.alert, x.is)
			require.ErrorContains(t, err, x.says)
		})
	}

	t.Run("PSS as it should be", func(t *testing.T) {
		l, c := specimen(t)
		withRSA(l, tls.PSSWithSHA256, pss(32))
		_, err := c.Validate(Server, l.request, l.authenticator())
		require.NoError(t, err)
	})
}

// Lengths inside Certificate and CertificateVerify, with all behind them right.
func TestInnerLengths(t *testing.T) {
	l, c := specimen(t)
	entry := slices.Concat(opaque(3, l.entries[0].der), opaque(2, l.entries[0].extensions))
	for name, x := range map[string]struct{ body, says string }{
		"empty":                {"", "certificate_request_context is cut short"},
		"context cut short":    {string([]byte{33}) + string(l.context), "certificate_request_context is cut short"},
		"no list":              {string(opaque(1, l.context)), "certificate_list is cut short"},
		"list cut short":       {string(opaque(1, l.context)) + "\x00\x00\x05abcd", "certificate_list is cut short"},
		"more behind the list": {string(slices.Concat(opaque(1, l.context), opaque(3, entry), []byte{0})), "bytes left over at the end"},
		"certificate cut short": {string(slices.Concat(opaque(1, l.context), opaque(3, []byte{0, 0, 9, 1}))),
			"certificate 0 is cut short"},
		"no extensions": {string(slices.Concat(opaque(1, l.context), opaque(3, opaque(3, l.entries[0].der)))),
			"certificate 0: the list of extensions is cut short"},
	} {
		t.Run("Certificate/"+name, func(t *testing.T) {
			certificate := handshake(11, []byte(x.body))
			verify := l.verify(certificate)
			_, err := c.Validate(Server, l.request, slices.Concat(certificate, verify, l.finished(certificate, verify)))
			requireFault(t, err, "Certificate", "decode_error", nil)
			require.ErrorContains(t, err, x.says)
		})
	}
	certificate := l.certificate()
	signature := l.sign(l.content(certificate))
	for name, x := range map[string]struct {
		body []byte
		says string
	}{
		"empty":               {nil, "cut short"},
		"no signature":        {[]byte{4, 3}, "cut short"},
		"signature cut short": {slices.Concat([]byte{4, 3}, opaque(2, signature)[:20]), "cut short"},
		"more behind":         {slices.Concat([]byte{4, 3}, opaque(2, signature), []byte{0}), "bytes left over at the end"},
	} {
		t.Run("CertificateVerify/"+name, func(t *testing.T) {
			verify := handshake(15, x.body)
			_, err := c.Validate(Server, l.request, slices.Concat(certificate, verify, l.finished(certificate, verify)))
			requireFault(t, err, "CertificateVerify", "decode_error", nil)
			require.ErrorContains(t, err, x.says)
		})
	}
}

// The Finished alone is wrong; all that it covers is right.
func TestFinished(t *testing.T) {
	l, c := specimen(t)
	certificate := l.certificate()
	verify := l.verify(certificate)
	good := l.finished(certificate, verify)
	other := *l
	other.secret = bytes.Repeat([]byte{0x5f}, 32)
	reverse := *l
	reverse.sender = "client"
	again := l.verify(certificate)
	require.NotEqual(t, verify, again) // ECDSA is randomized
	long := *l
	long.newHash = sha512.New384
	for name, x := range map[string]struct {
		finished []byte
		alert    string
		is       error
	}{
		"of another connection":              {other.finished(certificate, verify), "decrypt_error", ErrFinished},
		"of the other side":                  {reverse.finished(certificate, verify), "decrypt_error", ErrFinished},
		"without the CertificateVerify":      {l.finished(certificate), "decrypt_error", ErrFinished},
		"over another CertificateVerify":     {l.finished(certificate, again), "decrypt_error", ErrFinished},
		"of an empty authenticator":          {l.empty(), "decrypt_error", ErrFinished},
		"all zero":                           {handshake(20, make([]byte, 32)), "decrypt_error", ErrFinished},
		"one byte short":                     {handshake(20, good[4:35]), "decode_error", nil},
		"one byte long":                      {handshake(20, good[4:], []byte{0}), "decode_error", nil},
		"without content":                    {handshake(20), "decode_error", nil},
		"of another hash than the suite's":   {long.finished(certificate, verify), "decode_error", nil},
		"the hash of the transcript, no MAC": {handshake(20, longhandSum(sha256.New, l.handshakeContext(), l.request, certificate, verify)), "decrypt_error", ErrFinished},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Validate(Server, l.request, slices.Concat(certificate, verify, x.finished))
			require.Nil(t, got)
			requireFault(t, err, "Finished", x.alert, x.is)
		})
	}
	for name, finished := range map[string][]byte{
		"empty, of a full one":           good,
		"empty, of another connection":   other.empty(),
		"empty, of the other side":       reverse.empty(),
		"empty, without the Certificate": l.finished(),
		"empty, without the context":     l.finished(handshake(11, opaque(1), opaque(3))),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Validate(Server, l.request, finished)
			require.Nil(t, got)
			requireFault(t, err, "Finished", "decrypt_error", ErrFinished)
			require.NotErrorIs(t, err, ErrEmpty)
		})
	}
}

func TestRequestContext(t *testing.T) {
	l, _ := specimen(t)
	for _, good := range [][]byte{l.request, marshal(t, requestFrom(Server)), l.authenticator()} {
		got, err := RequestContext(good)
		require.NoError(t, err)
		require.Equal(t, l.context, got)
		_, err = RequestContext(good[:len(good)-1])
		var e *Error
		require.ErrorAs(t, err, &e)
	}
	_, err := RequestContext(nil)
	requireFault(t, err, "authenticator", "decode_error", nil)
	l.entries = nil
	_, err = RequestContext(l.authenticator())
	requireFault(t, err, "Certificate", "decode_error", nil)
}
