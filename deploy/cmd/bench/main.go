// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures the scheme calls of Veraison's own Parsec TPM plugin
// in-process, for internal/bench of the root module to compare with its own.
// It is here because that scheme needs this module's go-tpm.
//
// Standard input is a JSON text with the inputs and then one for each
// measurement; standard output is a JSON text for each of them. See protocol.go,
// of which internal/bench has a copy.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/viper"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/log"
	"github.com/veraison/services/proto"
	scheme "github.com/veraison/services/scheme/parsec-tpm"
	"google.golang.org/protobuf/types/known/structpb"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	// As in a deployment at this level: what the scheme has to say at level
	// debug costs it a comparison.
	settings := viper.New()
	settings.Set("level", "error")
	settings.Set("output-paths", []string{"stderr"})
	if err := log.Init(settings, nil); err != nil {
		return fmt.Errorf("quieting the log: %w", err)
	}
	return serve(in, out, newFiveCalls)
}

// newFiveCalls returns one appraisal as the VTS makes it, without the RPC.
func newFiveCalls(in inputs) (func() error, error) {
	endorsed, err := scheme.EndorsementHandler{}.Decode(in.Corim)
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
	ev, st := scheme.EvidenceHandler{}, scheme.StoreHandler{}

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
		if *result.Submods[scheme.SchemeName].Status != ear.TrustTierAffirming {
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
