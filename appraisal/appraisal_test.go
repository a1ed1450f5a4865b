// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package appraisal_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

const (
	class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	other = "11111111-26f9-460d-b9d8-f7fde171787c"
)

func anchor(t testing.TB, m *evidencetest.TPM, class string) endorsements.TrustAnchor {
	t.Helper()
	pem, err := endorsements.MarshalKeyPEM(m.AK.Public())
	require.NoError(t, err)
	a, err := endorsements.NewTrustAnchor(class, m.KID, pem)
	require.NoError(t, err)
	return a
}

// state is a reference state with the TPM's values of some banks.
func state(t testing.TB, m *evidencetest.TPM, class string, banks ...evidencetest.Bank) endorsements.ReferenceState {
	t.Helper()
	var values []endorsements.PCRValue
	for _, b := range banks {
		bank, err := b.Alg.Hash()
		require.NoError(t, err)
		for _, i := range b.PCRs {
			values = append(values, endorsements.PCRValue{
				PCR:    endorsements.PCR{Bank: bank, Index: i},
				Digest: m.PCRs[evidencetest.PCR{Alg: b.Alg, Index: i}],
			})
		}
	}
	s, err := endorsements.NewReferenceState(class, values)
	require.NoError(t, err)
	return s
}

func set(t testing.TB, anchors []endorsements.TrustAnchor, states ...endorsements.ReferenceState) *endorsements.Set {
	t.Helper()
	s, err := endorsements.NewSet(&endorsements.Corim{Anchors: anchors, States: states})
	require.NoError(t, err)
	return s
}

// inSteps appraises as a Veraison host has it done, with JSON between the
// steps.
func inSteps(t testing.TB, evidence, nonce []byte, known *endorsements.Set) (*appraisal.Result, error) {
	t.Helper()
	kid, err := appraisal.KeyID(evidence)
	if err != nil {
		return nil, err
	}
	var anchors []endorsements.TrustAnchor
	a, ok := known.TrustAnchor(kid)
	if ok {
		anchors = append(anchors, a)
	}
	m, err := appraisal.ExtractClaims(evidence)
	if err != nil {
		return nil, err
	}
	if err := appraisal.VerifyIntegrity(evidence, nonce, anchors); err != nil {
		return nil, err
	}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	var travelled map[string]any
	require.NoError(t, json.Unmarshal(text, &travelled))
	c, err := appraisal.ParseClaims(travelled)
	require.NoError(t, err)
	return c.Appraise(known.States(a.Class)), nil
}

func TestAffirms(t *testing.T) {
	m := evidencetest.New(t)
	known := set(t, []endorsements.TrustAnchor{anchor(t, m, class)}, state(t, m, class, m.Quoted...))
	r, err := appraisal.Appraise(m.Bundle(t), m.Nonce, known)
	require.NoError(t, err)
	assert.Equal(t, appraisal.Vector{InstanceIdentity: 2, Executables: 2, Hardware: 2, StorageOpaque: 2}, r.Vector)
	assert.Equal(t, appraisal.TierAffirming, r.Status())
	assert.Empty(t, r.Problems)
	require.NotNil(t, r.Key)
	assert.Equal(t, evidencetest.Name(t, m.TIK), r.Claims.KAT.Name)

	steps, err := inSteps(t, m.Bundle(t), m.Nonce, known)
	require.NoError(t, err)
	assert.Equal(t, r, steps, "in steps or at once, the result is the same to the last claim")
}

