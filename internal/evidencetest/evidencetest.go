// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package evidencetest makes evidence in software, so that a test can give it
// exactly one defect that no TPM would make. What it marshals it marshals with
// go-tpm, not with this project's own code. Evidence of a real TPM is what
// package attester and the golden vectors are for.
package evidencetest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// PCR names one register.
type PCR struct {
	Alg   tpm2.TPMAlgID
	Index int
}

// Bank is a part of a quote's selection.
type Bank struct {
	Alg  tpm2.TPMAlgID
	PCRs []int
}

// TPM is a pretended TPM with an AK, a TIK and PCRs. New makes one whose
// evidence is right; a test changes a field or sets a hook for its one defect.
type TPM struct {
	AK       crypto.Signer
	Scheme   tpm2.TPMAlgID // of the AK: TPM_ALG_ECDSA, _RSASSA or _RSAPSS
	Hash     crypto.Hash   // of the AK's scheme
	SaltMax  bool          // salt RSAPSS to the longest that fits, as some TPMs do
	KID      []byte
	TIK      tpm2.TPMTPublic
	PCRs     map[PCR][]byte
	Quoted   []Bank
	Nonce    []byte
	Firmware uint64
	Clock    tpm2.TPMSClockInfo

	// OnCertify and OnQuote change the structure before it is signed.
	OnCertify, OnQuote func(*tpm2.TPMSAttest)
	// OnKAT and OnPAT change the token after it is signed.
	OnKAT func(*kat.Token)
	OnPAT func(*pat.Token)
}

// TIKAttributes are those of a proper TLS identity key.
var TIKAttributes = tpm2.TPMAObject{
	FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true,
}

// New returns a TPM with an ECDSA P-256 AK and TIK and the PCRs 0 to 7 of the
// SHA-256 bank.
func New(t testing.TB) *TPM {
	m := &TPM{
		AK:       ECKey(t, elliptic.P256()),
		Scheme:   tpm2.TPMAlgECDSA,
		Hash:     crypto.SHA256,
		KID:      slices.Concat([]byte{1}, bytes.Repeat([]byte{0xa5}, 32)),
		TIK:      ECPublic(t, &ECKey(t, elliptic.P256()).PublicKey),
		PCRs:     map[PCR][]byte{},
		Nonce:    bytes.Repeat([]byte{0x17}, 32),
		Firmware: 0x2026000100020003,
		Clock:    tpm2.TPMSClockInfo{Clock: 86_400_123, ResetCount: 3, RestartCount: 1, Safe: true},
	}
	m.SetBank(tpm2.TPMAlgSHA256, 0, 1, 2, 3, 4, 5, 6, 7)
	m.Quoted = []Bank{{tpm2.TPMAlgSHA256, []int{0, 1, 2, 3, 4, 5, 6, 7}}}
	return m
}

// ECKey makes a key.
func ECKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	require.NoError(t, err)
	return k
}

// SetBank gives PCRs of a bank distinct values.
func (m *TPM) SetBank(alg tpm2.TPMAlgID, pcrs ...int) {
	h, err := alg.Hash()
	if err != nil {
		return
	}
	for _, i := range pcrs {
		d := h.New()
		fmt.Fprintf(d, "bank %d pcr %d", alg, i)
		m.PCRs[PCR{alg, i}] = d.Sum(nil)
	}
}

// ECPublic is the public area of a proper ECC TIK.
func ECPublic(t testing.TB, key *ecdsa.PublicKey) tpm2.TPMTPublic {
	t.Helper()
	curves := map[elliptic.Curve]tpm2.TPMECCCurve{
		elliptic.P224(): tpm2.TPMECCNistP224, elliptic.P256(): tpm2.TPMECCNistP256,
		elliptic.P384(): tpm2.TPMECCNistP384, elliptic.P521(): tpm2.TPMECCNistP521,
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	point, err := key.Bytes()
	require.NoError(t, err)
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgECC,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: TIKAttributes,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: curves[key.Curve],
			KDF:     tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1 : 1+size]},
			Y: tpm2.TPM2BECCParameter{Buffer: point[1+size:]},
		}),
	}
}

// RSAPublic is the public area of a proper RSA TIK, free in its scheme.
func RSAPublic(key *rsa.PublicKey) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgRSA,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: TIKAttributes,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme:    tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgNull},
			KeyBits:   tpm2.TPMKeyBits(key.N.BitLen()),
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: key.N.Bytes()}),
	}
}

// Name is the Name of a public area.
func Name(t testing.TB, pub tpm2.TPMTPublic) []byte {
	t.Helper()
	h, err := pub.NameAlg.Hash()
	require.NoError(t, err)
	d := h.New()
	d.Write(tpm2.Marshal(pub))
	return append([]byte{byte(pub.NameAlg >> 8), byte(pub.NameAlg)}, d.Sum(nil)...)
}

