// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/kat"
)

// pretend is a TPM in software with a kid of its own.
func pretend(t testing.TB) *evidencetest.TPM {
	t.Helper()
	m := evidencetest.New(t)
	m.KID = make([]byte, 33)
	_, err := rand.Read(m.KID[1:])
	require.NoError(t, err)
	m.KID[0] = 1 // a UEID of type RAND
	return m
}

// enrol endorses it as it is, in a class of its own.
func enrol(t testing.TB, d *deployment.Deployment, m *evidencetest.TPM) {
	t.Helper()
	require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, endorse(t, m, newClass(t))))
}

// TestConcurrent has many attesters at once, good ones and bad ones. Each gets
// the answer to what it sent, and none that of another.
func TestConcurrent(t *testing.T) {
	d := start(t, ours(t), deployment.Memory)
	const workers = 32
	rounds := 4
	if testing.Short() || raceDetector {
		rounds = 2
	}

	// The evidence is made beforehand, so that the appraisals come at once.
	type attestation struct {
		name     string
		session  *deployment.Session
		evidence []byte
		want     func(t testing.TB, a *ear.Appraisal, evidence []byte)
	}
	var all []attestation
	add := func(name string, make func(nonce []byte) []byte, want func(t testing.TB, a *ear.Appraisal, evidence []byte)) {
		session, err := d.Client().NewSession(t.Context(), nil)
		require.NoError(t, err)
		all = append(all, attestation{name, session, make(session.Nonce), want})
	}
	isBad := func(problem string) func(testing.TB, *ear.Appraisal, []byte) {
		return func(t testing.TB, a *ear.Appraisal, _ []byte) { requireBad(t, a, problem) }
	}
	isAffirmed := func(t testing.TB, a *ear.Appraisal, evidence []byte) {
		requireAffirmed(t, a, evidence, attestedKey(t, evidence))
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for worker := range workers {
		m := pretend(t)
		switch worker % 4 {
		case 1:
			m.AK, m.Hash = evidencetest.ECKey(t, elliptic.P384()), crypto.SHA384
		case 2:
			m.AK, m.Scheme = rsaKey, tpm2.TPMAlgRSAPSS
		case 3:
			m.SetBank(tpm2.TPMAlgSHA384, 0, 1)
			m.Quoted = append(m.Quoted, evidencetest.Bank{Alg: tpm2.TPMAlgSHA384, PCRs: []int{0, 1}})
		}
		enrol(t, d, m)
		evidence := func(nonce []byte) []byte {
			m.Nonce = nonce
			return m.Bundle(t)
		}
		for range rounds {
			add("good", evidence, isAffirmed)
			add("stale", func(nonce []byte) []byte { return evidence(oldNonce) }, isBad(badIntegrity))
			add("extended", func(nonce []byte) []byte {
				pcr := evidencetest.PCR{Alg: tpm2.TPMAlgSHA256, Index: 0}
				value := m.PCRs[pcr]
				defer func() { m.PCRs[pcr] = value }()
				m.PCRs[pcr] = make([]byte, 32)
				return evidence(nonce)
			}, func(t testing.TB, a *ear.Appraisal, evidence []byte) {
				vector := affirming
				vector.Executables = ear.UnrecognizedRuntimeClaim
				requireAppraised(t, a, vector, evidence, attestedKey(t, evidence))
			})
			add("good", evidence, isAffirmed)
			add("unprotected", func(nonce []byte) []byte {
				defer func() { m.TIK.ObjectAttributes.FixedTPM = true }()
				m.TIK.ObjectAttributes.FixedTPM = false
				return evidence(nonce)
			}, func(t testing.TB, a *ear.Appraisal, evidence []byte) {
				vector := affirming
				vector.StorageOpaque = ear.UnencryptedSecretsClaim
				requireAppraised(t, a, vector, evidence, nil)
			})
			add("forged", func(nonce []byte) []byte {
				defer func() { m.OnKAT = nil }()
				m.OnKAT = func(k *kat.Token) { k.CertInfo[len(k.CertInfo)-1] ^= 1 }
				return evidence(nonce)
			}, isBad(badIntegrity))
			add("garbage", func(nonce []byte) []byte { return nonce }, isBad(badIdentity))
			add("unknown", func(nonce []byte) []byte {
				kid := m.KID
				defer func() { m.KID = kid }()
				m.KID = slices.Concat([]byte{1}, nonce)
				return evidence(nonce)
			}, isBad(noAnchor))
		}
	}

	results := make([]*deployment.Result, len(all))
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := worker; i < len(all); i += workers {
				result, err := all[i].session.Submit(t.Context(), bundle.MediaType, all[i].evidence)
				if assert.NoError(t, err, all[i].name) {
					results[i] = result
				}
			}
		})
	}
	// Meanwhile devices come and are provisioned.
	for range 2 * rounds {
		enrol(t, d, pretend(t))
	}
	wg.Wait()
	for i, a := range all {
		if results[i] == nil {
			continue
		}
		got, err := checkedEAR(d, &answer{a.session, a.evidence, results[i]})
		require.NoError(t, err, a.name)
		t.Run(fmt.Sprintf("%s %d", a.name, i), func(t *testing.T) { a.want(t, got, a.evidence) })
	}
}
