// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package kat_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/kat"
)

func TestVerify(t *testing.T) {
	m := evidencetest.New(t)
	u, err := kat.Parse(m.KAT(t))
	require.NoError(t, err)
	assert.Equal(t, m.KID, []byte(u.KID()))
	v, err := u.Verify(m.AK.Public(), m.Nonce)
	require.NoError(t, err)
	assert.Equal(t, u.UntrustedClaims(), v.Claims())
	key, err := v.Claims().PublicKey()
	require.NoError(t, err)
	assert.Equal(t, m.TIK, evidencetest.ECPublic(t, key.(*ecdsa.PublicKey)))
	assert.Equal(t, evidencetest.Name(t, m.TIK), v.Claims().Name)
	assert.Equal(t, "fixedTPM|fixedParent|sensitiveDataOrigin|userWithAuth|sign", v.Claims().Attributes.String())
	assert.Equal(t, "ecdsa-sha256", v.Claims().Scheme.String())
}

// Each case has one defect; bundle.Error's text is exact.
func TestRefuses(t *testing.T) {
	other := evidencetest.ECKey(t, elliptic.P256())
	tests := []struct {
		name   string
		defect func(*evidencetest.TPM)
		check  bundle.Check
		want   string
	}{
		{"TPM 1.2", func(m *evidencetest.TPM) { m.OnKAT = func(k *kat.Token) { k.TPMVer = "1.2" } },
			bundle.Version, `kat: version: tpmVer is "1.2", want "2.0"`},
		{"no kid", func(m *evidencetest.TPM) { m.KID = nil },
			bundle.KeyID, "kat: kid: kid is not a UEID: empty UEID"},
		{"kid of another form", func(m *evidencetest.TPM) { m.KID = []byte{1, 2, 3} },
			bundle.KeyID, "kat: kid: kid is not a UEID: RAND length must be exactly 16, 24, or 32 bytes; found 2 bytes"},
		{"bytes after sig", func(m *evidencetest.TPM) { m.OnKAT = func(k *kat.Token) { k.Sig = append(k.Sig, 0) } },
			bundle.Malformed, "kat: malformed: sig: TPMT_SIGNATURE: 1 bytes left over after the structure"},
		{"bytes after certInfo", func(m *evidencetest.TPM) { m.OnKAT = func(k *kat.Token) { k.CertInfo = append(k.CertInfo, 0) } },
			bundle.Malformed, "kat: malformed: attestation: TPMS_ATTEST: 1 bytes left over after the structure"},
		{"bytes after pubArea", func(m *evidencetest.TPM) { m.OnKAT = func(k *kat.Token) { k.PubArea = append(k.PubArea, 0) } },
			bundle.Malformed, "kat: malformed: pubArea: TPMT_PUBLIC: 1 bytes left over after the structure"},
		{"wrong magic", func(m *evidencetest.TPM) {
			m.OnCertify = func(a *tpm2.TPMSAttest) { a.Magic = 0xff544348 }
		}, bundle.Magic, "kat: magic: magic is 0xff544348, want TPM_GENERATED_VALUE 0xff544347"},
		{"a quote", func(m *evidencetest.TPM) {
			m.OnKAT = func(k *kat.Token) { p := m.PAT(t); k.CertInfo, k.Sig = p.AttestInfo, p.Sig }
		}, bundle.Type, "kat: type: attestation: attestation type is 0x8018, want 0x8017"},
		{"TIK on P-224", func(m *evidencetest.TPM) {
			m.TIK = evidencetest.ECPublic(t, &evidencetest.ECKey(t, elliptic.P224()).PublicKey)
		}, bundle.Algorithm, "kat: algorithm: pubArea: ECC curve 0x0002 is not accepted: want P-256, P-384 or P-521"},
		{"TIK off its curve", func(m *evidencetest.TPM) {
			m.TIK.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: []byte{1}}, Y: tpm2.TPM2BECCParameter{Buffer: []byte{1}},
			})
		}, bundle.Algorithm, "kat: algorithm: pubArea: ECC point is not on P-256"},
		{"SHA-1 name", func(m *evidencetest.TPM) { m.TIK.NameAlg = tpm2.TPMAlgSHA1 },
			bundle.Algorithm, "kat: algorithm: pubArea: name hash algorithm sha1 is not accepted: want sha256, sha384 or sha512"},
		{"another AK", func(m *evidencetest.TPM) { m.AK = other },
			bundle.Signature, "kat: signature: sig: the signature does not verify under the attestation key"},
		{"another nonce", func(m *evidencetest.TPM) { m.Nonce = make([]byte, 32) },
			bundle.Stale, "kat: stale: extraData is not this session's nonce: the evidence is stale or was made for another session"},
		{"nonce and more", func(m *evidencetest.TPM) { m.Nonce = append(m.Nonce[:32:32], 0) },
			bundle.Stale, "kat: stale: extraData is not this session's nonce: the evidence is stale or was made for another session"},
		{"nonce cut short", func(m *evidencetest.TPM) { m.Nonce = m.Nonce[:31] },
			bundle.Stale, "kat: stale: extraData is not this session's nonce: the evidence is stale or was made for another session"},
		{"another key certified", func(m *evidencetest.TPM) {
			m.OnKAT = func(k *kat.Token) { k.PubArea = tpm2.Marshal(evidencetest.ECPublic(t, &other.PublicKey)) }
		}, bundle.Name, "kat: name: certInfo certifies another key than pubArea's: the names differ"},
		{"pubArea's attributes changed", func(m *evidencetest.TPM) {
			m.OnKAT = func(k *kat.Token) { k.PubArea[7] ^= 2 }
		}, bundle.Name, "kat: name: certInfo certifies another key than pubArea's: the names differ"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := evidencetest.New(t)
			ak, nonce := m.AK.Public(), m.Nonce
			tt.defect(m)
			u, err := kat.Parse(m.KAT(t))
			if err == nil {
				var v kat.Verified
				v, err = u.Verify(ak, nonce)
				assert.Zero(t, v)
			}
			require.EqualError(t, err, tt.want)
			var e *bundle.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tt.check, e.Check)
			assert.Equal(t, "kat", e.Token)
		})
	}
}

