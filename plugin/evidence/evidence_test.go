// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package evidence_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/plugin/evidence"
	"github.com/veraison/attested-tls/plugin/internal/store"
)

const class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"

// stores is what the VTS has of a TPM whose reference state is its own.
type stores struct{ anchors, states []string }

func provision(t testing.TB, m *evidencetest.TPM) stores {
	t.Helper()
	pem, err := endorsements.MarshalKeyPEM(m.AK.Public())
	require.NoError(t, err)
	a, err := endorsements.NewTrustAnchor(class, m.KID, pem)
	require.NoError(t, err)
	var values []endorsements.PCRValue
	for _, b := range m.Quoted {
		bank, err := b.Alg.Hash()
		require.NoError(t, err)
		for _, i := range b.PCRs {
			values = append(values, endorsements.PCRValue{
				PCR: endorsements.PCR{Bank: bank, Index: i}, Digest: m.PCRs[evidencetest.PCR{Alg: b.Alg, Index: i}],
			})
		}
	}
	s, err := endorsements.NewReferenceState(class, values)
	require.NoError(t, err)
	anchor, err := store.EncodeAnchor(a)
	require.NoError(t, err)
	state, err := store.EncodeState(s)
	require.NoError(t, err)
	return stores{
		anchors: []string{entry(t, handler.EndorsementType_VERIFICATION_KEY, anchor)},
		states:  []string{entry(t, handler.EndorsementType_REFERENCE_VALUE, state)},
	}
}

func entry(t testing.TB, kind string, attributes json.RawMessage) string {
	t.Helper()
	text, err := json.Marshal(handler.Endorsement{Scheme: "PARSEC_TPM", Type: kind, Attributes: attributes})
	require.NoError(t, err)
	return string(text)
}

// appraise makes the five calls as the host does.
func appraise(t testing.TB, log hclog.Logger, token *proto.AttestationToken, s stores) (*ear.AttestationResult, error) {
	t.Helper()
	ev, st := evidence.NewHandler(log), evidence.NewStoreHandler(log)
	if _, err := st.GetTrustAnchorIDs(token); err != nil {
		return nil, err
	}
	claims, err := ev.ExtractClaims(token, s.anchors)
	if err != nil {
		return nil, err
	}
	if _, err := st.GetRefValueIDs(token.TenantId, s.anchors, claims); err != nil {
		return nil, err
	}
	if err := ev.ValidateEvidenceIntegrity(token, s.anchors, s.states); err != nil {
		return nil, err
	}
	fields, err := structpb.NewStruct(claims)
	require.NoError(t, err)
	return ev.AppraiseEvidence(&proto.EvidenceContext{TenantId: token.TenantId, Evidence: fields}, s.states)
}

func TestAffirms(t *testing.T) {
	m := evidencetest.New(t)
	s := provision(t, m)
	token := &proto.AttestationToken{TenantId: "0", Data: m.Bundle(t), Nonce: m.Nonce}
	ids, err := evidence.NewStoreHandler(nil).GetTrustAnchorIDs(token)
	require.NoError(t, err)
	assert.Equal(t, []string{"PARSEC_TPM://0/AaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWl"}, ids)
	ids, err = evidence.NewStoreHandler(nil).GetRefValueIDs("0", s.anchors, nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"PARSEC_TPM://0/" + class}, ids)

	r, err := appraise(t, nil, token, s)
	require.NoError(t, err)
	require.Len(t, r.Submods, 1)
	a := r.Submods["PARSEC_TPM"]
	assert.Equal(t, ear.TrustTierAffirming, *a.Status)
	assert.Equal(t, ear.TrustVector{InstanceIdentity: 2, Executables: 2, Hardware: 2, StorageOpaque: 2}, *a.TrustVector)
	assert.Nil(t, a.VeraisonPolicyClaims)
	assert.Equal(t, "sha256:0,1,2,3,4,5,6,7", (*a.VeraisonAnnotatedEvidence)["pcrs"])

	// The key attestation is as ear writes and reads it.
	key, err := a.GetKeyAttestation()
	require.NoError(t, err)
	var want ear.AppraisalExtensions
	require.NoError(t, want.SetKeyAttestation(key))
	assert.Equal(t, want.VeraisonKeyAttestation, a.VeraisonKeyAttestation)
}

