// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// requireFault appraises evidence that the verifier must have no verdict on,
// and waits for the reason in its log.
func requireFault(t testing.TB, d *deployment.Deployment, attest func(nonce []byte) []byte, reason string) {
	t.Helper()
	offset := len(logOf(t, d))
	_, err := submit(t.Context(), d.Client(), nil, bundle.MediaType, attest)
	var problem *deployment.ProblemError
	require.ErrorAs(t, err, &problem)
	require.Equal(t, http.StatusInternalServerError, problem.StatusCode)
	logged(t, d, offset, reason)
}

// entries are the distinct values that a store holds under a key, and how many
// rows it takes.
func entries(dump, key string) (distinct map[string]bool, rows int) {
	distinct = map[string]bool{}
	for line := range strings.Lines(dump) {
		if k, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok && k == key {
			distinct[value] = true
			rows++
		}
	}
	return distinct, rows
}

func anchorsOf(t testing.TB, d *deployment.Deployment) string {
	t.Helper()
	dump, err := d.DumpTrustAnchors(t.Context())
	require.NoError(t, err)
	return dump
}

func referencesOf(t testing.TB, d *deployment.Deployment) string {
	t.Helper()
	dump, err := d.DumpEndorsements(t.Context())
	require.NoError(t, err)
	return dump
}

// attests answers a nonce with right evidence.
func (d *device) attests(t testing.TB) func(nonce []byte) []byte {
	return func(nonce []byte) []byte { return d.evidence(t, nonce) }
}

// TestSwapOverFilledStore puts this project's plugin in place of Veraison's own
// over a SQLite store that the latter has filled, and changes nothing else.
func TestSwapOverFilledStore(t *testing.T) {
	ctx := t.Context()
	tpm := tpmtest.SWTPM(t)
	d := start(t, veraisons(t), deployment.SQLite)
	provision := func(t testing.TB, corims ...[]byte) {
		t.Helper()
		for _, corim := range corims {
			require.NoError(t, d.Client().Provision(ctx, endorsements.MediaTypeUnsignedV1, corim))
		}
	}

	// What Veraison's own plugin takes: ECDSA and one bank for each class.
	one := newDevice(t, tpm, ecdsa256, ecdsa256, "sha256:0,1,2,3")
	// A class with two states. That plugin keeps no states apart.
	two := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	two.states = append(two.states, two.state(t, two.anchor.Class, usualPCRs, otherPCR(7)))
	// A PCR with two digests. That plugin keeps the last.
	banks := newDevice(t, tpm, ecdsa256, ecdsa256, "sha256:0,1+sha384:0,1")
	for _, dev := range []*device{one, two, banks} {
		provision(t, dev.corim(t))
	}
	// Veraison's own vectors: endorsements of a device that nobody has, and
	// evidence for the nonce below, whose AK and state this project endorses.
	provision(t, veraisonVector(t, "corim", "unsignedCorimMiniComidParsecTpmKeyGood.cbor"),
		veraisonVector(t, "corim", "unsignedCorimMiniComidParsecTpmPcrsGood.cbor"))
	vector := veraisonVector(t, "evidence", "evidence.cbor")
	vectorNonce := []byte{0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef}
	provision(t, vectorCorim(t, vector))

	// Before the swap they are affirmed as Veraison's own plugin does it.
	affirmedByVeraisons := func(t testing.TB, nonce []byte, attest func([]byte) []byte) {
		t.Helper()
		a, err := submit(ctx, d.Client(), nonce, bundle.MediaType, attest)
		require.NoError(t, err)
		r, err := deployment.VerifyEAR(a.result.EAR, d.PublicKey())
		require.NoError(t, err)
		require.Equal(t, ear.TrustTierAffirming, *r.Submods[scheme].Status)
	}
	affirmedByVeraisons(t, nil, one.attests(t))
	affirmedByVeraisons(t, vectorNonce, constant(vector))
	oldAnchors, oldReferences := anchorsOf(t, d), referencesOf(t, d)

	require.NoError(t, d.Restart(ctx, ours(t)))
	require.Equal(t, oldAnchors, anchorsOf(t, d))
	require.Equal(t, oldReferences, referencesOf(t, d))

	t.Run("same device, same store", func(t *testing.T) {
		a, r := appraise(t, d, one.attests(t))
		requireAffirmed(t, r, a.evidence, one.spki(t))
	})
	t.Run("same evidence", func(t *testing.T) {
		a, err := submit(ctx, d.Client(), vectorNonce, bundle.MediaType, constant(vector))
		require.NoError(t, err)
		r, err := checkedEAR(d, a)
		require.NoError(t, err)
		requireAffirmed(t, r, vector, attestedKey(t, vector))
	})
	t.Run("same evidence in another session", func(t *testing.T) {
		_, r := appraise(t, d, constant(vector))
		requireBad(t, r, badIntegrity)
	})
	t.Run("fewer PCRs", func(t *testing.T) {
		// The old entries are one state, and all of it has to match.
		_, r := appraise(t, d, func(nonce []byte) []byte {
			k, _ := one.tokens(t, nonce)
			return bundled(t)(k, one.quote(t, nonce, bankSelection(tpm2.TPMAlgSHA256, 0, 1, 2)))
		})
		require.Equal(t, ear.UnrecognizedRuntimeClaim, r.TrustVector.Executables)
		require.Contains(t, problemOf(r), appraisal.ErrPCRSelection.Error())
	})

	t.Run("provisioned again", func(t *testing.T) {
		provision(t, one.corim(t), vectorCorim(t, vector),
			veraisonVector(t, "corim", "unsignedCorimMiniComidParsecTpmKeyGood.cbor"),
			veraisonVector(t, "corim", "unsignedCorimMiniComidParsecTpmPcrsGood.cbor"))
		// The store takes an anchor again, and hands out what differs: the host
		// refuses a device with more than one.
		dump := anchorsOf(t, d)
		keys := map[string]bool{}
		for line := range strings.Lines(dump) {
			key, _, _ := strings.Cut(line, "\t")
			keys[key] = true
		}
		require.Len(t, keys, 5)
		again := 0
		for key := range keys {
			distinct, rows := entries(dump, key)
			assert.Len(t, distinct, 1, "%s: another trust anchor than Veraison's own plugin stored", key)
			if rows == 2 {
				again++
			}
		}
		assert.Equal(t, 3, again)
		a, r := appraise(t, d, one.attests(t))
		requireAffirmed(t, r, a.evidence, one.spki(t))
	})

	t.Run("two states", func(t *testing.T) {
		// Which state an old entry belongs to is lost. The operator is told.
		const advice = "provision the class's reference values anew"
		requireFault(t, d, two.attests(t), advice)
		requireFault(t, d, two.attests(t), "class "+two.anchor.Class+" has two values for sha256:7")

		provision(t, two.corim(t))
		a, r := appraise(t, d, two.attests(t))
		requireAffirmed(t, r, a.evidence, two.spki(t))
	})

	t.Run("two banks", func(t *testing.T) {
		// Of the last digests there is a state, of all of them there is none.
		a, r := appraise(t, d, func(nonce []byte) []byte {
			k, _ := banks.tokens(t, nonce)
			return bundled(t)(k, banks.quote(t, nonce, bankSelection(tpm2.TPMAlgSHA384, 0, 1)))
		})
		requireAffirmed(t, r, a.evidence, banks.spki(t))
		_, r = appraise(t, d, banks.attests(t))
		require.Equal(t, ear.UnrecognizedRuntimeClaim, r.TrustVector.Executables)

		provision(t, banks.corim(t))
		a, r = appraise(t, d, banks.attests(t))
		requireAffirmed(t, r, a.evidence, banks.spki(t))
	})

	// The other direction: an operator who goes back. Veraison's own plugin
	// reads the trust anchors, which are as it would have written them. A
	// reference state of this project's is no PCR to it, so what only this
	// plugin stored gives no device a verdict; what that plugin stored itself
	// works as before.
	t.Run("back", func(t *testing.T) {
		fresh := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
		provision(t, fresh.corim(t))
		_, r := appraise(t, d, fresh.attests(t))
		require.Equal(t, affirming, *r.TrustVector)

		require.NoError(t, d.Restart(ctx, veraisons(t)))
		requireFault(t, d, fresh.attests(t), "unmatched pcr value: 0")
		affirmedByVeraisons(t, nil, one.attests(t))
	})
}

