// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package signed_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
)

const class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"

var (
	now  = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	acme = endorsements.Signer{Name: "ACME Ltd.", URI: "https://acme.example"}
)

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

// corimIn makes an unsigned CoRIM.
func corimIn(t testing.TB, d endorsements.Dialect, changes ...func(*endorsements.Corim)) []byte {
	t.Helper()
	s, err := endorsements.NewReferenceState(class, []endorsements.PCRValue{
		{PCR: endorsements.PCR{Bank: crypto.SHA256, Index: 7}, Digest: bytes.Repeat([]byte{7}, 32)},
	})
	require.NoError(t, err)
	c := &endorsements.Corim{ID: "test", States: []endorsements.ReferenceState{s}}
	for _, change := range changes {
		change(c)
	}
	data, err := c.Encode(d)
	require.NoError(t, err)
	return data
}

func sign(t testing.TB, corim []byte, key crypto.Signer, change func(*signed.Options)) []byte {
	t.Helper()
	o := signed.Options{Signer: acme}
	if change != nil {
		change(&o)
	}
	data, err := signed.Sign(corim, key, o)
	require.NoError(t, err)
	return data
}

func trusting(keys ...crypto.Signer) signed.Policy {
	p := signed.Policy{CurrentTime: now}
	for _, key := range keys {
		p.Keys = append(p.Keys, key.Public())
	}
	return p
}

// opaque hides what kind of key a key is, as a TPM does.
type opaque struct{ crypto.Signer }

func TestSignAndVerify(t *testing.T) {
	keys := map[string]crypto.Signer{
		"P-256": newKey(t, elliptic.P256()), "P-384": newKey(t, elliptic.P384()), "P-521": newKey(t, elliptic.P521()),
		"Ed25519": newEd25519(t), "P-384 in hardware": opaque{newKey(t, elliptic.P384())}, "Ed25519 in hardware": opaque{newEd25519(t)},
	}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			for _, d := range []endorsements.Dialect{endorsements.DialectV1, endorsements.DialectV2} {
				payload := corimIn(t, d)
				data := sign(t, payload, key, func(o *signed.Options) {
					o.KeyID, o.NotBefore, o.NotAfter = []byte("kid"), now.AddDate(0, -1, 0), now.AddDate(0, 1, 0)
				})
				v, err := signed.Verify(data, trusting(newEd25519(t), newKey(t, elliptic.P256()), key))
				require.NoError(t, err)
				want, err := endorsements.Decode(payload)
				require.NoError(t, err)
				assert.Equal(t, &signed.Verified{
					Corim: want, Payload: payload, Signer: acme, Key: key.Public(), KeyID: []byte("kid"),
					NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 1, 0),
				}, v)

				// Nobody takes it for an unsigned one.
				_, err = endorsements.Decode(data)
				require.ErrorIs(t, err, endorsements.ErrSigned)
			}
		})
	}
}

// The largest CoRIM can be signed, and its signature is seen before its size.
func TestLargest(t *testing.T) {
	fill := func(n int) func(c *endorsements.Corim) {
		return func(c *endorsements.Corim) { c.ID = strings.Repeat("x", n) }
	}
	small := len(corimIn(t, endorsements.DialectV1, fill(1<<16)))
	payload := corimIn(t, endorsements.DialectV1, fill(1<<16+endorsements.MaxCorimSize-small))
	require.Len(t, payload, endorsements.MaxCorimSize)
	key := newEd25519(t)
	data := sign(t, payload, key, nil)
	_, err := endorsements.Decode(data)
	require.ErrorIs(t, err, endorsements.ErrSigned)
	v, err := signed.Verify(data, trusting(key))
	require.NoError(t, err)
	assert.Equal(t, payload, v.Payload)

	// A payload that is larger than any CoRIM may fit into a message.
	larger := forge(t, append(bytes.Clone(payload), 0), newKey(t, elliptic.P256()), [][]byte{{0}})
	u, err := endorsements.ReadSigned(larger)
	require.NoError(t, err)
	_, err = u.Corim()
	require.EqualError(t, err, "payload: 1048577 bytes; expected at most 1048576")
}