func TestDoesNotAffirm(t *testing.T) {
	m := evidencetest.New(t)
	s := provision(t, m)
	m.PCRs[evidencetest.PCR{Alg: tpm2.TPMAlgSHA256, Index: 0}] = make([]byte, 32)
	m.TIK.ObjectAttributes.FixedTPM = false
	var text bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &text})
	r, err := appraise(t, log, &proto.AttestationToken{TenantId: "0", Data: m.Bundle(t), Nonce: m.Nonce}, s)
	require.NoError(t, err)
	a := r.Submods["PARSEC_TPM"]
	assert.Equal(t, ear.TrustTierContraindicated, *a.Status)
	assert.Equal(t, ear.TrustVector{InstanceIdentity: 2, Executables: 33, Hardware: 2, StorageOpaque: 96}, *a.TrustVector)
	assert.Nil(t, a.VeraisonKeyAttestation)
	const reason = "executables: the quoted PCR values match no reference state: sha256:0,1,2,3,4,5,6,7, compared with 1 of 1 states; " +
		"storage-opaque: the identity key's attributes do not protect it: fixedTPM is not set"
	assert.Equal(t, &map[string]any{"problem": reason}, a.VeraisonPolicyClaims)
	assert.Contains(t, text.String(), "[WARN]")
	assert.Contains(t, text.String(), reason)
}

// The host must see that the evidence is bad, across its RPC, and why; else it
// answers with an internal error.
func TestBadEvidence(t *testing.T) {
	m := evidencetest.New(t)
	s := provision(t, m)
	good := &proto.AttestationToken{TenantId: "0", Data: m.Bundle(t), Nonce: m.Nonce}
	for name, tt := range map[string]struct {
		token  *proto.AttestationToken
		stores stores
		want   string
	}{
		"replayed":         {&proto.AttestationToken{Data: good.Data, Nonce: bytes.Repeat([]byte{9}, 32)}, s, "kat: stale: extraData is not this session's nonce"},
		"no nonce":         {&proto.AttestationToken{Data: good.Data}, s, "kat: stale: the session's nonce has 0 bytes"},
		"garbage":          {&proto.AttestationToken{Data: []byte("garbage"), Nonce: m.Nonce}, s, "malformed: evidence is not a CBOR map"},
		"nothing":          {&proto.AttestationToken{}, s, "malformed: evidence is not a CBOR map of kat and pat: EOF"},
		"another's AK":     {good, provision(t, evidencetest.New(t)), "kat: signature: sig: the signature does not verify under the attestation key"},
		"TPM 1.2 and more": {&proto.AttestationToken{Data: bytes.ReplaceAll(good.Data, []byte("2.0"), []byte("1.2")), Nonce: m.Nonce}, s, `kat: version: tpmVer is "1.2", want "2.0"`},
	} {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			r, err := appraise(t, hclog.New(&hclog.LoggerOptions{Output: &text}), tt.token, tt.stores)
			assert.Nil(t, r)
			require.Error(t, err)
			parsed := handler.ParseError(assertText(err.Error()))
			require.ErrorIs(t, parsed, handler.BadEvidenceError{})
			assert.Contains(t, parsed.Error(), strings.ReplaceAll(tt.want, `"`, `\"`))
			assert.Contains(t, text.String(), "evidence refused")
			for _, secret := range []string{hex.EncodeToString(m.Nonce), hex.EncodeToString(good.Data[:64])} {
				assert.NotContains(t, text.String(), secret, "evidence does not belong into logs")
			}
		})
	}
}

// assertText is what is left of an error on its way through net/rpc.
type assertText string

func (e assertText) Error() string { return string(e) }