// A session without a usable nonce cannot show that anything is fresh, not
// even evidence that was made for just that nonce.
func TestRefusesNonceSizes(t *testing.T) {
	for _, size := range []int{0, 1, 7, 65, 66} {
		m := evidencetest.New(t)
		m.Nonce = make([]byte, size)
		u, err := kat.Parse(m.KAT(t))
		require.NoError(t, err)
		_, err = u.Verify(m.AK.Public(), m.Nonce)
		var e *bundle.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, bundle.Stale, e.Check)
		assert.Contains(t, err.Error(), "want 8 to 64")
	}
	for _, size := range []int{8, 64} {
		m := evidencetest.New(t)
		m.Nonce = make([]byte, size)
		u, err := kat.Parse(m.KAT(t))
		require.NoError(t, err)
		_, err = u.Verify(m.AK.Public(), m.Nonce)
		require.NoError(t, err)
	}
}

func FuzzParse(f *testing.F) {
	m := evidencetest.New(f)
	tok := m.KAT(f)
	f.Add(tok.TPMVer, tok.KID, tok.Sig, tok.CertInfo, tok.PubArea)
	stranger := evidencetest.New(f).AK.Public()
	f.Fuzz(func(t *testing.T, ver string, kid, sig, certInfo, pubArea []byte) {
		u, err := kat.Parse(kat.Token{TPMVer: ver, KID: kid, Sig: sig, CertInfo: certInfo, PubArea: pubArea})
		if err != nil {
			var e *bundle.Error
			if !assert.ErrorAs(t, err, &e) {
				t.Fatal(err)
			}
			return
		}
		_, _ = u.UntrustedClaims().PublicKey()
		if _, err := u.Verify(stranger, m.Nonce); err == nil {
			t.Fatal("forged")
		}
	})
}
