// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package endorsement is the endorsement-handler of Veraison v0.0.2501 for TPM
// endorsements. It decides nothing: it carries CoRIMs to package endorsements
// and their content back.
package endorsement

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
	"github.com/veraison/attested-tls/plugin/internal/config"
	"github.com/veraison/attested-tls/plugin/internal/guard"
	"github.com/veraison/attested-tls/plugin/internal/store"
)

// Handler is the endorsement-handler. Make it with NewHandler.
type Handler struct {
	cfg config.Config
	log hclog.Logger
	now func() time.Time
}

var _ handler.IEndorsementHandler = (*Handler)(nil)

// NewHandler makes a handler with the configuration that the plugin has without
// a file: see NewHandlerWith.
func NewHandler(log hclog.Logger, now func() time.Time) *Handler {
	return NewHandlerWith(config.Default(), log, now)
}

// NewHandlerWith makes a handler that takes what cfg says, and logs to log; nil
// discards. now is asked whether CoRIMs, signatures and certificates are within
// their validity; nil is the machine's clock.
func NewHandlerWith(cfg config.Config, log hclog.Logger, now func() time.Time) *Handler {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	if now == nil {
		now = time.Now
	}
	return &Handler{cfg: cfg, log: log, now: now}
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

// GetSupportedMediaTypes returns the media types of CoRIMs with this profile that
// the configuration takes.
func (h *Handler) GetSupportedMediaTypes() (types []string) {
	if h.cfg.AcceptUnsigned {
		types = append(types, endorsements.DialectV1.MediaType(false))
	}
	if h.cfg.TakesSigned() {
		types = append(types, endorsements.DialectV1.MediaType(true))
	}
	return types
}

// Decode reads a CoRIM, unsigned or signed: the host does not say under which
// media type it came. All of it is right, within its validity and from somebody
// who may say it, or nothing is stored.
func (h *Handler) Decode(data []byte) (_ *handler.EndorsementHandlerResponse, err error) {
	defer guard.Recover(h.log, "Decode", &err)
	c, signer, err := h.read(data)
	if err != nil {
		h.log.Warn("CoRIM refused", "reason", err)
		return nil, err
	}
	rsp, err := response(c)
	if err != nil {
		h.log.Error("CoRIM cannot be stored", "error", err)
		return nil, err
	}
	h.log.Info("CoRIM accepted", "id", c.ID, "signer", signer, "trust-anchors", len(c.Anchors), "reference-states", len(c.States))
	return rsp, nil
}

// read returns what a CoRIM says if the configuration takes it, and who signed
// it.
func (h *Handler) read(data []byte) (c *endorsements.Corim, signer string, err error) {
	if len(data) > h.cfg.MaxCorimSize {
		return nil, "", fmt.Errorf("%d bytes; expected at most %d", len(data), h.cfg.MaxCorimSize)
	}
	// Only a signed CoRIM is told that it is one before anything in it is read.
	if c, err = endorsements.Decode(data); errors.Is(err, endorsements.ErrSigned) {
		c, signer, err = h.verify(data)
	} else if !h.cfg.AcceptUnsigned {
		_, err = endorsements.ReadSigned(data)
		err = fmt.Errorf("the plugin's configuration accepts signed CoRIMs only: %w", err)
	} else if err == nil {
		signer, err = "none", c.CheckValidity(h.now())
	}
	if err != nil {
		return nil, "", err
	}
	if n := len(c.Anchors); n > h.cfg.MaxTrustAnchors {
		return nil, "", fmt.Errorf("%d trust anchors; the plugin's configuration accepts at most %d in a CoRIM", n, h.cfg.MaxTrustAnchors)
	}
	if n := len(c.States); n > h.cfg.MaxReferenceStates {
		return nil, "", fmt.Errorf("%d reference states; the plugin's configuration accepts at most %d in a CoRIM", n, h.cfg.MaxReferenceStates)
	}
	return c, signer, nil
}

// verify reads a signed CoRIM. Who signed it is named as the configuration or
// the certificate does, not as the signer does.
func (h *Handler) verify(data []byte) (*endorsements.Corim, string, error) {
	if !h.cfg.TakesSigned() {
		return nil, "", errors.New("the CoRIM is signed, but the plugin's configuration names nobody whose signature to trust")
	}
	policy := signed.Policy{Roots: h.cfg.Roots, CurrentTime: h.now()}
	for _, s := range h.cfg.Signers {
		policy.Keys = append(policy.Keys, s.Key)
	}
	v, err := signed.Verify(data, policy)
	if err != nil {
		return nil, "", err
	}
	if len(v.Chain) > 0 {
		return v.Corim, v.Chain[0].Subject.String(), nil
	}
	i := slices.IndexFunc(h.cfg.Signers, func(s config.Signer) bool {
		k, ok := s.Key.(interface{ Equal(crypto.PublicKey) bool })
		return ok && k.Equal(v.Key)
	})
	return v.Corim, h.cfg.Signers[i].Name, nil
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