// What is right is affirmed, however unusual.
func TestAffirmsWhatIsRight(t *testing.T) {
	p256 := func(pcrs ...int) evidencetest.Bank {
		return evidencetest.Bank{Alg: tpm2.TPMAlgSHA256, PCRs: pcrs}
	}
	p384 := func(pcrs ...int) evidencetest.Bank {
		return evidencetest.Bank{Alg: tpm2.TPMAlgSHA384, PCRs: pcrs}
	}
	p512 := func(pcrs ...int) evidencetest.Bank {
		return evidencetest.Bank{Alg: tpm2.TPMAlgSHA512, PCRs: pcrs}
	}
	tests := []struct {
		name   string
		quoted []evidencetest.Bank
		states [][]evidencetest.Bank
		tpm    func(*evidencetest.TPM)
	}{
		{name: "three banks", quoted: []evidencetest.Bank{p256(0, 1), p384(0), p512(7)}, states: [][]evidencetest.Bank{{p256(0, 1), p384(0), p512(7)}}},
		{name: "banks in another order than endorsed", quoted: []evidencetest.Bank{p512(7), p256(0, 1)}, states: [][]evidencetest.Bank{{p256(0, 1), p512(7)}}},
		{name: "one of the endorsed banks", quoted: []evidencetest.Bank{p384(0, 1)}, states: [][]evidencetest.Bank{{p256(0, 1), p384(0, 1)}}},
		{name: "bank in two parts", quoted: []evidencetest.Bank{p256(3), p256(0, 1)}, states: [][]evidencetest.Bank{{p256(0, 1, 3)}}},
		{name: "bank named and empty", quoted: []evidencetest.Bank{p256(0, 1), p512()}, states: [][]evidencetest.Bank{{p256(0, 1)}}},
		{name: "second state", quoted: []evidencetest.Bank{p256(0, 1)}, states: [][]evidencetest.Bank{{p256(0, 1, 2)}, {p256(0, 1)}}},
		{name: "AK hashes with SHA-384", quoted: []evidencetest.Bank{p256(0)}, states: [][]evidencetest.Bank{{p256(0)}}, tpm: func(m *evidencetest.TPM) { m.Hash = crypto.SHA384 }},
		{name: "AK hashes with SHA-512", quoted: []evidencetest.Bank{p256(0)}, states: [][]evidencetest.Bank{{p256(0)}}, tpm: func(m *evidencetest.TPM) { m.Hash = crypto.SHA512 }},
		{name: "clock and counters at their limits", quoted: []evidencetest.Bank{p256(0)}, states: [][]evidencetest.Bank{{p256(0)}}, tpm: func(m *evidencetest.TPM) {
			m.Clock = tpm2.TPMSClockInfo{Clock: 1<<64 - 1, ResetCount: 1<<32 - 1, RestartCount: 1<<32 - 1}
			m.Firmware = 1<<64 - 1
		}},
		{name: "TIK free in its scheme", quoted: []evidencetest.Bank{p256(0)}, states: [][]evidencetest.Bank{{p256(0)}}, tpm: func(m *evidencetest.TPM) {
			parms, _ := m.TIK.Parameters.ECCDetail()
			parms.Scheme = tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := evidencetest.New(t)
			m.SetBank(tpm2.TPMAlgSHA384, 0, 1)
			m.SetBank(tpm2.TPMAlgSHA512, 7)
			m.Quoted = tt.quoted
			if tt.tpm != nil {
				tt.tpm(m)
			}
			var states []endorsements.ReferenceState
			for _, banks := range tt.states {
				states = append(states, state(t, m, class, banks...))
			}
			known := set(t, []endorsements.TrustAnchor{anchor(t, m, class)}, states...)
			evidence := m.Bundle(t)
			r, err := appraisal.Appraise(evidence, m.Nonce, known)
			require.NoError(t, err)
			assert.Equal(t, appraisal.TierAffirming, r.Status(), "%v", r.Problems)
			r, err = inSteps(t, evidence, m.Nonce, known)
			require.NoError(t, err)
			assert.Equal(t, appraisal.TierAffirming, r.Status(), "%v", r.Problems)
			assert.Equal(t, m.Clock.Clock, r.Claims.PAT.Clock.Clock)
			assert.Equal(t, m.Firmware, r.Claims.PAT.FirmwareVersion)
		})
	}
}