// What the operator or the host got wrong is not the evidence's fault.
func TestNotTheEvidencesFault(t *testing.T) {
	m := evidencetest.New(t)
	s := provision(t, m)
	token := &proto.AttestationToken{TenantId: "0", Data: m.Bundle(t), Nonce: m.Nonce}
	ev, st := evidence.NewHandler(nil), evidence.NewStoreHandler(nil)
	claims, err := ev.ExtractClaims(token, s.anchors)
	require.NoError(t, err)
	fields, err := structpb.NewStruct(claims)
	require.NoError(t, err)
	ec := &proto.EvidenceContext{Evidence: fields}
	pcr := func(digest string) string {
		return `{"scheme":"PARSEC_TPM","type":"reference value","attributes":{"parsec-tpm.alg-id":1,"parsec-tpm.class-id":"` + class + `","parsec-tpm.digest":"` + digest + `","parsec-tpm.pcr":0}}`
	}
	stranger := evidencetest.New(t)
	for name, call := range map[string]func() error{
		"foreign trust anchor": func() error { return ev.ValidateEvidenceIntegrity(token, []string{"{}"}, nil) },
		"two keys under one kid": func() error {
			return ev.ValidateEvidenceIntegrity(token, append(provision(t, stranger).anchors, s.anchors...), nil)
		},
		"no trust anchor for a class": func() error { _, err := st.GetRefValueIDs("0", nil, claims); return err },
		"foreign anchor for a class":  func() error { _, err := st.GetRefValueIDs("0", []string{"?"}, claims); return err },
		"foreign reference value":     func() error { _, err := ev.AppraiseEvidence(ec, []string{"{}"}); return err },
		"states that cannot be told apart": func() error {
			_, err := ev.AppraiseEvidence(ec, []string{pcr("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), pcr("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")})
			assert.ErrorIs(t, err, store.ErrAmbiguous)
			return err
		},
		"claims of another scheme": func() error {
			fields, err := structpb.NewStruct(map[string]any{"kat": map[string]any{"kid": "x"}})
			require.NoError(t, err)
			_, err = ev.AppraiseEvidence(&proto.EvidenceContext{Evidence: fields}, s.states)
			return err
		},
		"no claims":          func() error { _, err := ev.AppraiseEvidence(nil, s.states); return err },
		"no reference value": func() error { _, err := st.SynthKeysFromRefValue("0", nil); return err },
		"no trust anchor":    func() error { _, err := st.SynthKeysFromTrustAnchor("0", nil); return err },
		"empty attributes":   func() error { _, err := st.SynthKeysFromTrustAnchor("0", &handler.Endorsement{}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			err := call()
			require.Error(t, err)
			assert.NotErrorIs(t, err, handler.BadEvidenceError{})
			assert.NotContains(t, err.Error(), "internal error", "and nothing panicked")
		})
	}
	t.Run("no trust anchor at all", func(t *testing.T) {
		// The host does not get here without one; if it did, nobody would
		// vouch for the evidence.
		assert.ErrorIs(t, ev.ValidateEvidenceIntegrity(token, nil, nil), handler.BadEvidenceError{})
	})
}

// Old entries that cannot be told apart are passed over once there are new
// ones, and the operator is told.
func TestPassesOverOldEntries(t *testing.T) {
	m := evidencetest.New(t)
	s := provision(t, m)
	for _, digest := range []string{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="} {
		s.states = append(s.states, `{"scheme":"PARSEC_TPM","type":"reference value","attributes":{"parsec-tpm.alg-id":1,"parsec-tpm.class-id":"`+class+`","parsec-tpm.digest":"`+digest+`","parsec-tpm.pcr":0}}`)
	}
	var text bytes.Buffer
	r, err := appraise(t, hclog.New(&hclog.LoggerOptions{Output: &text}), &proto.AttestationToken{TenantId: "0", Data: m.Bundle(t), Nonce: m.Nonce}, s)
	require.NoError(t, err)
	assert.Equal(t, ear.TrustTierAffirming, *r.Submods["PARSEC_TPM"].Status)
	assert.Contains(t, text.String(), "passing over reference values of Veraison's own plugin")
}

func TestNames(t *testing.T) {
	ev, st := evidence.NewHandler(nil), evidence.NewStoreHandler(nil)
	assert.Equal(t, "PARSEC_TPM", ev.GetAttestationScheme())
	assert.Equal(t, "PARSEC_TPM", st.GetAttestationScheme())
	assert.Equal(t, []string{bundle.MediaType}, ev.GetSupportedMediaTypes())
	assert.Empty(t, st.GetSupportedMediaTypes())
	assert.NotEqual(t, ev.GetName(), st.GetName())
}