// Without a word about time, the clock decides.
func TestVerifyNow(t *testing.T) {
	key := newEd25519(t)
	p := signed.Policy{Keys: []crypto.PublicKey{key.Public()}}
	soon := time.Now().Add(time.Hour).Truncate(time.Second)
	_, err := signed.Verify(sign(t, corimIn(t, endorsements.DialectV1), key, func(o *signed.Options) { o.NotAfter = soon }), p)
	require.NoError(t, err)
	_, err = signed.Verify(sign(t, corimIn(t, endorsements.DialectV1), key, func(o *signed.Options) { o.NotBefore, o.NotAfter = soon, soon }), p)
	require.ErrorIs(t, err, endorsements.ErrNotYetValid)
}

// Each case has one defect.
func TestVerifyRefuses(t *testing.T) {
	key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	payload := corimIn(t, endorsements.DialectV1)
	good := sign(t, payload, key, nil)
	_, err := signed.Verify(good, trusting(key))
	require.NoError(t, err)
	altered := func(part []byte) []byte {
		data := bytes.Clone(good)
		at := bytes.Index(data, part)
		require.Positive(t, at)
		data[at+len(part)-1] ^= 1
		return data
	}
	bounded := func(from, until time.Time) []byte {
		return sign(t, payload, key, func(o *signed.Options) { o.NotBefore, o.NotAfter = from, until })
	}
	const untrusted = "the signer is not trusted: none of the trusted keys made this signature"
	for name, test := range map[string]struct {
		data   []byte
		policy signed.Policy
		is     error
		want   string
	}{
		"nobody trusted":      {good, signed.Policy{CurrentTime: now}, signed.ErrNoTrust, "nobody is trusted to sign CoRIMs: the policy has no keys and no roots"},
		"another key":         {good, trusting(other), signed.ErrUntrusted, untrusted},
		"another algorithm":   {good, trusting(newEd25519(t), newKey(t, elliptic.P384())), signed.ErrUntrusted, untrusted},
		"payload altered":     {altered(bytes.Repeat([]byte{7}, 32)), trusting(key), signed.ErrUntrusted, untrusted},
		"header altered":      {altered([]byte("ACME Ltd.")), trusting(key), signed.ErrUntrusted, untrusted},
		"signature altered":   {altered(good[len(good)-5:]), trusting(key), signed.ErrUntrusted, untrusted},
		"no chain":            {good, signed.Policy{Roots: x509.NewCertPool(), CurrentTime: now}, signed.ErrUntrusted, untrusted + ", and there is no x5chain"},
		"unsigned":            {payload, trusting(key), endorsements.ErrUnsigned, endorsements.ErrUnsigned.Error()},
		"signature expired":   {bounded(time.Time{}, now.Add(-time.Second)), trusting(key), endorsements.ErrExpired, "signature: the CoRIM has expired: not after 2026-06-30T23:59:59Z"},
		"signature too early": {bounded(now.Add(time.Second), now.Add(time.Hour)), trusting(key), endorsements.ErrNotYetValid, "signature: the CoRIM is not valid yet: not before 2026-07-01T00:00:01Z"},
		"CoRIM expired": {sign(t, corimIn(t, endorsements.DialectV2, func(c *endorsements.Corim) { c.NotAfter = now.Add(-time.Second) }), key, nil), trusting(key),
			endorsements.ErrExpired, "the CoRIM has expired: not after 2026-06-30T23:59:59Z"},
		"CoRIM too early": {sign(t, corimIn(t, endorsements.DialectV2, func(c *endorsements.Corim) { c.NotBefore, c.NotAfter = now.Add(time.Second), now.Add(time.Hour) }), key, nil), trusting(key),
			endorsements.ErrNotYetValid, "the CoRIM is not valid yet: not before 2026-07-01T00:00:01Z"},
		"untrustworthy key in the policy": {good, signed.Policy{Keys: []crypto.PublicKey{key.Public(), newKey(t, elliptic.P224()).Public()}, CurrentTime: now}, nil,
			"policy: keys[1]: expected an ECDSA key on P-256, P-384 or P-521, found one on P-224"},
		"no key in the policy": {good, signed.Policy{Keys: []crypto.PublicKey{nil}, CurrentTime: now}, nil, "policy: keys[0]: expected an ECDSA or Ed25519 key, found <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := signed.Verify(test.data, test.policy)
			assert.Nil(t, v)
			require.EqualError(t, err, test.want)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
		})
	}
}

