// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return k
}

func mustKey(t testing.TB, p tpmwire.Public) crypto.PublicKey {
	t.Helper()
	k, err := x509.ParsePKIXPublicKey(p.SPKI)
	require.NoError(t, err)
	again, err := x509.MarshalPKIXPublicKey(k)
	require.NoError(t, err)
	require.Equal(t, again, p.SPKI)
	return k
}

func TestParseAttestReadsWhatGoTPMWrites(t *testing.T) {
	m := evidencetest.New(t)
	m.SetBank(tpm2.TPMAlgSHA384, 0, 23)
	m.Quoted = append(m.Quoted, evidencetest.Bank{Alg: tpm2.TPMAlgSHA384, PCRs: []int{0, 23}}, evidencetest.Bank{Alg: tpm2.TPMAlgSHA512})

	a, err := tpmwire.ParseAttest(m.PAT(t).AttestInfo, tpm2.TPMSTAttestQuote)
	require.NoError(t, err)
	assert.Equal(t, uint32(tpmwire.GeneratedValue), a.Magic)
	assert.Equal(t, m.Nonce, a.ExtraData)
	assert.Equal(t, tpmwire.Clock{Clock: 86_400_123, ResetCount: 3, RestartCount: 1, Safe: true}, a.Clock)
	assert.Equal(t, uint64(0x2026000100020003), a.FirmwareVersion)
	assert.Equal(t, "sha256:0,1,2,3,4,5,6,7+sha384:0,23+sha512:", a.Selection.String())
	assert.Len(t, a.PCRDigest, 32)
	assert.Len(t, a.QualifiedSigner, 34)

	c, err := tpmwire.ParseAttest(m.KAT(t).CertInfo, tpm2.TPMSTAttestCertify)
	require.NoError(t, err)
	assert.Equal(t, evidencetest.Name(t, m.TIK), c.CertifiedName)
	assert.Len(t, c.QualifiedName, 34)
}

func TestParsePublicReadsWhatGoTPMWrites(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		t.Run(curve.Params().Name, func(t *testing.T) {
			key := evidencetest.ECKey(t, curve)
			pub := evidencetest.ECPublic(t, &key.PublicKey)
			area := tpm2.Marshal(pub)
			p, err := tpmwire.ParsePublic(area)
			require.NoError(t, err)
			assert.True(t, key.PublicKey.Equal(mustKey(t, p)))
			assert.Equal(t, "fixedTPM|fixedParent|sensitiveDataOrigin|userWithAuth|sign", p.Attributes.String())
			assert.Equal(t, crypto.SHA256, p.NameAlg)
			assert.Equal(t, "ECDSA "+curve.Params().Name, p.KeyType)
			assert.Equal(t, "ecdsa-sha256", p.Scheme.String())
			assert.True(t, p.Named(evidencetest.Name(t, pub), area))
			assert.False(t, p.Named(evidencetest.Name(t, pub), area[:len(area)-1]))
			assert.False(t, p.Named(nil, area))
		})
	}
	t.Run("RSA", func(t *testing.T) {
		key := rsaKey(t, 2048)
		p, err := tpmwire.ParsePublic(tpm2.Marshal(evidencetest.RSAPublic(&key.PublicKey)))
		require.NoError(t, err)
		assert.True(t, key.PublicKey.Equal(mustKey(t, p)), "an exponent of zero is 65537")
		assert.Equal(t, "null", p.Scheme.String())
	})
	t.Run("stripped leading zero", func(t *testing.T) {
		key := evidencetest.ECKey(t, elliptic.P256())
		point, err := key.PublicKey.Bytes()
		require.NoError(t, err)
		for point[1] != 0 {
			key = evidencetest.ECKey(t, elliptic.P256())
			point, err = key.PublicKey.Bytes()
			require.NoError(t, err)
		}
		pub := evidencetest.ECPublic(t, &key.PublicKey)
		pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[2:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
		})
		p, err := tpmwire.ParsePublic(tpm2.Marshal(pub))
		require.NoError(t, err)
		assert.True(t, key.PublicKey.Equal(mustKey(t, p)))
	})
}

