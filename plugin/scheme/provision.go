// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package scheme

import (
	"bytes"
	"fmt"

	"github.com/veraison/attested-tls/endorsements"
)

// validateCorim reads a CoRIM by the rules of its profile. All of it is right,
// within its validity and within the limits, or nothing is stored.
func (h *Handler) validateCorim(data []byte) CorimVerdict {
	c, err := h.read(data)
	if err != nil {
		h.log.Warn("CoRIM refused", "reason", err)
		return CorimVerdict{Message: err.Error()}
	}
	if hasUEID(c, data) {
		h.log.Warn("a CoRIM names an attestation key by a UEID (tag 550), but the store is asked for bytes (tag 560): "+
			"if evidence finds no trust anchor, write the CoRIM with atls convert --dialect v2", "id", c.ID)
	}
	h.log.Info("CoRIM accepted", "id", c.ID, "trust-anchors", len(c.Anchors), "reference-states", len(c.States))
	return CorimVerdict{
		IsValid: true,
		Message: fmt.Sprintf("%d trust anchors, %d reference states", len(c.Anchors), len(c.States)),
	}
}

func (h *Handler) read(data []byte) (*endorsements.Corim, error) {
	if err := h.cfg.CheckHostVerifies(); err != nil {
		return nil, err
	}
	if len(data) > h.cfg.MaxCorimSize {
		return nil, fmt.Errorf("%d bytes; expected at most %d", len(data), h.cfg.MaxCorimSize)
	}
	c, err := endorsements.Decode(data)
	if err != nil {
		return nil, err
	}
	if err := c.CheckValidity(h.now()); err != nil {
		return nil, err
	}
	if n := len(c.Anchors); n > h.cfg.MaxTrustAnchors {
		return nil, fmt.Errorf("%d trust anchors; the plugin's configuration accepts at most %d in a CoRIM", n, h.cfg.MaxTrustAnchors)
	}
	if n := len(c.States); n > h.cfg.MaxReferenceStates {
		return nil, fmt.Errorf("%d reference states; the plugin's configuration accepts at most %d in a CoRIM", n, h.cfg.MaxReferenceStates)
	}
	return c, nil
}

// hasUEID reports whether an AK of a CoRIM in this generation's dialect has an
// instance that the host's store does not find: writing it anew changes it.
func hasUEID(c *endorsements.Corim, data []byte) bool {
	if c.Dialect == endorsements.DialectV1 {
		return false
	}
	written, err := endorsements.Convert(data, c.Dialect)
	return err == nil && !bytes.Equal(written, data)
}
