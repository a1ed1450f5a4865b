// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/veraison/attested-tls/internal/earresult"
	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
)

// newFiveCalls returns one appraisal as the VTS makes it, without the RPC. What
// it logs is thrown away.
func newFiveCalls(in inputs) (func() error, error) {
	endorsed, err := endorsement.NewHandler(nil, nil).Decode(in.Corim)
	if err != nil {
		return nil, fmt.Errorf("decoding the CoRIM: %w", err)
	}
	anchors, err := stored(endorsed.TrustAnchors)
	if err != nil {
		return nil, err
	}
	values, err := stored(endorsed.ReferenceValues)
	if err != nil {
		return nil, err
	}
	token := &proto.AttestationToken{TenantId: "0", Data: in.Evidence, Nonce: in.Nonce}
	ev, st := evidence.NewHandler(nil), evidence.NewStoreHandler(nil)

	claims, err := ev.ExtractClaims(token, anchors)
	if err != nil {
		return nil, fmt.Errorf("extracting claims: %w", err)
	}
	fields, err := structpb.NewStruct(claims)
	if err != nil {
		return nil, fmt.Errorf("making an evidence context: %w", err)
	}
	ec := &proto.EvidenceContext{TenantId: "0", Evidence: fields}

	return func() error {
		if _, err := st.GetTrustAnchorIDs(token); err != nil {
			return err
		}
		claims, err := ev.ExtractClaims(token, anchors)
		if err != nil {
			return err
		}
		if _, err := st.GetRefValueIDs("0", anchors, claims); err != nil {
			return err
		}
		if err := ev.ValidateEvidenceIntegrity(token, anchors, values); err != nil {
			return err
		}
		result, err := ev.AppraiseEvidence(ec, values)
		if err != nil {
			return err
		}
		if *result.Submods[earresult.Submod].Status != ear.TrustTierAffirming {
			return errors.New("the evidence is not affirmed")
		}
		return nil
	}, nil
}

// stored returns endorsements as the VTS keeps them.
func stored(endorsed []handler.Endorsement) ([]string, error) {
	entries := make([]string, len(endorsed))
	for i := range endorsed {
		text, err := json.Marshal(&endorsed[i])
		if err != nil {
			return nil, fmt.Errorf("encoding an endorsement: %w", err)
		}
		entries[i] = string(text)
	}
	return entries, nil
}