// KAT certifies the TIK.
func (m *TPM) KAT(t testing.TB) kat.Token {
	t.Helper()
	a := m.attest(tpm2.TPMSTAttestCertify, tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{
		Name:          tpm2.TPM2BName{Buffer: Name(t, m.TIK)},
		QualifiedName: tpm2.TPM2BName{Buffer: Name(t, m.TIK)},
	}))
	if m.OnCertify != nil {
		m.OnCertify(&a)
	}
	signed := tpm2.Marshal(a)
	tok := kat.Token{TPMVer: "2.0", KID: m.KID, Sig: m.Sign(t, signed), CertInfo: signed, PubArea: tpm2.Marshal(m.TIK)}
	if m.OnKAT != nil {
		m.OnKAT(&tok)
	}
	return tok
}

// PAT quotes the PCRs.
func (m *TPM) PAT(t testing.TB) pat.Token {
	t.Helper()
	var sel tpm2.TPMLPCRSelection
	digest := m.Hash.New()
	for _, b := range m.Quoted {
		mask := make([]byte, 3)
		for _, i := range b.PCRs {
			mask[i/8] |= 1 << (i % 8)
		}
		for i := range 24 {
			if mask[i/8]&(1<<(i%8)) != 0 {
				digest.Write(m.PCRs[PCR{b.Alg, i}])
			}
		}
		sel.PCRSelections = append(sel.PCRSelections, tpm2.TPMSPCRSelection{Hash: b.Alg, PCRSelect: mask})
	}
	a := m.attest(tpm2.TPMSTAttestQuote, tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
		PCRSelect: sel,
		PCRDigest: tpm2.TPM2BDigest{Buffer: digest.Sum(nil)},
	}))
	if m.OnQuote != nil {
		m.OnQuote(&a)
	}
	signed := tpm2.Marshal(a)
	tok := pat.Token{TPMVer: "2.0", KID: m.KID, Sig: m.Sign(t, signed), AttestInfo: signed}
	if m.OnPAT != nil {
		m.OnPAT(&tok)
	}
	return tok
}

// Bundle is the evidence.
func (m *TPM) Bundle(t testing.TB) []byte {
	t.Helper()
	b, err := bundle.Encode(m.KAT(t), m.PAT(t))
	require.NoError(t, err)
	return b
}

func (m *TPM) attest(typ tpm2.TPMST, attested tpm2.TPMUAttest) tpm2.TPMSAttest {
	return tpm2.TPMSAttest{
		Magic:           tpm2.TPMGeneratedValue,
		Type:            typ,
		QualifiedSigner: tpm2.TPM2BName{Buffer: append([]byte{0, 11}, make([]byte, 32)...)},
		ExtraData:       tpm2.TPM2BData{Buffer: m.Nonce},
		ClockInfo:       m.Clock,
		FirmwareVersion: m.Firmware,
		Attested:        attested,
	}
}

// Sign signs as the AK does, giving a TPMT_SIGNATURE.
func (m *TPM) Sign(t testing.TB, msg []byte) []byte {
	t.Helper()
	d := m.Hash.New()
	d.Write(msg)
	sum := d.Sum(nil)
	var hashAlg tpm2.TPMAlgID
	for _, a := range []tpm2.TPMAlgID{tpm2.TPMAlgSHA1, tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA384, tpm2.TPMAlgSHA512} {
		if h, err := a.Hash(); err == nil && h == m.Hash {
			hashAlg = a
		}
	}
	if m.Scheme == tpm2.TPMAlgECDSA {
		der, err := m.AK.Sign(rand.Reader, sum, m.Hash)
		require.NoError(t, err)
		var rs struct{ R, S *big.Int }
		_, err = asn1.Unmarshal(der, &rs)
		require.NoError(t, err)
		size := (m.AK.Public().(*ecdsa.PublicKey).Curve.Params().BitSize + 7) / 8
		return tpm2.Marshal(tpm2.TPMTSignature{
			SigAlg: tpm2.TPMAlgECDSA,
			Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
				Hash:       hashAlg,
				SignatureR: tpm2.TPM2BECCParameter{Buffer: rs.R.FillBytes(make([]byte, size))},
				SignatureS: tpm2.TPM2BECCParameter{Buffer: rs.S.FillBytes(make([]byte, size))},
			}),
		})
	}
	var opts crypto.SignerOpts = m.Hash
	if m.Scheme == tpm2.TPMAlgRSAPSS {
		salt := rsa.PSSSaltLengthEqualsHash
		if m.SaltMax {
			salt = rsa.PSSSaltLengthAuto
		}
		opts = &rsa.PSSOptions{SaltLength: salt, Hash: m.Hash}
	}
	sig, err := m.AK.Sign(rand.Reader, sum, opts)
	require.NoError(t, err)
	return tpm2.Marshal(tpm2.TPMTSignature{
		SigAlg: m.Scheme,
		Signature: tpm2.NewTPMUSignature(m.Scheme, &tpm2.TPMSSignatureRSA{
			Hash: hashAlg,
			Sig:  tpm2.TPM2BPublicKeyRSA{Buffer: sig},
		}),
	})
}