// Each case has one defect, and is authentic: the result says what is wrong.
func TestDoesNotAffirm(t *testing.T) {
	bank := func(alg tpm2.TPMAlgID, pcrs ...int) evidencetest.Bank {
		return evidencetest.Bank{Alg: alg, PCRs: pcrs}
	}
	const sha256, sha384 = tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA384
	pcrs := appraisal.Vector{InstanceIdentity: 2, Executables: 33, Hardware: 2, StorageOpaque: 2}
	key := appraisal.Vector{InstanceIdentity: 2, Executables: 2, Hardware: 2, StorageOpaque: 96}
	attribute := func(change func(*tpm2.TPMAObject)) func(*evidencetest.TPM) {
		return func(m *evidencetest.TPM) { change(&m.TIK.ObjectAttributes) }
	}
	scheme := func(alg tpm2.TPMAlgID, hash tpm2.TPMAlgID) func(*evidencetest.TPM) {
		return func(m *evidencetest.TPM) {
			parms, _ := m.TIK.Parameters.ECCDetail()
			parms.Scheme = tpm2.TPMTECCScheme{Scheme: alg}
			switch alg {
			case tpm2.TPMAlgECDSA:
				parms.Scheme.Details = tpm2.NewTPMUAsymScheme(alg, &tpm2.TPMSSigSchemeECDSA{HashAlg: hash})
			case tpm2.TPMAlgECDH:
				parms.Scheme.Details = tpm2.NewTPMUAsymScheme(alg, &tpm2.TPMSKeySchemeECDH{HashAlg: hash})
			}
		}
	}
	tests := []struct {
		name    string
		defect  func(*evidencetest.TPM)
		states  [][]evidencetest.Bank // nil: the quoted PCRs
		vector  appraisal.Vector
		cause   error
		problem string
	}{
		{name: "extended PCR", vector: pcrs, cause: appraisal.ErrPCRDigest,
			defect:  func(m *evidencetest.TPM) { m.PCRs[evidencetest.PCR{Alg: sha256, Index: 4}] = make([]byte, 32) },
			problem: "executables: the quoted PCR values match no reference state: sha256:0,1,2,3,4,5,6,7, compared with 1 of 1 states"},
		{name: "subset of the attester's choice", vector: pcrs, cause: appraisal.ErrPCRSelection,
			defect:  func(m *evidencetest.TPM) { m.Quoted = []evidencetest.Bank{bank(sha256, 0)} },
			states:  [][]evidencetest.Bank{{bank(sha256, 0, 1, 2)}},
			problem: "executables: the quoted PCRs are not those of a reference state: quoted sha256:0, endorsed sha256:0,1,2"},
		{name: "superset", vector: pcrs, cause: appraisal.ErrPCRSelection,
			states:  [][]evidencetest.Bank{{bank(sha256, 0, 1, 2)}},
			problem: "executables: the quoted PCRs are not those of a reference state: quoted sha256:0,1,2,3,4,5,6,7, endorsed sha256:0,1,2"},
		{name: "no PCR at all", vector: pcrs, cause: appraisal.ErrPCRSelection,
			defect:  func(m *evidencetest.TPM) { m.Quoted = nil },
			states:  [][]evidencetest.Bank{{bank(sha256, 0, 1, 2)}},
			problem: "executables: the quoted PCRs are not those of a reference state: the quote covers no PCR"},
		{name: "an empty bank", vector: pcrs, cause: appraisal.ErrPCRSelection,
			defect:  func(m *evidencetest.TPM) { m.Quoted = []evidencetest.Bank{bank(sha256)} },
			states:  [][]evidencetest.Bank{{bank(sha256, 0, 1, 2)}},
			problem: "executables: the quoted PCRs are not those of a reference state: the quote covers no PCR"},
		{name: "an endorsed bank named and empty", vector: pcrs, cause: appraisal.ErrPCRSelection,
			defect: func(m *evidencetest.TPM) {
				m.SetBank(sha384, 0)
				m.Quoted = []evidencetest.Bank{bank(sha256, 0), bank(sha384)}
			},
			states:  [][]evidencetest.Bank{{bank(sha256, 0), bank(sha384, 0)}},
			problem: "executables: the quoted PCRs are not those of a reference state: quoted sha256:0+sha384:, endorsed sha256:0+sha384:0"},
		{name: "SHA-1 bank", vector: pcrs, cause: appraisal.ErrPCRSelection,
			defect: func(m *evidencetest.TPM) {
				m.SetBank(tpm2.TPMAlgSHA1, 0)
				m.Quoted = append(m.Quoted, bank(tpm2.TPMAlgSHA1, 0))
			},
			states:  [][]evidencetest.Bank{{bank(sha256, 0, 1, 2, 3, 4, 5, 6, 7)}},
			problem: "executables: the quoted PCRs are not those of a reference state: PCR bank: hash algorithm sha1 is not accepted: want sha256, sha384 or sha512"},
		{name: "a PCR twice", vector: pcrs, cause: appraisal.ErrPCRSelection,
			defect:  func(m *evidencetest.TPM) { m.Quoted = []evidencetest.Bank{bank(sha256, 0, 1), bank(sha256, 1, 2)} },
			states:  [][]evidencetest.Bank{{bank(sha256, 0, 1, 2)}},
			problem: "executables: the quoted PCRs are not those of a reference state: sha256:0,1+sha256:1,2 names PCR 1 of bank sha256 twice"},
		{name: "a bank without reference digests", vector: pcrs, cause: appraisal.ErrPCRSelection,
			defect: func(m *evidencetest.TPM) {
				m.SetBank(sha384, 0)
				m.Quoted = []evidencetest.Bank{bank(sha256, 0), bank(sha384, 0)}
			},
			states:  [][]evidencetest.Bank{{bank(sha256, 0)}},
			problem: "executables: the quoted PCRs are not those of a reference state: quoted sha256:0+sha384:0, endorsed sha256:0"},
		{name: "no reference state", vector: pcrs, cause: appraisal.ErrNoReferenceState,
			states:  [][]evidencetest.Bank{},
			problem: "executables: no reference state is provisioned for this class"},
		{name: "digest of another length", vector: pcrs, cause: appraisal.ErrPCRDigest,
			defect: func(m *evidencetest.TPM) {
				m.OnQuote = func(a *tpm2.TPMSAttest) {
					q, _ := a.Attested.Quote()
					q.PCRDigest.Buffer = q.PCRDigest.Buffer[:31]
				}
			},
			problem: "executables: the quoted PCR values match no reference state: sha256:0,1,2,3,4,5,6,7, compared with 1 of 1 states"},
		{name: "no digest", vector: pcrs, cause: appraisal.ErrPCRDigest,
			defect: func(m *evidencetest.TPM) {
				m.OnQuote = func(a *tpm2.TPMSAttest) {
					q, _ := a.Attested.Quote()
					q.PCRDigest.Buffer = nil
				}
			},
			problem: "executables: the quoted PCR values match no reference state: sha256:0,1,2,3,4,5,6,7, compared with 1 of 1 states"},

		{name: "not fixedTPM", vector: key, cause: appraisal.ErrKeyAttributes, defect: attribute(func(a *tpm2.TPMAObject) { a.FixedTPM = false }),
			problem: "storage-opaque: the identity key's attributes do not protect it: fixedTPM is not set"},
		{name: "not fixedParent", vector: key, cause: appraisal.ErrKeyAttributes, defect: attribute(func(a *tpm2.TPMAObject) { a.FixedParent = false }),
			problem: "storage-opaque: the identity key's attributes do not protect it: fixedParent is not set"},
		{name: "imported", vector: key, cause: appraisal.ErrKeyAttributes, defect: attribute(func(a *tpm2.TPMAObject) { a.SensitiveDataOrigin = false }),
			problem: "storage-opaque: the identity key's attributes do not protect it: sensitiveDataOrigin is not set"},
		{name: "does not sign", vector: key, cause: appraisal.ErrKeyAttributes, defect: attribute(func(a *tpm2.TPMAObject) { a.SignEncrypt = false }),
			problem: "storage-opaque: the identity key's attributes do not protect it: sign is not set"},
		{name: "restricted", vector: key, cause: appraisal.ErrKeyAttributes, defect: attribute(func(a *tpm2.TPMAObject) { a.Restricted = true }),
			problem: "storage-opaque: the identity key's attributes do not protect it: restricted is set"},
		{name: "decrypts too", vector: key, cause: appraisal.ErrKeyAttributes, defect: attribute(func(a *tpm2.TPMAObject) { a.Decrypt = true }),
			problem: "storage-opaque: the identity key's attributes do not protect it: decrypt is set"},
		{name: "AK certifies itself", vector: key, cause: appraisal.ErrKeyAttributes, defect: func(m *evidencetest.TPM) {
			m.TIK = evidencetest.ECPublic(t, m.AK.Public().(*ecdsa.PublicKey))
			m.TIK.ObjectAttributes.Restricted = true // as an AK is
		}, problem: "storage-opaque: the identity key's attributes do not protect it: restricted is set"},
		{name: "ECDH", vector: key, cause: appraisal.ErrKeyScheme, defect: scheme(tpm2.TPMAlgECDH, sha256),
			problem: "storage-opaque: the identity key's scheme is not accepted: ecdh-sha256 is not ecdsa, rsassa or rsapss"},
		{name: "ECDSA with SHA-1", vector: key, cause: appraisal.ErrKeyScheme, defect: scheme(tpm2.TPMAlgECDSA, tpm2.TPMAlgSHA1),
			problem: "storage-opaque: the identity key's scheme is not accepted: hash algorithm sha1 is not accepted: want sha256, sha384 or sha512"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := evidencetest.New(t)
			reference := evidencetest.New(t) // what a good TPM has in its PCRs
			if tt.defect != nil {
				tt.defect(m)
			}
			reference.SetBank(sha384, 0)
			if tt.states == nil {
				tt.states = [][]evidencetest.Bank{m.Quoted}
			}
			var states []endorsements.ReferenceState
			for _, banks := range tt.states {
				states = append(states, state(t, reference, class, banks...))
			}
			known := set(t, []endorsements.TrustAnchor{anchor(t, m, class)}, states...)
			evidence := m.Bundle(t)
			for path, appraise := range map[string]func() (*appraisal.Result, error){
				"at once":  func() (*appraisal.Result, error) { return appraisal.Appraise(evidence, m.Nonce, known) },
				"in steps": func() (*appraisal.Result, error) { return inSteps(t, evidence, m.Nonce, known) },
			} {
				r, err := appraise()
				require.NoError(t, err, path)
				assert.Equal(t, tt.vector, r.Vector, path)
				assert.NotEqual(t, appraisal.TierAffirming, r.Status(), path)
				require.Len(t, r.Problems, 1, path)
				assert.Equal(t, tt.problem, r.Problems[0].String(), path)
				assert.ErrorIs(t, r.Problems[0].Err, tt.cause, path)
				assert.Equal(t, tt.vector.StorageOpaque == 2, r.Key != nil, "the key is attested if and only if it is protected")
			}
		})
	}
}