// Each case has one defect.
func TestParsePublicRefuses(t *testing.T) {
	ec := func(change func(*tpm2.TPMTPublic, *tpm2.TPMSECCParms)) []byte {
		pub := evidencetest.ECPublic(t, &evidencetest.ECKey(t, elliptic.P256()).PublicKey)
		parms, err := pub.Parameters.ECCDetail()
		require.NoError(t, err)
		change(&pub, parms)
		return tpm2.Marshal(pub)
	}
	small := rsaKey(t, 1024)
	tests := []struct {
		name, want  string
		area        []byte
		unsupported bool
	}{
		{"SHA-1 name", "name hash algorithm sha1 is not accepted: want sha256, sha384 or sha512", ec(func(p *tpm2.TPMTPublic, _ *tpm2.TPMSECCParms) { p.NameAlg = tpm2.TPMAlgSHA1 }), true},
		{"P-224", "ECC curve 0x0002 is not accepted: want P-256, P-384 or P-521", tpm2.Marshal(evidencetest.ECPublic(t, &evidencetest.ECKey(t, elliptic.P224()).PublicKey)), true},
		{"point off the curve", "ECC point is not on P-256", ec(func(p *tpm2.TPMTPublic, _ *tpm2.TPMSECCParms) {
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: []byte{1}}, Y: tpm2.TPM2BECCParameter{Buffer: []byte{1}},
			})
		}), true},
		{"point of another curve's size", "ECC point of 33 and 32 bytes on P-256: want at most 32 each", ec(func(p *tpm2.TPMTPublic, _ *tpm2.TPMSECCParms) {
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: make([]byte, 33)}, Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
			})
		}), true},
		{"RSA-1024", "RSA key of 1024 bits: want 2048 to 4096", tpm2.Marshal(evidencetest.RSAPublic(&small.PublicKey)), true},
		{"keyBits lies", "RSA modulus of 2048 bits in 256 bytes, keyBits says 3072", func() []byte {
			pub := evidencetest.RSAPublic(&rsaKey(t, 2048).PublicKey)
			parms, err := pub.Parameters.RSADetail()
			require.NoError(t, err)
			parms.KeyBits = 3072
			return tpm2.Marshal(pub)
		}(), true},
		{"even exponent", "RSA exponent 65536 is not accepted", func() []byte {
			pub := evidencetest.RSAPublic(&rsaKey(t, 2048).PublicKey)
			parms, err := pub.Parameters.RSADetail()
			require.NoError(t, err)
			parms.Exponent = 65536
			return tpm2.Marshal(pub)
		}(), true},
		{"not a key", "object type 0x0008 is not accepted: want an ECC or RSA key", []byte{0, 8, 0, 11, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0}, true},
		{"left over", "TPMT_PUBLIC: 1 bytes left over after the structure", append(ec(func(*tpm2.TPMTPublic, *tpm2.TPMSECCParms) {}), 0), false},
		{"cut short", "TPMT_PUBLIC: unique.y: need 32 bytes, have 31", func() []byte {
			b := ec(func(*tpm2.TPMTPublic, *tpm2.TPMSECCParms) {})
			return b[:len(b)-1]
		}(), false},
		{"empty", "TPMT_PUBLIC: type: need 2 bytes, have 0", nil, false},
		{"unknown scheme", "TPMT_PUBLIC: parameters.scheme: algorithm 0x0014 is not an ECC scheme", func() []byte {
			b := ec(func(*tpm2.TPMTPublic, *tpm2.TPMSECCParms) {})
			b[13] = 0x14
			return b
		}(), false},
		{"unknown symmetric", "TPMT_PUBLIC: parameters.symmetric: algorithm 0x0011 is not a block cipher", func() []byte {
			b := ec(func(*tpm2.TPMTPublic, *tpm2.TPMSECCParms) {})
			b[11] = 0x11
			return b
		}(), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tpmwire.ParsePublic(tt.area)
			require.EqualError(t, err, tt.want)
			var u *tpmwire.UnsupportedError
			assert.Equal(t, tt.unsupported, assert.ErrorAs(new(testing.T), err, &u))
		})
	}
}

