// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire_test

import (
	"bytes"
	"crypto/x509"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

// The fuzz targets hold the decoders against go-tpm's: whatever ours accepts,
// go-tpm accepts, and marshals to the same bytes again.

func FuzzParseAttest(f *testing.F) {
	m := evidencetest.New(f)
	f.Add(m.PAT(f).AttestInfo, false)
	f.Add(m.KAT(f).CertInfo, true)
	f.Fuzz(func(t *testing.T, b []byte, certify bool) {
		want := tpm2.TPMSTAttestQuote
		if certify {
			want = tpm2.TPMSTAttestCertify
		}
		a, err := tpmwire.ParseAttest(b, want)
		if err != nil {
			return
		}
		if a.Magic != tpmwire.GeneratedValue {
			return // go-tpm refuses it while decoding, package token after
		}
		ref, err := tpm2.Unmarshal[tpm2.TPMSAttest](b)
		if err != nil {
			t.Fatalf("go-tpm refuses what was accepted: %v", err)
		}
		if !bytes.Equal(tpm2.Marshal(ref), b) {
			t.Fatal("go-tpm reads something else")
		}
		if !bytes.Equal(ref.ExtraData.Buffer, a.ExtraData) {
			t.Fatal("extraData differs from go-tpm's")
		}
		if sel, err := tpmwire.ParseSelection(a.Selection.String()); err != nil || sel.String() != a.Selection.String() {
			t.Fatalf("selection %s does not survive its text: %v", a.Selection, err)
		}
	})
}

func FuzzParsePublic(f *testing.F) {
	m := evidencetest.New(f)
	f.Add(tpm2.Marshal(m.TIK))
	f.Add(tpm2.Marshal(evidencetest.RSAPublic(&rsaKey(f, 2048).PublicKey)))
	f.Add(tpm2.Marshal(tpm2.RSASRKTemplate))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := tpmwire.ParsePublic(b)
		if err != nil {
			return
		}
		key, err := x509.ParsePKIXPublicKey(p.SPKI)
		if err != nil || tpmwire.CheckKey(key) != nil {
			t.Fatalf("a key that is not accepted came through: %v, %v", key, err)
		}
		if a, err := tpmwire.ParseAttributes(p.Attributes.String()); err != nil || a != p.Attributes {
			t.Fatalf("attributes %s do not survive their text: %v", p.Attributes, err)
		}
		if p.Scheme.Alg == tpm2.TPMAlgECMQV || p.Scheme.Alg == tpm2.TPMAlgSM2 || p.Scheme.Alg == tpm2.TPMAlgECSchnorr {
			return // go-tpm has no decoder for these
		}
		ref, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
		if err != nil {
			t.Skipf("go-tpm knows fewer algorithms: %v", err)
		}
		if again := tpm2.Marshal(ref); len(again) != len(b) {
			t.Fatal("go-tpm reads something else")
		}
	})
}

func FuzzParseSignature(f *testing.F) {
	m := evidencetest.New(f)
	f.Add(m.PAT(f).Sig)
	m.AK, m.Scheme = rsaKey(f, 2048), tpm2.TPMAlgRSAPSS
	f.Add(m.PAT(f).Sig)
	msg := []byte("never signed")
	ec, rsa := evidencetest.New(f).AK.Public(), m.AK.Public()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := tpmwire.ParseSignature(b)
		if err != nil {
			return
		}
		ref, err := tpm2.Unmarshal[tpm2.TPMTSignature](b)
		if err != nil {
			t.Fatalf("go-tpm refuses what was accepted: %v", err)
		}
		if !bytes.Equal(tpm2.Marshal(ref), b) {
			t.Fatal("go-tpm reads something else")
		}
		if s.Verify(ec, msg) == nil || s.Verify(rsa, msg) == nil {
			t.Fatal("forged")
		}
	})
}