// Two states, each half right, are not one that is right.
func TestStatesNeverMix(t *testing.T) {
	m := evidencetest.New(t)
	m.Quoted = []evidencetest.Bank{{Alg: tpm2.TPMAlgSHA256, PCRs: []int{0, 1}}}
	a, b := evidencetest.New(t), evidencetest.New(t)
	a.PCRs[evidencetest.PCR{Alg: tpm2.TPMAlgSHA256, Index: 0}] = make([]byte, 32)
	b.PCRs[evidencetest.PCR{Alg: tpm2.TPMAlgSHA256, Index: 1}] = make([]byte, 32)
	known := set(t, []endorsements.TrustAnchor{anchor(t, m, class)}, state(t, a, class, m.Quoted...), state(t, b, class, m.Quoted...))
	r, err := appraisal.Appraise(m.Bundle(t), m.Nonce, known)
	require.NoError(t, err)
	assert.Equal(t, appraisal.UnrecognizedRuntime, r.Vector.Executables)
	assert.ErrorIs(t, r.Problems[0].Err, appraisal.ErrPCRDigest)
	assert.Equal(t, appraisal.TierWarning, r.Status())
}

// The states of another class are not this one's.
func TestStateOfAnotherClass(t *testing.T) {
	m := evidencetest.New(t)
	known := set(t, []endorsements.TrustAnchor{anchor(t, m, class)}, state(t, m, other, m.Quoted...))
	r, err := appraisal.Appraise(m.Bundle(t), m.Nonce, known)
	require.NoError(t, err)
	assert.ErrorIs(t, r.Problems[0].Err, appraisal.ErrNoReferenceState)
}

