// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// cmw is the code point of cmw_attestation.
	cmw uint16 = 0xff00
	// statusRequest is OCSP's (RFC 6066, section 8).
	statusRequest uint16 = 5
)

var evidence = []byte("evidence")

// The suites of TLS 1.3 that crypto/tls has.
var tls13Suites = []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}

// Keys are made once a process: RSA's take long.
var (
	rsaKey = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256   = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384   = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521   = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey  = sync.OnceValue(func() crypto.Signer {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	})
)

// must is for what cannot fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// selfSigned makes a certificate for key; change may alter the template.
func selfSigned(t testing.TB, key crypto.Signer, change ...func(*x509.Certificate)) []byte {
	t.Helper()
	template := template()
	for _, c := range change {
		c(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return der
}

func template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "device"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		DNSNames:     []string{"device.example"},
	}
}

// issued makes a chain of a certificate for key and of the CA with caKey that
// signed it.
func issued(t testing.TB, key crypto.Signer, caKey crypto.Signer, caName string) [][]byte {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: caName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	root, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	require.NoError(t, err)
	leaf, err := x509.CreateCertificate(rand.Reader, template(), ca, key.Public(), caKey)
	require.NoError(t, err)
	return [][]byte{leaf, root}
}

func credentialFor(t testing.TB, key crypto.Signer, schemes ...tls.SignatureScheme) *Credential {
	t.Helper()
	return &Credential{Chain: [][]byte{selfSigned(t, key)}, Signer: key, SignatureSchemes: schemes}
}

// requestFrom asks for evidence, with every scheme.
func requestFrom(role Role) *Request {
	return &Request{
		From:                 role,
		Context:              bytes.Repeat([]byte{0xc0}, 32),
		SignatureSchemes:     SignatureSchemes(),
		SignatureSchemesCert: CertificateSignatureSchemes(),
		Extensions:           []Extension{{Type: cmw, Data: []byte{}}, {Type: statusRequest, Data: []byte{1, 0, 0, 0, 0}}},
	}
}

func marshal(t testing.TB, r *Request) []byte {
	t.Helper()
	out, err := r.Marshal()
	require.NoError(t, err)
	return out
}

// states makes a connection over loopback, of the TLS versions up to max, and
// says what its ends know.
func states(t testing.TB, max uint16) (client, server tls.ConnectionState) {
	t.Helper()
	key := p256()
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{selfSigned(t, key)}, PrivateKey: key}},
		MaxVersion:   max,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var (
		wg        sync.WaitGroup
		serverErr error
	)
	wg.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, config)
		serverErr = s.HandshakeContext(ctx)
		server = s.ConnectionState()
	})
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: max})
	require.NoError(t, c.HandshakeContext(ctx))
	client = c.ConnectionState()
	wg.Wait()
	require.NoError(t, serverErr)
	return client, server
}

// pair is the two ends of a new TLS 1.3 connection.
func pair(t testing.TB) (client, server *Connection) {
	t.Helper()
	c, s := states(t, tls.VersionTLS13)
	client, err := NewConnection(&c)
	require.NoError(t, err)
	server, err = NewConnection(&s)
	require.NoError(t, err)
	return client, server
}

// specimen is a sound authenticator of a server, made longhand, to be damaged;
// and the connection, not a real one, on which it is sound.
func specimen(t testing.TB) (*longhand, *Connection) {
	t.Helper()
	key := p256()
	l := &longhand{
		newHash: sha256.New,
		secret:  bytes.Repeat([]byte{0x5e}, 32),
		sender:  "server",
		request: marshal(t, requestFrom(Client)),
		context: requestFrom(Client).Context,
		entries: []longhandEntry{{selfSigned(t, key), extension(cmw, evidence)}},
		scheme:  uint16(tls.ECDSAWithP256AndSHA256),
		label:   "Exported Authenticator",
		sign: func(content []byte) []byte {
			digest := sha256.Sum256(content)
			return must(key.Sign(rand.Reader, digest[:], crypto.SHA256))
		},
	}
	return l, l.connection(crypto.SHA256)
}

// requireFault checks all that an Error says but its words.
func requireFault(t testing.TB, err error, message, alert string, is error) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, message, e.Message, "%v", err)
	require.Equal(t, alert, e.Alert, "%v", err)
	if is != nil {
		require.ErrorIs(t, err, is)
	}
}

// tcpPair is a loopback connection without TLS.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	client, err = net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	server, err = listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	return client, server
}

// version1 is an X.509 v1 certificate for p256: crypto/x509 makes v3 alone, so
// version and extensions are cut out and it is signed anew.
func version1(t testing.TB) []byte {
	t.Helper()
	key := p256()
	cert, err := x509.ParseCertificate(selfSigned(t, key))
	require.NoError(t, err)
	var tbs struct {
		Version                                        asn1.RawValue `asn1:"tag:0"`
		Serial, Algorithm, Issuer, Validity, Subj, Key asn1.RawValue
	}
	rest, err := asn1.Unmarshal(cert.RawTBSCertificate, &tbs)
	require.NoError(t, err)
	require.Empty(t, rest)
	body := slices.Concat(tbs.Serial.FullBytes, tbs.Algorithm.FullBytes, tbs.Issuer.FullBytes,
		tbs.Validity.FullBytes, tbs.Subj.FullBytes, tbs.Key.FullBytes)
	der := func(tag int, data []byte) []byte {
		return must(asn1.Marshal(asn1.RawValue{Tag: tag, IsCompound: tag == asn1.TagSequence, Bytes: data}))
	}
	signed := der(asn1.TagSequence, body)
	digest := sha256.Sum256(signed)
	signature := must(key.Sign(rand.Reader, digest[:], crypto.SHA256))
	return der(asn1.TagSequence, slices.Concat(signed, tbs.Algorithm.FullBytes, der(asn1.TagBitString, append([]byte{0}, signature...))))
}

func mustParse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// unknownKey is a certificate whose key is of a type that crypto/x509 does not
// know: one of Ed25519 that says Ed448 (RFC 8410, section 3).
func unknownKey(t testing.TB) []byte {
	t.Helper()
	der := bytes.ReplaceAll(selfSigned(t, edKey()), []byte{6, 3, 0x2b, 0x65, 0x70}, []byte{6, 3, 0x2b, 0x65, 0x71})
	require.Nil(t, mustParse(t, der).PublicKey)
	return der
}
