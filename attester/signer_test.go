// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

func keyAlg(t testing.TB, s string) attester.KeyAlg {
	t.Helper()
	alg, err := attester.ParseKeyAlg(s)
	require.NoError(t, err)
	return alg
}

// certificate is one that the TIK signed itself.
func certificate(t *testing.T, tik *attester.TIK) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "machine"},
		DNSNames:     []string{"machine"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	template.SignatureAlgorithm = map[tls.SignatureScheme]x509.SignatureAlgorithm{
		tls.PSSWithSHA256: x509.SHA256WithRSAPSS, tls.PSSWithSHA384: x509.SHA384WithRSAPSS,
		tls.ECDSAWithP256AndSHA256: x509.ECDSAWithSHA256,
	}[tik.SignatureSchemes()[0]]
	der, err := x509.CreateCertificate(rand.Reader, template, template, tik.Public(), tik.Signer())
	require.NoError(t, err)
	cert, err := tik.Certificate(der)
	require.NoError(t, err)
	return cert
}

// TestHandshake makes TLS connections whose private key is in the TPM, on both
// sides.
func TestHandshake(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		for _, test := range []struct {
			alg     string
			version uint16
			refused bool
		}{
			{"ecdsa-p256-sha256", tls.VersionTLS13, false},
			{"ecdsa-p384-sha384", tls.VersionTLS13, false},
			{"ecdsa-p521-sha512", tls.VersionTLS13, false},
			{"rsapss-2048-sha256", tls.VersionTLS13, false},
			{"rsapss-2048-sha384", tls.VersionTLS13, false},
			{"rsa-2048", tls.VersionTLS13, false},
			{"ecdsa-p256-sha256", tls.VersionTLS12, false},
			{"rsapss-2048-sha256", tls.VersionTLS12, false},
			{"rsassa-2048-sha256", tls.VersionTLS12, false},
			{"rsa-2048", tls.VersionTLS12, false},
			// Not for TLS 1.3: no PKCS #1 v1.5, and for a curve one hash.
			{"rsassa-2048-sha256", tls.VersionTLS13, true},
			{"ecdsa-p384-sha256", tls.VersionTLS13, true},
		} {
			tik := createTIK(t, tpm, keyAlg(t, test.alg))
			cert := certificate(t, tik)
			server, client := handshake(t, cert, test.version)
			if test.refused {
				assert.Error(t, server, "%s %s", test.alg, tls.VersionName(test.version))
				continue
			}
			assert.NoError(t, server, "%s %s", test.alg, tls.VersionName(test.version))
			assert.NoError(t, client, "%s %s", test.alg, tls.VersionName(test.version))
		}
	})
}