func TestBothDefectsAreSaid(t *testing.T) {
	m := evidencetest.New(t)
	m.TIK.ObjectAttributes.FixedTPM = false
	known := set(t, []endorsements.TrustAnchor{anchor(t, m, class)})
	r, err := appraisal.Appraise(m.Bundle(t), m.Nonce, known)
	require.NoError(t, err)
	assert.Equal(t, appraisal.Vector{InstanceIdentity: 2, Executables: 33, Hardware: 2, StorageOpaque: 96}, r.Vector)
	assert.Equal(t, appraisal.TierContraindicated, r.Status())
	assert.Len(t, r.Problems, 2)
	assert.Nil(t, r.Key)
}

// Each case has one defect, and there is no result.
func TestRefusesBadEvidence(t *testing.T) {
	m := evidencetest.New(t)
	known := set(t, []endorsements.TrustAnchor{anchor(t, m, class)}, state(t, m, class, m.Quoted...))
	stranger := evidencetest.New(t)
	tests := []struct {
		name     string
		evidence func() []byte
		nonce    []byte
		known    *endorsements.Set
		check    bundle.Check
	}{
		{name: "garbage", evidence: func() []byte { return []byte("garbage") }, check: bundle.Malformed},
		{name: "nothing", evidence: func() []byte { return nil }, check: bundle.Malformed},
		{name: "too large", evidence: func() []byte { return make([]byte, bundle.MaxSize+1) }, check: bundle.Malformed},
		{name: "replay", nonce: bytes.Repeat([]byte{1}, 32), check: bundle.Stale},
		{name: "session without a nonce", nonce: []byte{}, check: bundle.Stale},
		{name: "another TPM's AK under this kid", evidence: func() []byte { return stranger.Bundle(t) }, check: bundle.Signature},
		{name: "unknown AK", known: set(t, nil), check: bundle.UnknownKey},
		{name: "nothing is known", known: new(endorsements.Set), check: bundle.UnknownKey},
		{name: "kids differ", evidence: func() []byte {
			x := *m
			x.OnPAT = func(p *pat.Token) { p.KID = append([]byte{1}, make([]byte, 32)...) }
			return x.Bundle(t)
		}, check: bundle.KeyID},
		{name: "another key in pubArea", evidence: func() []byte {
			x := *m
			x.OnKAT = func(k *kat.Token) { k.PubArea = tpm2.Marshal(stranger.TIK) }
			return x.Bundle(t)
		}, check: bundle.Name},
		{name: "TPM 1.2", evidence: func() []byte {
			x := *m
			x.OnPAT = func(p *pat.Token) { p.TPMVer = "1.2" }
			return x.Bundle(t)
		}, check: bundle.Version},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			evidence, nonce, known := m.Bundle(t), m.Nonce, known
			if tt.evidence != nil {
				evidence = tt.evidence()
			}
			if tt.nonce != nil {
				nonce = tt.nonce
			}
			if tt.known != nil {
				known = tt.known
			}
			r, err := appraisal.Appraise(evidence, nonce, known)
			assert.Nil(t, r)
			var e *bundle.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tt.check, e.Check)

			r, stepErr := inSteps(t, evidence, nonce, known)
			assert.Nil(t, r)
			assert.EqualError(t, stepErr, err.Error())
		})
	}
}