// vectorCorim endorses the device of Veraison's evidence vector: three PCRs
// of zeros.
func vectorCorim(t testing.TB, evidence []byte) []byte {
	t.Helper()
	const (
		class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
		pem   = "-----BEGIN PUBLIC KEY-----\n" +
			"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2lB1xtcIWePIt/Wwt+s8Ybp+5ji8\n" +
			"t2pzGDKSOG7xTGK5gOYkcLCHz4i4L/yGzyEmBO1mZFZNuJz14X0J24+XQQ==\n" +
			"-----END PUBLIC KEY-----"
	)
	k, _, err := bundle.Decode(evidence)
	require.NoError(t, err)
	// The class of Veraison's CoRIM has other PCRs already.
	other := strings.Replace(class, "cd", "ce", 1)
	anchor, err := endorsements.NewTrustAnchor(other, k.KID, pem)
	require.NoError(t, err)
	var values []endorsements.PCRValue
	for i := range 3 {
		values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: crypto.SHA256, Index: i}, Digest: make([]byte, 32)})
	}
	state, err := endorsements.NewReferenceState(other, values)
	require.NoError(t, err)
	return encode(t, &endorsements.Corim{Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state}})
}

// attestedKey is the identity key in evidence.
func attestedKey(t testing.TB, evidence []byte) []byte {
	t.Helper()
	k, _, err := bundle.Decode(evidence)
	require.NoError(t, err)
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](k.PubArea)
	require.NoError(t, err)
	spki, _, _ := keyNames(t, pub)
	return spki
}
