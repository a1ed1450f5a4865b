// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package pluginhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/rpc"
	"slices"

	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Before2603 is a VTS of v0.0.2501:
// vts/trustedservices/trustedservices_grpc.go, SubmitEndorsements and
// GetAttestation. Its stores keep each value once, as kvstore.Memory does.
type Before2603 struct {
	Evidence    handler.IEvidenceHandler
	Store       handler.IStoreHandler
	Endorsement handler.IEndorsementHandler

	anchors, values map[string][]string
}

// NewBefore2603 makes a VTS of the three handlers' clients, with Veraison's own
// code over them.
func NewBefore2603(evidence, store, endorsement *rpc.Client) *Before2603 {
	v := &Before2603{
		Evidence:    handler.EvidenceHandlerRPC.GetClient(evidence).(handler.IEvidenceHandler),
		Store:       handler.StoreHandlerRPC.GetClient(store).(handler.IStoreHandler),
		Endorsement: handler.EndorsementHandlerRPC.GetClient(endorsement).(handler.IEndorsementHandler),
	}
	v.Forget()
	return v
}

// Forget empties the stores.
func (v *Before2603) Forget() {
	v.anchors, v.values = make(map[string][]string), make(map[string][]string)
}

// Submit provisions a CoRIM.
func (v *Before2603) Submit(corim []byte) error {
	rsp, err := v.Endorsement.Decode(corim)
	if err != nil {
		return err
	}
	for _, e := range rsp.TrustAnchors {
		if err := add(v.anchors, e, v.Store.SynthKeysFromTrustAnchor); err != nil {
			return err
		}
	}
	for _, e := range rsp.ReferenceValues {
		if err := add(v.values, e, v.Store.SynthKeysFromRefValue); err != nil {
			return err
		}
	}
	return nil
}

func add(store map[string][]string, e handler.Endorsement, keys func(string, *handler.Endorsement) ([]string, error)) error {
	under, err := keys("0", &e)
	if err != nil {
		return err
	}
	value, err := json.Marshal(e)
	if err != nil {
		return err
	}
	for _, key := range under {
		if !slices.Contains(store[key], string(value)) {
			store[key] = append(store[key], string(value))
		}
	}
	return nil
}

// ErrNoTrustAnchor is in the bad evidence error that the host makes when it finds
// no trust anchor under the plugin's key.
var ErrNoTrustAnchor = errors.New("no trust anchor in the store")

// Token is evidence as the handlers take it.
func (e *Evidence) Token() *proto.AttestationToken {
	return &proto.AttestationToken{TenantId: e.TenantId, Data: e.Data, MediaType: e.MediaType, Nonce: e.Nonce}
}

// Anchors returns all that are stored under a key of the store-handler's.
func (v *Before2603) Anchors(id string) []string { return v.anchors[id] }

// Attest has evidence appraised.
func (v *Before2603) Attest(e *Evidence) (*ear.AttestationResult, error) {
	token := e.Token()
	ids, err := v.Store.GetTrustAnchorIDs(token)
	if err != nil {
		return nil, err
	}
	var anchors []string
	for _, id := range ids {
		found := v.anchors[id]
		if len(found) == 0 {
			return nil, handler.BadEvidence(fmt.Errorf("%w for %s", ErrNoTrustAnchor, id))
		}
		if len(found) != 1 {
			return nil, fmt.Errorf("found %d trust anchors, want 1", len(found))
		}
		anchors = append(anchors, found[0])
	}
	claims, err := v.Evidence.ExtractClaims(token, anchors)
	if err != nil {
		return nil, err
	}
	if ids, err = v.Store.GetRefValueIDs(token.TenantId, anchors, claims); err != nil {
		return nil, err
	}
	fields, err := structpb.NewStruct(claims)
	if err != nil {
		return nil, err
	}
	var values []string
	for _, id := range ids {
		values = append(values, v.values[id]...)
	}
	if err := v.Evidence.ValidateEvidenceIntegrity(token, anchors, values); err != nil {
		return nil, err
	}
	return v.Evidence.AppraiseEvidence(&proto.EvidenceContext{TenantId: token.TenantId, Evidence: fields, ReferenceIds: ids}, values)
}
