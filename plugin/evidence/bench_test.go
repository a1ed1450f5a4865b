// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package evidence_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/plugin/evidence"
	"github.com/veraison/attested-tls/plugin/internal/store"
)

func stored(t testing.TB, kind string, attributes json.RawMessage, err error) string {
	t.Helper()
	require.NoError(t, err)
	text, err := json.Marshal(handler.Endorsement{Scheme: "PARSEC_TPM", Type: kind, Attributes: attributes})
	require.NoError(t, err)
	return string(text)
}

// BenchmarkFiveCalls is one appraisal as a host makes it, without the RPC, and
// then each call of it. internal/bench holds it against Veraison's own plugin.
func BenchmarkFiveCalls(b *testing.B) {
	m := evidencetest.New(b)
	pem, err := endorsements.MarshalKeyPEM(m.AK.Public())
	require.NoError(b, err)
	a, err := endorsements.NewTrustAnchor("cd1f0e55-26f9-460d-b9d8-f7fde171787c", m.KID, pem)
	require.NoError(b, err)
	var values []endorsements.PCRValue
	for pcr, digest := range m.PCRs {
		h, _ := pcr.Alg.Hash()
		values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: h, Index: pcr.Index}, Digest: digest})
	}
	s, err := endorsements.NewReferenceState(a.Class, values)
	require.NoError(b, err)
	attrs, err := store.EncodeAnchor(a)
	anchors := []string{stored(b, handler.EndorsementType_VERIFICATION_KEY, attrs, err)}
	attrs, err = store.EncodeState(s)
	states := []string{stored(b, handler.EndorsementType_REFERENCE_VALUE, attrs, err)}

	token := &proto.AttestationToken{TenantId: "0", Data: m.Bundle(b), Nonce: m.Nonce}
	ev, st := evidence.NewHandler(nil), evidence.NewStoreHandler(nil)
	claims, err := ev.ExtractClaims(token, anchors)
	require.NoError(b, err)
	fields, err := structpb.NewStruct(claims)
	require.NoError(b, err)
	ec := &proto.EvidenceContext{TenantId: "0", Evidence: fields}

	calls := []struct {
		name string
		call func() error
	}{
		{"GetTrustAnchorIDs", func() error {
			_, err := st.GetTrustAnchorIDs(token)
			return err
		}},
		{"ExtractClaims", func() error {
			_, err := ev.ExtractClaims(token, anchors)
			return err
		}},
		{"GetRefValueIDs", func() error {
			_, err := st.GetRefValueIDs("0", anchors, claims)
			return err
		}},
		{"ValidateEvidenceIntegrity", func() error {
			return ev.ValidateEvidenceIntegrity(token, anchors, states)
		}},
		{"AppraiseEvidence", func() error {
			r, err := ev.AppraiseEvidence(ec, states)
			if err == nil && *r.Submods["PARSEC_TPM"].Status != ear.TrustTierAffirming {
				err = errors.New("the evidence is not affirmed")
			}
			return err
		}},
	}
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, c := range calls {
				if err := c.call(); err != nil {
					b.Fatal(c.name, err)
				}
			}
		}
	})
	for _, c := range calls {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