// Each case has one defect.
func TestParseAttestRefuses(t *testing.T) {
	m := evidencetest.New(t)
	quote, cert := m.PAT(t).AttestInfo, m.KAT(t).CertInfo
	// magic 4, type 2, qualifiedSigner 2+34, extraData 2+32, clock 8+4+4,
	// safe 1, firmware 8: the attested union follows.
	const safe, union = 4 + 2 + 36 + 34 + 16, 4 + 2 + 36 + 34 + 17 + 8
	with := func(b []byte, at int, v ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], v)
		return b
	}
	tests := []struct {
		name, want string
		b          []byte
	}{
		{"left over", "TPMS_ATTEST: 1 bytes left over after the structure", append(bytes.Clone(quote), 0)},
		{"cut short", "TPMS_ATTEST: attested.pcrDigest: need 32 bytes, have 31", quote[:len(quote)-1]},
		{"certification for a quote", "attestation type is 0x8017, want 0x8018", cert},
		{"extraData too long", "TPMS_ATTEST: extraData: 67 bytes, at most 66 are allowed", with(quote, 42, 0, 67)},
		{"safe of 2", "TPMS_ATTEST: clockInfo.safe: 2 is neither YES (1) nor NO (0)", with(quote, safe, 2)},
		{"too many banks", "TPMS_ATTEST: attested.pcrSelect.count: 17 banks, at most 16 are allowed", with(quote, union, 0, 0, 0, 17)},
		{"huge bank count", "TPMS_ATTEST: attested.pcrSelect.count: 4294967295 banks, at most 16 are allowed", with(quote, union, 255, 255, 255, 255)},
		{"sizeofSelect of 5", "TPMS_ATTEST: attested.pcrSelect.sizeofSelect: 5 bytes, at most 4 are allowed", with(quote, union+6, 5)},
		{"empty", "TPMS_ATTEST: magic: need 4 bytes, have 0", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tpmwire.ParseAttest(tt.b, tpm2.TPMSTAttestQuote)
			assert.EqualError(t, err, tt.want)
		})
	}
	_, err := tpmwire.ParseAttest(quote, tpm2.TPMSTAttestTime)
	assert.EqualError(t, err, "attestation type is 0x8018, want 0x8019")
}

func TestSignatureVerifies(t *testing.T) {
	msg := []byte("what was signed")
	keys := map[string]crypto.Signer{
		"P-256": evidencetest.ECKey(t, elliptic.P256()), "P-384": evidencetest.ECKey(t, elliptic.P384()),
		"P-521":    evidencetest.ECKey(t, elliptic.P521()),
		"RSA 2048": rsaKey(t, 2048), "RSA 3072": rsaKey(t, 3072), "RSA 4096": rsaKey(t, 4096),
	}
	for name, key := range keys {
		for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			schemes := []tpm2.TPMAlgID{tpm2.TPMAlgRSASSA, tpm2.TPMAlgRSAPSS}
			if _, ok := key.(*ecdsa.PrivateKey); ok {
				schemes = []tpm2.TPMAlgID{tpm2.TPMAlgECDSA}
			}
			for _, scheme := range schemes {
				for _, saltMax := range []bool{false, true} {
					m := evidencetest.TPM{AK: key, Scheme: scheme, Hash: hash, SaltMax: saltMax}
					s, err := tpmwire.ParseSignature(m.Sign(t, msg))
					require.NoError(t, err)
					t.Run(name+" "+s.Scheme().String(), func(t *testing.T) {
						assert.NoError(t, s.Verify(key.Public(), msg))
						assert.ErrorIs(t, s.Verify(key.Public(), append(msg, '!')), tpmwire.ErrSignature)
					})
				}
			}
		}
	}
}