func TestVerifyIntegrityAnchors(t *testing.T) {
	m, stranger := evidencetest.New(t), evidencetest.New(t)
	evidence := m.Bundle(t)
	good := anchor(t, m, class)
	elsewhere := anchor(t, m, other)
	impostor := anchor(t, stranger, class)
	stranger.KID = append([]byte{1}, make([]byte, 32)...)
	unrelated := anchor(t, stranger, class)

	assert.NoError(t, appraisal.VerifyIntegrity(evidence, m.Nonce, []endorsements.TrustAnchor{good}))
	assert.NoError(t, appraisal.VerifyIntegrity(evidence, m.Nonce, []endorsements.TrustAnchor{good, good}), "twice the same is one")
	assert.NoError(t, appraisal.VerifyIntegrity(evidence, m.Nonce, []endorsements.TrustAnchor{unrelated, good}))

	var e *bundle.Error
	require.ErrorAs(t, appraisal.VerifyIntegrity(evidence, m.Nonce, nil), &e)
	assert.Equal(t, bundle.UnknownKey, e.Check)
	require.ErrorAs(t, appraisal.VerifyIntegrity(evidence, m.Nonce, []endorsements.TrustAnchor{unrelated}), &e)
	assert.Equal(t, bundle.UnknownKey, e.Check)

	for name, anchors := range map[string][]endorsements.TrustAnchor{
		"good first":  {good, impostor},
		"good last":   {impostor, good},
		"two classes": {good, elsewhere},
	} {
		var ambiguous *endorsements.AmbiguousKeyError
		assert.ErrorAs(t, appraisal.VerifyIntegrity(evidence, m.Nonce, anchors), &ambiguous, name)
	}
}

func TestTiers(t *testing.T) {
	for c, want := range map[appraisal.Claim]appraisal.Tier{
		2: appraisal.TierAffirming, 31: appraisal.TierAffirming, 32: appraisal.TierWarning, 95: appraisal.TierWarning,
		96: appraisal.TierContraindicated, 127: appraisal.TierContraindicated,
		0: appraisal.TierContraindicated, 1: appraisal.TierContraindicated, -1: appraisal.TierContraindicated, -128: appraisal.TierContraindicated,
	} {
		assert.Equal(t, want, c.Tier(), "%d", c)
	}
	assert.Equal(t, appraisal.TierContraindicated, new(appraisal.Result).Status(), "the zero value affirms nothing")
	for tier, name := range map[appraisal.Tier]string{2: "affirming", 32: "warning", 96: "contraindicated", 0: "tier 0"} {
		assert.Equal(t, name, tier.String())
	}
}
