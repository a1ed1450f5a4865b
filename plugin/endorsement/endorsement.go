// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package endorsement is the endorsement-handler of Veraison v0.0.2501 for TPM
// endorsements. It decides nothing: it carries CoRIMs to package endorsements
// and their content back.
package endorsement

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/plugin/internal/guard"
	"github.com/veraison/attested-tls/plugin/internal/store"
)

// Handler is the endorsement-handler. Make it with NewHandler.
type Handler struct {
	log hclog.Logger
	now func() time.Time
}

var _ handler.IEndorsementHandler = (*Handler)(nil)

// NewHandler makes a handler that logs to log; nil discards. now is asked
// whether a CoRIM is within its validity; nil is the machine's clock.
func NewHandler(log hclog.Logger, now func() time.Time) *Handler {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if now == nil {
		now = time.Now
	}
	return &Handler{log: log, now: now}
}

// Init takes no parameters.
func (h *Handler) Init(handler.EndorsementHandlerParams) error { return nil }

// Close has nothing to release.
func (h *Handler) Close() error { return nil }

// GetName returns the plugin's name: that of Veraison's own plugin, so that a
// host that finds both says so instead of choosing.
func (h *Handler) GetName() string { return "unsigned-corim (Parsec TPM profile)" }

// GetAttestationScheme returns PARSEC_TPM.
func (h *Handler) GetAttestationScheme() string { return store.Scheme }

// GetSupportedMediaTypes returns the media type of unsigned CoRIMs with this
// profile.
func (h *Handler) GetSupportedMediaTypes() []string {
	return []string{endorsements.MediaTypeUnsignedV1}
}

// Decode reads a CoRIM. All of it is right and within its validity, or nothing
// is stored.
func (h *Handler) Decode(data []byte) (_ *handler.EndorsementHandlerResponse, err error) {
	defer guard.Recover(h.log, "Decode", &err)
	c, err := endorsements.Decode(data)
	if err == nil {
		err = c.CheckValidity(h.now())
	}
	if err != nil {
		h.log.Warn("CoRIM refused", "reason", err)
		return nil, err
	}
	rsp, err := response(c)
	if err != nil {
		h.log.Error("CoRIM cannot be stored", "error", err)
		return nil, err
	}
	h.log.Info("CoRIM accepted", "id", c.ID, "trust-anchors", len(c.Anchors), "reference-states", len(c.States))
	return rsp, nil
}

func response(c *endorsements.Corim) (*handler.EndorsementHandlerResponse, error) {
	var rsp handler.EndorsementHandlerResponse
	for _, a := range c.Anchors {
		attributes, err := store.EncodeAnchor(a)
		if err != nil {
			return nil, fmt.Errorf("encoding a trust anchor: %w", err)
		}
		rsp.TrustAnchors = append(rsp.TrustAnchors, handler.Endorsement{
			Scheme: store.Scheme, Type: handler.EndorsementType_VERIFICATION_KEY, Attributes: attributes,
		})
	}
	for _, s := range c.States {
		attributes, err := store.EncodeState(s)
		if err != nil {
			return nil, fmt.Errorf("encoding a reference state: %w", err)
		}
		rsp.ReferenceValues = append(rsp.ReferenceValues, handler.Endorsement{
			Scheme: store.Scheme, Type: handler.EndorsementType_REFERENCE_VALUE, Attributes: attributes,
		})
	}
	if len(rsp.TrustAnchors)+len(rsp.ReferenceValues) == 0 {
		return nil, errors.New("the CoRIM endorses nothing")
	}
	return &rsp, nil
}