// authority is a certification authority for tests.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func (a *authority) issue(t testing.TB, cert *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key, a.key)
	require.NoError(t, err)
	issued, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return issued
}

func newAuthority(t testing.TB, name string, parent *authority) *authority {
	t.Helper()
	a := &authority{key: newKey(t, elliptic.P256())}
	a.cert = template(name)
	a.cert.IsCA, a.cert.KeyUsage = true, x509.KeyUsageCertSign
	if parent == nil {
		parent = a
	}
	a.cert = parent.issue(t, a.cert, a.key.Public())
	return a
}

func TestChain(t *testing.T) {
	root := newAuthority(t, "root", nil)
	middle := newAuthority(t, "middle", root)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	policy := signed.Policy{Roots: roots, CurrentTime: now}
	payload := corimIn(t, endorsements.DialectV2)
	key := newKey(t, elliptic.P384())
	chain := func(change func(c *x509.Certificate)) [][]byte {
		leaf := template("signer")
		if change != nil {
			change(leaf)
		}
		return [][]byte{middle.issue(t, leaf, key.Public()).Raw, middle.cert.Raw}
	}
	signWith := func(certs [][]byte) ([]byte, error) {
		return signed.Sign(payload, key, signed.Options{Signer: acme, Chain: certs})
	}
	mustSign := func(certs [][]byte) []byte {
		data, err := signWith(certs)
		require.NoError(t, err)
		return data
	}

	t.Run("accepts", func(t *testing.T) {
		for name, change := range map[string]func(c *x509.Certificate){
			"usual":        nil,
			"no key usage": func(c *x509.Certificate) { c.KeyUsage = 0 },
			"code signing": func(c *x509.Certificate) {
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping, x509.ExtKeyUsageCodeSigning}
			},
			"any": func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} },
		} {
			t.Run(name, func(t *testing.T) {
				v, err := signed.Verify(mustSign(chain(change)), policy)
				require.NoError(t, err)
				require.Len(t, v.Chain, 3)
				assert.Equal(t, "signer", v.Chain[0].Subject.CommonName)
				assert.True(t, v.Chain[2].Equal(root.cert))
				assert.True(t, key.PublicKey.Equal(v.Key))
			})
		}
		// A key that is trusted by itself needs no chain, and may have one.
		v, err := signed.Verify(mustSign(chain(nil)), trusting(key))
		require.NoError(t, err)
		assert.Nil(t, v.Chain)
		// The root itself may be sent along, or be all that is needed.
		v, err = signed.Verify(mustSign([][]byte{root.issue(t, template("signer"), key.Public()).Raw}), policy)
		require.NoError(t, err)
		assert.Len(t, v.Chain, 2)
	})

	// An authority below the root that may certify servers alone.
	t.Run("refuses an authority's purpose", func(t *testing.T) {
		limited := &authority{key: newKey(t, elliptic.P256()), cert: template("for servers")}
		limited.cert.IsCA, limited.cert.KeyUsage = true, x509.KeyUsageCertSign
		limited.cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		limited.cert = root.issue(t, limited.cert, limited.key.Public())
		leaf := template("signer")
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		_, err := signed.Verify(mustSign([][]byte{limited.issue(t, leaf, key.Public()).Raw, limited.cert.Raw}), policy)
		require.ErrorIs(t, err, signed.ErrUntrusted)
		require.ErrorContains(t, err, "incompatible key usage")
	})

	t.Run("refuses", func(t *testing.T) {
		elsewhere := newAuthority(t, "root", nil)
		for name, test := range map[string]struct {
			change func(c *x509.Certificate)
			want   string
		}{
			"CA": {func(c *x509.Certificate) {
				c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
			}, "protected.x5chain[0]: expected a signer's certificate, found a certification authority's"},
			"key usage": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, "protected.x5chain[0]: expected the key usage digitalSignature"},
			"for TLS":   {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "protected.x5chain[0]: expected no extended key usage, or codeSigning or anyExtendedKeyUsage among them"},
			"for something else": {func(c *x509.Certificate) {
				c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, []int{1, 3, 6, 1, 4, 1, 99999, 1})
			},
				"protected.x5chain[0]: expected no extended key usage, or codeSigning or anyExtendedKeyUsage among them"},
		} {
			t.Run(name, func(t *testing.T) {
				certs := chain(test.change)
				_, err := signWith(certs)
				require.EqualError(t, err, test.want)
				var e *endorsements.Error
				require.ErrorAs(t, err, &e)
				// Somebody else's tool signs it.
				_, err = signed.Verify(forge(t, payload, key, certs), policy)
				require.EqualError(t, err, test.want)
			})
		}
		expect := func(name string, data []byte, p signed.Policy, is error, want string) {
			t.Run(name, func(t *testing.T) {
				v, err := signed.Verify(data, p)
				assert.Nil(t, v)
				require.ErrorContains(t, err, want)
				if is != nil {
					require.ErrorIs(t, err, is)
				}
			})
		}
		at := func(when time.Time) signed.Policy { return signed.Policy{Roots: roots, CurrentTime: when} }
		good := mustSign(chain(nil))
		expect("too early", good, at(now.AddDate(-2, 0, 0)), signed.ErrUntrusted, "not yet valid")
		expect("expired", good, at(now.AddDate(2, 0, 0)), signed.ErrUntrusted, "expired")
		others := x509.NewCertPool()
		others.AddCert(elsewhere.cert)
		expect("another root", good, signed.Policy{Roots: others, CurrentTime: now}, signed.ErrUntrusted, "the signer is not trusted: x5chain: x509: certificate signed by unknown authority")
		expect("no root", good, signed.Policy{Roots: x509.NewCertPool(), CurrentTime: now}, signed.ErrUntrusted, "certificate signed by unknown authority")
		expect("a certificate is missing", mustSign(chain(nil)[:1]), policy, signed.ErrUntrusted, "certificate signed by unknown authority")

		stranger := newKey(t, elliptic.P384())
		stolen := forge(t, payload, stranger, chain(nil))
		expect("another's certificate", stolen, policy, signed.ErrSignature, "the signature does not match the key")
		expect("another's certificate, trusted key", stolen, trusting(stranger), nil,
			"protected.x5chain[0]: expected the certificate of the key that signed, found another key's")
		expect("key of another curve", forge(t, payload, newKey(t, elliptic.P256()), chain(nil)), policy, signed.ErrSignature,
			"the signature does not match the key: the key is for ES384, the message for ES256")
		expect("no certificate", forge(t, payload, key, [][]byte{[]byte("leaf")}), policy, nil, "protected.x5chain[0]: expected a certificate: ")
		expect("two certificates in one", forge(t, payload, key, [][]byte{append(bytes.Clone(chain(nil)[0]), middle.cert.Raw...)}), policy, nil,
			"protected.x5chain[0]: expected a certificate: ")
		// The authority signed a certificate that may not sign certificates.
		notCA := &authority{cert: middle.issue(t, template("not a CA"), key.Public()), key: key}
		below := newKey(t, elliptic.P384())
		expect("below a signer", forge(t, payload, below, [][]byte{notCA.issue(t, template("below"), below.Public()).Raw, notCA.cert.Raw, middle.cert.Raw}), policy,
			signed.ErrUntrusted, "x5chain: x509: ")
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		expect("RSA certificate", forge(t, payload, key, [][]byte{middle.issue(t, template("RSA"), rsaKey.Public()).Raw, middle.cert.Raw}), policy, nil,
			"protected.x5chain[0]: expected an ECDSA or Ed25519 key, found *rsa.PublicKey")
		huge := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
		expect("a very large key", forge(t, payload, key, [][]byte{chain(nil)[0], middle.issue(t, template("huge"), huge).Raw}), policy, nil,
			"protected.x5chain[1]: expected an RSA key of at most 8192 bits, found one of 8193")
	})
}

