// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package evidence_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/plugin/evidence"
)

// Whatever a call is given, it answers, and a panic that the guard catches
// counts as one.

// alarm is a logger that notices the guard.
func alarm() (hclog.Logger, func(*testing.T)) {
	var text bytes.Buffer
	return hclog.New(&hclog.LoggerOptions{Output: &text}), func(t *testing.T) {
		if strings.Contains(text.String(), "panicked") {
			t.Fatal(text.String())
		}
	}
}

func FuzzGetTrustAnchorIDs(f *testing.F) {
	m := evidencetest.New(f)
	f.Add(m.Bundle(f), "0")
	f.Add([]byte(nil), "")
	f.Fuzz(func(t *testing.T, data []byte, tenant string) {
		log, check := alarm()
		ids, err := evidence.NewStoreHandler(log).GetTrustAnchorIDs(&proto.AttestationToken{TenantId: tenant, Data: data})
		check(t)
		if (err == nil) != (len(ids) == 1) {
			t.Fatal(ids, err)
		}
	})
}

func FuzzExtractClaims(f *testing.F) {
	m := evidencetest.New(f)
	f.Add(m.Bundle(f), "anchor")
	f.Fuzz(func(t *testing.T, data []byte, anchor string) {
		log, check := alarm()
		claims, err := evidence.NewHandler(log).ExtractClaims(&proto.AttestationToken{Data: data}, []string{anchor})
		check(t)
		if err != nil {
			return
		}
		if _, err := structpb.NewStruct(claims); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzGetRefValueIDs(f *testing.F) {
	f.Add("0", provision(f, evidencetest.New(f)).anchors[0])
	f.Fuzz(func(t *testing.T, tenant, anchor string) {
		log, check := alarm()
		ids, err := evidence.NewStoreHandler(log).GetRefValueIDs(tenant, []string{anchor}, nil)
		check(t)
		if (err == nil) != (len(ids) == 1) {
			t.Fatal(ids, err)
		}
	})
}

func FuzzValidateEvidenceIntegrity(f *testing.F) {
	m := evidencetest.New(f)
	s := provision(f, m)
	f.Add(m.Bundle(f), []byte(nil), s.anchors[0], s.states[0])
	f.Add([]byte(nil), m.Nonce, s.anchors[0], s.states[0])
	f.Fuzz(func(t *testing.T, data, nonce []byte, anchor, state string) {
		log, check := alarm()
		err := evidence.NewHandler(log).ValidateEvidenceIntegrity(&proto.AttestationToken{Data: data, Nonce: nonce}, []string{anchor}, []string{state})
		check(t)
		if err == nil {
			t.Fatal("forged, or a seed was right")
		}
	})
}

func FuzzAppraiseEvidence(f *testing.F) {
	m := evidencetest.New(f)
	s := provision(f, m)
	claims, err := evidence.NewHandler(nil).ExtractClaims(&proto.AttestationToken{Data: m.Bundle(f)}, nil)
	require.NoError(f, err)
	text, err := json.Marshal(claims)
	require.NoError(f, err)
	f.Add(text, s.states[0])
	f.Add(text, "")
	f.Fuzz(func(t *testing.T, claims []byte, state string) {
		var fields structpb.Struct
		if json.Unmarshal(claims, &fields) != nil {
			return
		}
		log, check := alarm()
		r, err := evidence.NewHandler(log).AppraiseEvidence(&proto.EvidenceContext{Evidence: &fields}, []string{state})
		check(t)
		if err != nil {
			return
		}
		a := r.Submods["PARSEC_TPM"]
		if *a.Status == ear.TrustTierAffirming && a.TrustVector.Executables != ear.ApprovedRuntimeClaim {
			t.Fatal("affirmed without a match")
		}
	})
}

func FuzzSynthKeys(f *testing.F) {
	m := evidencetest.New(f)
	s := provision(f, m)
	for _, entry := range []string{s.anchors[0], s.states[0]} {
		var e handler.Endorsement
		require.NoError(f, json.Unmarshal([]byte(entry), &e))
		f.Add([]byte(e.Attributes))
	}
	f.Fuzz(func(t *testing.T, attributes []byte) {
		log, check := alarm()
		st := evidence.NewStoreHandler(log)
		for _, synth := range []func(string, *handler.Endorsement) ([]string, error){st.SynthKeysFromRefValue, st.SynthKeysFromTrustAnchor} {
			ids, err := synth("0", &handler.Endorsement{Attributes: attributes})
			check(t)
			if (err == nil) != (len(ids) == 1) {
				t.Fatal(ids, err)
			}
		}
	})
}