// Each case has one defect.
func TestSignatureRefuses(t *testing.T) {
	msg := []byte("what was signed")
	p256, other, p384 := evidencetest.ECKey(t, elliptic.P256()), evidencetest.ECKey(t, elliptic.P256()), evidencetest.ECKey(t, elliptic.P384())
	rsa2048, rsa1024 := rsaKey(t, 2048), rsaKey(t, 1024)
	ec := evidencetest.TPM{AK: p256, Scheme: tpm2.TPMAlgECDSA, Hash: crypto.SHA256}
	pkcs := evidencetest.TPM{AK: rsa2048, Scheme: tpm2.TPMAlgRSASSA, Hash: crypto.SHA256}
	sha1 := evidencetest.TPM{AK: p256, Scheme: tpm2.TPMAlgECDSA, Hash: crypto.SHA1}
	sign := func(m evidencetest.TPM) []byte { return m.Sign(t, msg) }

	for _, tt := range []struct {
		name, want string
		sig        []byte
	}{
		{"SHA-1", "signature hash algorithm sha1 is not accepted: want sha256, sha384 or sha512", sign(sha1)},
		{"left over", "TPMT_SIGNATURE: 1 bytes left over after the structure", append(sign(ec), 0)},
		{"cut short", "TPMT_SIGNATURE: signatureS: need 32 bytes, have 31", sign(ec)[:4+2+32+2+31]},
		{"null", "signature algorithm 0x0010 is not accepted: want ECDSA, RSASSA or RSAPSS", []byte{0, 0x10}},
		{"empty", "TPMT_SIGNATURE: sigAlg: need 2 bytes, have 0", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tpmwire.ParseSignature(tt.sig)
			assert.EqualError(t, err, tt.want)
		})
	}

	for _, tt := range []struct {
		name, want string
		sig        []byte
		key        crypto.PublicKey
	}{
		{"another key", tpmwire.ErrSignature.Error(), sign(ec), &other.PublicKey},
		{"another key's curve", tpmwire.ErrSignature.Error(), sign(ec), &p384.PublicKey},
		{"ECDSA under RSA", "ecdsa-sha256 signature under an RSA key", sign(ec), &rsa2048.PublicKey},
		{"RSASSA under ECDSA", "rsassa-sha256 signature under an ECDSA key", sign(pkcs), &p256.PublicKey},
		{"longer than the curve", "signature of 48 and 48 bytes under a P-256 key: want at most 32 each", sign(evidencetest.TPM{AK: p384, Scheme: tpm2.TPMAlgECDSA, Hash: crypto.SHA256}), &p256.PublicKey},
		{"other RSA size", "signature of 256 bytes under an RSA key of 384", sign(pkcs), &rsaKey(t, 3072).PublicKey},
		{"RSA-1024", "RSA key of 1024 bits: want 2048 to 4096", sign(pkcs), &rsa1024.PublicKey},
		{"RSA exponent 2", "RSA exponent 2 is not accepted", sign(pkcs), &rsa.PublicKey{N: rsa2048.N, E: 2}},
		{"no key", "key of type <nil>: want ECDSA or RSA", sign(ec), nil},
		{"empty ECDSA key", "empty ECDSA key", sign(ec), &ecdsa.PublicKey{}},
		{"empty RSA key", "empty RSA key", sign(pkcs), &rsa.PublicKey{}},
		{"key by value", "key of type ecdsa.PublicKey: want ECDSA or RSA", sign(ec), p256.PublicKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := tpmwire.ParseSignature(tt.sig)
			require.NoError(t, err)
			assert.EqualError(t, s.Verify(tt.key, msg), tt.want)
		})
	}

	t.Run("zero r and s", func(t *testing.T) {
		s := tpmwire.Signature{Alg: tpm2.TPMAlgECDSA, Hash: crypto.SHA256, R: []byte{0}, S: []byte{0}}
		assert.ErrorIs(t, s.Verify(&p256.PublicKey, msg), tpmwire.ErrSignature)
	})
	t.Run("r beyond the order", func(t *testing.T) {
		n := new(big.Int).Add(elliptic.P256().Params().N, big.NewInt(1))
		s := tpmwire.Signature{Alg: tpm2.TPMAlgECDSA, Hash: crypto.SHA256, R: n.Bytes(), S: []byte{1}}
		assert.ErrorIs(t, s.Verify(&p256.PublicKey, msg), tpmwire.ErrSignature)
	})
}

func TestNamesRoundTrip(t *testing.T) {
	for a := range tpmwire.Attributes(1 << 20) {
		if a%997 != 0 {
			continue
		}
		got, err := tpmwire.ParseAttributes(a.String())
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
	for _, s := range []string{"sign|fixedTPM", "fixedTPM|fixedTPM", "fixedtpm", "fixedTPM|", "bit1", "bit32", "bit-1", "bit03"} {
		_, err := tpmwire.ParseAttributes(s)
		assert.Error(t, err, s)
	}
	for _, s := range []string{"", "sha256:0", "sha256:0,1,31+sha1:+0x0027:5", "sha256:0+sha256:1"} {
		sel, err := tpmwire.ParseSelection(s)
		require.NoError(t, err)
		assert.Equal(t, s, sel.String())
	}
	for _, s := range []string{"sha256", "sha256:32", "sha256:1,0", "sha256:0,0", "sha256:0,", "sha256:,0", "sha256:00", "sha256:+", "+", "md5:0", "0x000b:0", "sha256:-1", "sha256: 1"} {
		_, err := tpmwire.ParseSelection(s)
		assert.Error(t, err, s)
	}
	for _, s := range []string{"null", "ecdsa-sha256", "rsapss-sha1", "rsaes", "ecdaa-sha384", "0x1234-0x4321"} {
		scheme, err := tpmwire.ParseScheme(s)
		require.NoError(t, err, s)
		assert.Equal(t, s, scheme.String())
	}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		got, err := tpmwire.ParseHash(tpmwire.HashName(h))
		require.NoError(t, err)
		assert.Equal(t, h, got)
	}
	_, err := tpmwire.ParseHash("sha1")
	assert.EqualError(t, err, "hash algorithm sha1 is not accepted: want sha256, sha384 or sha512")
	_, err = tpmwire.ParseHash("md5")
	assert.EqualError(t, err, `unknown algorithm "md5"`)
}