// broken makes signatures that do not verify.
type broken struct{ crypto.Signer }

func (b broken) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	other := sha1.Sum(digest)
	return b.Signer.Sign(r, append(other[:], digest[20:]...), o)
}

// absent is a key whose TPM has gone.
type absent struct{ crypto.Signer }

var errAbsent = errors.New("no TPM")

func (absent) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errAbsent }

func TestSignRefuses(t *testing.T) {
	key := newKey(t, elliptic.P256())
	payload := corimIn(t, endorsements.DialectV1)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ca := newAuthority(t, "root", nil)
	cert := ca.issue(t, template("signer"), newKey(t, elliptic.P256()).Public()).Raw
	for name, test := range map[string]struct {
		corim  []byte
		key    crypto.Signer
		change func(o *signed.Options)
		want   string
	}{
		"no CoRIM":          {nil, key, nil, "CoRIM to be signed: no data; expected a CoRIM"},
		"signed already":    {sign(t, payload, key, nil), key, nil, "CoRIM to be signed: " + endorsements.ErrSigned.Error()},
		"no key":            {payload, nil, nil, "no key to sign with"},
		"RSA":               {payload, rsaKey, nil, "key to sign with: expected an ECDSA or Ed25519 key, found *rsa.PublicKey"},
		"P-224":             {payload, newKey(t, elliptic.P224()), nil, "key to sign with: expected an ECDSA key on P-256, P-384 or P-521, found one on P-224"},
		"broken key":        {payload, broken{key}, nil, "checking what was signed: the signature does not match the key"},
		"absent key":        {payload, absent{key}, nil, "signing: no TPM"},
		"no name":           {payload, key, func(o *signed.Options) { o.Signer.Name = "" }, "protected.corim-meta.signer.signer-name: missing; expected the name of an organisation"},
		"fraction":          {payload, key, func(o *signed.Options) { o.NotAfter = now.Add(1) }, "validity.not-after: expected whole seconds between 1970 and 9999, found 2026-07-01T00:00:00.000000001Z"},
		"other certificate": {payload, key, func(o *signed.Options) { o.Chain = [][]byte{cert} }, "protected.x5chain[0]: expected the certificate of the key to sign with, found another key's"},
	} {
		t.Run(name, func(t *testing.T) {
			o := signed.Options{Signer: acme}
			if test.change != nil {
				test.change(&o)
			}
			data, err := signed.Sign(test.corim, test.key, o)
			assert.Nil(t, data)
			require.EqualError(t, err, test.want)
		})
	}
}

// FuzzVerify: no message that the trusted key did not sign is believed.
func FuzzVerify(f *testing.F) {
	key := newEd25519(f)
	root := newAuthority(f, "root", nil)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	signer := newKey(f, elliptic.P256())
	good := [][]byte{
		sign(f, corimIn(f, endorsements.DialectV1), key, nil),
		sign(f, corimIn(f, endorsements.DialectV2), signer, func(o *signed.Options) {
			o.Chain = [][]byte{root.issue(f, template("signer"), signer.Public()).Raw}
		}),
	}
	policy := trusting(key)
	policy.Roots = roots
	for _, data := range good {
		_, err := signed.Verify(data, policy)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add(corimIn(f, endorsements.DialectV2))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := signed.Verify(data, policy)
		if err != nil {
			require.Nil(t, v)
			return
		}
		for _, g := range good {
			u, err := endorsements.ReadSigned(g)
			require.NoError(t, err)
			if bytes.Equal(u.Payload, v.Payload) {
				return
			}
		}
		t.Fatalf("believed: %x", data)
	})
}
