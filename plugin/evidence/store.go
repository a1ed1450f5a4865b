// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"

	"github.com/hashicorp/go-hclog"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/plugin/internal/guard"
	"github.com/veraison/attested-tls/plugin/internal/store"
)

// StoreHandler is the store-handler: it says under which keys Veraison stores
// and finds endorsements. Make it with NewStoreHandler.
type StoreHandler struct{ log hclog.Logger }

var _ handler.IStoreHandler = (*StoreHandler)(nil)

// NewStoreHandler makes a handler that logs to log; nil discards.
func NewStoreHandler(log hclog.Logger) *StoreHandler { return &StoreHandler{logger(log)} }

// GetName returns the plugin's name: that of Veraison's own plugin.
func (h *StoreHandler) GetName() string { return "parsec-tpm-store-handler" }

// GetAttestationScheme returns PARSEC_TPM.
func (h *StoreHandler) GetAttestationScheme() string { return store.Scheme }

// GetSupportedMediaTypes returns none: a store-handler is found by its scheme.
func (h *StoreHandler) GetSupportedMediaTypes() []string { return nil }

// GetTrustAnchorIDs returns the key of the attestation key that the evidence
// names. Evidence that is malformed goes no further than this.
func (h *StoreHandler) GetTrustAnchorIDs(token *proto.AttestationToken) (_ []string, err error) {
	defer guard.Recover(h.log, "GetTrustAnchorIDs", &err)
	kid, err := appraisal.KeyID(token.GetData())
	if err != nil {
		return nil, refuse(h.log, err)
	}
	return []string{store.AnchorKey(token.GetTenantId(), kid)}, nil
}

// GetRefValueIDs returns the keys of the reference states of the trust anchors'
// class.
func (h *StoreHandler) GetRefValueIDs(tenantID string, trustAnchors []string, _ map[string]any) (_ []string, err error) {
	defer guard.Recover(h.log, "GetRefValueIDs", &err)
	classes, err := store.AnchorClasses(trustAnchors)
	if err != nil {
		h.log.Error("cannot read the trust anchors that are provisioned for a device", "error", err)
		return nil, err
	}
	if len(classes) == 0 {
		return nil, errors.New("no trust anchor to find reference values for")
	}
	keys := make([]string, len(classes))
	for i, class := range classes {
		keys[i] = store.ClassKey(tenantID, class)
	}
	return keys, nil
}

// SynthKeysFromRefValue returns the key to store a reference state under.
func (h *StoreHandler) SynthKeysFromRefValue(tenantID string, refVal *handler.Endorsement) (_ []string, err error) {
	defer guard.Recover(h.log, "SynthKeysFromRefValue", &err)
	if refVal == nil {
		return nil, errors.New("no reference value to store")
	}
	key, err := store.ClassKeyOf(tenantID, refVal.Attributes)
	if err != nil {
		h.log.Error("cannot store a reference state", "error", err)
		return nil, err
	}
	return []string{key}, nil
}

// SynthKeysFromTrustAnchor returns the key to store a trust anchor under.
func (h *StoreHandler) SynthKeysFromTrustAnchor(tenantID string, ta *handler.Endorsement) (_ []string, err error) {
	defer guard.Recover(h.log, "SynthKeysFromTrustAnchor", &err)
	if ta == nil {
		return nil, errors.New("no trust anchor to store")
	}
	key, err := store.AnchorKeyOf(tenantID, ta.Attributes)
	if err != nil {
		h.log.Error("cannot store a trust anchor", "error", err)
		return nil, err
	}
	return []string{key}, nil
}
