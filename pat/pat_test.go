// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package pat_test

import (
	"crypto"
	"crypto/elliptic"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/pat"
)

func TestVerify(t *testing.T) {
	m := evidencetest.New(t)
	m.Hash = crypto.SHA512 // the AK's hash and the bank differ
	m.SetBank(tpm2.TPMAlgSHA384, 0, 23)
	m.Quoted = append(m.Quoted, evidencetest.Bank{Alg: tpm2.TPMAlgSHA384, PCRs: []int{0, 23}})
	u, err := pat.Parse(m.PAT(t))
	require.NoError(t, err)
	assert.Equal(t, m.KID, []byte(u.KID()))
	v, err := u.Verify(m.AK.Public(), m.Nonce)
	require.NoError(t, err)
	c := v.Claims()
	assert.Equal(t, u.UntrustedClaims(), c)
	assert.Equal(t, "sha256:0,1,2,3,4,5,6,7+sha384:0,23", c.Selection.String())
	assert.Equal(t, crypto.SHA512, c.Hash)
	assert.Len(t, c.PCRDigest, 64)
	assert.Equal(t, "ecdsa-sha512", c.Signature.String())
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
		{"TPM 1.2", func(m *evidencetest.TPM) { m.OnPAT = func(p *pat.Token) { p.TPMVer = "1.2" } },
			bundle.Version, `pat: version: tpmVer is "1.2", want "2.0"`},
		{"no tpmVer", func(m *evidencetest.TPM) { m.OnPAT = func(p *pat.Token) { p.TPMVer = "" } },
			bundle.Version, `pat: version: tpmVer is "", want "2.0"`},
		{"kid of unknown type", func(m *evidencetest.TPM) { m.KID = append([]byte{9}, make([]byte, 32)...) },
			bundle.KeyID, "pat: kid: kid is not a UEID: invalid UEID type 9"},
		{"bytes after sig", func(m *evidencetest.TPM) { m.OnPAT = func(p *pat.Token) { p.Sig = append(p.Sig, 0) } },
			bundle.Malformed, "pat: malformed: sig: TPMT_SIGNATURE: 1 bytes left over after the structure"},
		{"bytes after attestInfo", func(m *evidencetest.TPM) { m.OnPAT = func(p *pat.Token) { p.AttestInfo = append(p.AttestInfo, 0) } },
			bundle.Malformed, "pat: malformed: attestation: TPMS_ATTEST: 1 bytes left over after the structure"},
		{"SHA-1 signature", func(m *evidencetest.TPM) { m.Hash = crypto.SHA1 },
			bundle.Algorithm, "pat: algorithm: sig: signature hash algorithm sha1 is not accepted: want sha256, sha384 or sha512"},
		{"wrong magic", func(m *evidencetest.TPM) {
			m.OnQuote = func(a *tpm2.TPMSAttest) { a.Magic = 0 }
		}, bundle.Magic, "pat: magic: magic is 0x00000000, want TPM_GENERATED_VALUE 0xff544347"},
		{"a certification", func(m *evidencetest.TPM) {
			m.OnPAT = func(p *pat.Token) { k := m.KAT(t); p.AttestInfo, p.Sig = k.CertInfo, k.Sig }
		}, bundle.Type, "pat: type: attestation: attestation type is 0x8017, want 0x8018"},
		{"another AK", func(m *evidencetest.TPM) { m.AK = other },
			bundle.Signature, "pat: signature: sig: the signature does not verify under the attestation key"},
		{"changed after signing", func(m *evidencetest.TPM) {
			m.OnPAT = func(p *pat.Token) { p.AttestInfo[len(p.AttestInfo)-1] ^= 1 }
		}, bundle.Signature, "pat: signature: sig: the signature does not verify under the attestation key"},
		{"another nonce", func(m *evidencetest.TPM) { m.Nonce = make([]byte, 32) },
			bundle.Stale, "pat: stale: extraData is not this session's nonce: the evidence is stale or was made for another session"},
		{"no nonce in the quote", func(m *evidencetest.TPM) { m.Nonce = nil },
			bundle.Stale, "pat: stale: extraData is not this session's nonce: the evidence is stale or was made for another session"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := evidencetest.New(t)
			ak, nonce := m.AK.Public(), m.Nonce
			tt.defect(m)
			u, err := pat.Parse(m.PAT(t))
			if err == nil {
				var v pat.Verified
				v, err = u.Verify(ak, nonce)
				assert.Zero(t, v)
			}
			require.EqualError(t, err, tt.want)
			var e *bundle.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tt.check, e.Check)
			assert.Equal(t, "pat", e.Token)
		})
	}
}

func FuzzParse(f *testing.F) {
	m := evidencetest.New(f)
	tok := m.PAT(f)
	f.Add(tok.TPMVer, tok.KID, tok.Sig, tok.AttestInfo)
	stranger := evidencetest.New(f).AK.Public()
	f.Fuzz(func(t *testing.T, ver string, kid, sig, attestInfo []byte) {
		u, err := pat.Parse(pat.Token{TPMVer: ver, KID: kid, Sig: sig, AttestInfo: attestInfo})
		if err != nil {
			var e *bundle.Error
			if !assert.ErrorAs(t, err, &e) {
				t.Fatal(err)
			}
			return
		}
		_ = u.UntrustedClaims().Selection.String()
		if _, err := u.Verify(stranger, m.Nonce); err == nil {
			t.Fatal("forged")
		}
	})
}