// handshake uses one certificate for both sides.
func handshake(t *testing.T, cert tls.Certificate, version uint16) (server, client error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	config := &tls.Config{
		Certificates: []tls.Certificate{cert}, RootCAs: roots, ClientCAs: roots, ServerName: "machine",
		ClientAuth: tls.RequireAnyClientCert, MinVersion: version, MaxVersion: version,
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			server = err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, config)
		if server = s.HandshakeContext(ctx); server == nil {
			_, server = io.Copy(s, s)
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	c := tls.Client(conn, config)
	if client = c.HandshakeContext(ctx); client == nil {
		_, client = c.Write([]byte("hello"))
		c.CloseWrite()
		b, err := io.ReadAll(c)
		if client == nil {
			client = err
		}
		if client == nil {
			assert.Equal(t, "hello", string(b))
		}
	}
	conn.Close()
	wg.Wait()
	return server, client
}

func TestSign(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ec := createTIK(t, tpm, p256)
		pss := createTIK(t, tpm, keyAlg(t, "rsapss-2048-sha256"))
		any := createTIK(t, tpm, keyAlg(t, "rsa-2048"))
		assert.Equal(t, []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, ec.SignatureSchemes())
		assert.Equal(t, []tls.SignatureScheme{tls.PSSWithSHA256}, pss.SignatureSchemes())
		assert.Equal(t, []tls.SignatureScheme{
			tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
			tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512,
		}, any.SignatureSchemes())

		salt := func(n int) *rsa.PSSOptions { return &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: n} }
		for name, test := range map[string]struct {
			tik    *attester.TIK
			opts   crypto.SignerOpts
			digest int
			want   string
		}{
			"ECDSA":               {ec, crypto.SHA256, 32, ""},
			"PSS":                 {pss, salt(rsa.PSSSaltLengthEqualsHash), 32, ""},
			"PSS auto":            {pss, salt(rsa.PSSSaltLengthAuto), 32, ""},
			"PSS 32":              {pss, salt(32), 32, ""},
			"any PSS":             {any, salt(32), 32, ""},
			"any PKCS #1":         {any, crypto.SHA384, 48, ""},
			"no hash":             {ec, crypto.Hash(0), 32, "no hash given"},
			"nil":                 {ec, nil, 32, "no hash given"},
			"another hash":        {ec, crypto.SHA384, 48, "does not sign ecdsa with SHA-384"},
			"SHA-1":               {any, crypto.SHA1, 20, "does not sign rsassa with SHA-1"},
			"short digest":        {ec, crypto.SHA256, 31, "the digest has 31 bytes"},
			"PKCS #1 with PSS":    {pss, crypto.SHA256, 32, "does not sign rsassa"},
			"salt of no length":   {pss, salt(20), 32, "salt of 20 bytes"},
			"PSS, another hash":   {pss, &rsa.PSSOptions{Hash: crypto.SHA384, SaltLength: 48}, 48, "does not sign rsapss with SHA-384"},
			"the largest of salt": {any, salt(222), 32, "salt of 222 bytes"},
		} {
			digest := make([]byte, test.digest)
			sig, err := test.tik.Signer().Sign(rand.Reader, digest, test.opts)
			if test.want != "" {
				assert.ErrorContains(t, err, test.want, name)
				assert.Nil(t, sig, name)
				continue
			}
			require.NoError(t, err, name)
			switch key := test.tik.Public().(type) {
			case *ecdsa.PublicKey:
				assert.True(t, ecdsa.VerifyASN1(key, digest, sig), name)
			case *rsa.PublicKey:
				if _, ok := test.opts.(*rsa.PSSOptions); ok {
					assert.NoError(t, rsa.VerifyPSS(key, crypto.SHA256, digest, sig, &rsa.PSSOptions{SaltLength: 32}), name)
				} else {
					assert.NoError(t, rsa.VerifyPKCS1v15(key, test.opts.HashFunc(), digest, sig), name)
				}
			}
		}
	})
}

// TestSignContext: a signature waits for the TPM no longer than its context.
func TestSignContext(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	tik := createTIK(t, tpm, p256)
	require.NoError(t, tpm.Do(t.Context(), func(transport.TPM, []tpm2.AuthHandle) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		sig, err := tik.Signer().WithContext(ctx).Sign(nil, make([]byte, 32), crypto.SHA256)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Nil(t, sig)
		return nil
	}))
}

// TestConcurrentHandshakes: more of them than the TPM has room for.
func TestConcurrentHandshakes(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		cert := certificate(t, createTIK(t, tpm, p256))
		other := certificate(t, createTIK(t, tpm, p256))
		cfg := config(t, tpm)
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				c := cert
				if i%2 == 0 {
					c = other
				}
				server, client := handshake(t, c, tls.VersionTLS13)
				assert.NoError(t, server)
				assert.NoError(t, client)
			})
			wg.Go(func() {
				_, err := tpm.Attest(t.Context(), cfg, nonce)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
	})
}

// TestCertificateRefused: a chain that is not the TIK's.
func TestCertificateRefused(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	tik, other := createTIK(t, tpm, p256), createTIK(t, tpm, p256)
	cert := certificate(t, other)
	_, err := tik.Certificate(cert.Certificate...)
	assert.ErrorContains(t, err, "another key")
	_, err = tik.Certificate()
	assert.ErrorContains(t, err, "no certificate given")
	_, err = tik.Certificate([]byte("junk"))
	assert.Error(t, err)
}

// TestSaltLength: a TPM whose RSA-PSS is not TLS's is found out at the start.
// It is a software key's signature that stands in for the TPM's.
func TestSaltLength(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	digest := make([]byte, 32)
	for _, test := range []struct {
		salt int
		want bool
	}{{rsa.PSSSaltLengthEqualsHash, true}, {rsa.PSSSaltLengthAuto, false}, {20, false}} {
		sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest, &rsa.PSSOptions{SaltLength: test.salt})
		require.NoError(t, err)
		err = attester.VerifyPSS(&key.PublicKey, digest, sig)
		if test.want {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, "salts RSA-PSS signatures to another length")
		}
	}
	assert.ErrorIs(t, attester.VerifyPSS(&key.PublicKey, digest, make([]byte, 256)), rsa.ErrVerification)
}
