// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package testvectors_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
)

// tenant is the only one that Veraison knows.
const tenant = "0"

// host does with the plugin what the VTS of Veraison v0.0.2501 does
// (vts/trustedservices/trustedservices_grpc.go), over Veraison's own RPC with
// its JSON, short of processes and of signing.
type host struct {
	evidence    handler.IEvidenceHandler
	store       handler.IStoreHandler
	endorsement handler.IEndorsementHandler
	// The stores keep what is added to a key, each value once, as Veraison's
	// kvstore.Memory does.
	anchors, values map[string][]string
}

func newHost(t *testing.T) *host {
	t.Helper()
	return &host{
		evidence: client[handler.IEvidenceHandler](t, handler.EvidenceHandlerRPC.GetClient,
			handler.EvidenceHandlerRPC.GetServer(evidence.NewHandler(nil))),
		store: client[handler.IStoreHandler](t, handler.StoreHandlerRPC.GetClient,
			handler.StoreHandlerRPC.GetServer(evidence.NewStoreHandler(nil))),
		endorsement: client[handler.IEndorsementHandler](t, handler.EndorsementHandlerRPC.GetClient,
			handler.EndorsementHandlerRPC.GetServer(endorsement.NewHandler(nil, nil))),
		anchors: make(map[string][]string),
		values:  make(map[string][]string),
	}
}

// client connects the two ends of a handler's RPC.
func client[I any](t *testing.T, wrap func(*rpc.Client) any, receiver any) I {
	t.Helper()
	server := rpc.NewServer()
	require.NoError(t, server.RegisterName("Plugin", receiver))
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.ServeConn(theirs)
	}()
	c := rpc.NewClient(ours)
	t.Cleanup(func() {
		c.Close()
		<-served
	})
	i, ok := wrap(c).(I)
	require.True(t, ok)
	return i
}

// submit is SubmitEndorsements.
func (h *host) submit(corim []byte) error {
	rsp, err := h.endorsement.Decode(corim)
	if err != nil {
		return err
	}
	for _, e := range rsp.TrustAnchors {
		if err := add(h.anchors, e, h.store.SynthKeysFromTrustAnchor); err != nil {
			return err
		}
	}
	for _, e := range rsp.ReferenceValues {
		if err := add(h.values, e, h.store.SynthKeysFromRefValue); err != nil {
			return err
		}
	}
	return nil
}

func add(store map[string][]string, e handler.Endorsement, keys func(string, *handler.Endorsement) ([]string, error)) error {
	under, err := keys(tenant, &e)
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

// errNoTrustAnchor is in the bad evidence error that the host makes when it
// finds no trust anchor under the plugin's key.
var errNoTrustAnchor = errors.New("no trust anchor in the store")

// attest is GetAttestation.
func (h *host) attest(token *proto.AttestationToken) (*ear.AttestationResult, error) {
	ids, err := h.store.GetTrustAnchorIDs(token)
	if err != nil {
		return nil, err
	}
	var anchors []string
	for _, id := range ids {
		found := h.anchors[id]
		if len(found) == 0 {
			return nil, handler.BadEvidence(fmt.Errorf("%w for %s", errNoTrustAnchor, id))
		}
		if len(found) != 1 {
			return nil, fmt.Errorf("found %d trust anchors, want 1", len(found))
		}
		anchors = append(anchors, found[0])
	}
	claims, err := h.evidence.ExtractClaims(token, anchors)
	if err != nil {
		return nil, err
	}
	ids, err = h.store.GetRefValueIDs(token.TenantId, anchors, claims)
	if err != nil {
		return nil, err
	}
	fields, err := structpb.NewStruct(claims)
	if err != nil {
		return nil, err
	}
	var values []string
	for _, id := range ids {
		values = append(values, h.values[id]...)
	}
	if err := h.evidence.ValidateEvidenceIntegrity(token, anchors, values); err != nil {
		return nil, err
	}
	return h.evidence.AppraiseEvidence(&proto.EvidenceContext{
		TenantId: token.TenantId, Evidence: fields, ReferenceIds: ids,
	}, values)
}

// anchorsOf returns all anchors that are stored for the evidence's AK.
func (h *host) anchorsOf(t *testing.T, token *proto.AttestationToken) []string {
	t.Helper()
	ids, err := h.store.GetTrustAnchorIDs(token)
	require.NoError(t, err)
	require.Len(t, ids, 1)
	return h.anchors[ids[0]]
}
