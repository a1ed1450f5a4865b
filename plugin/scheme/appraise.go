// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package scheme

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/earresult"
)

// trustAnchorIDs makes every check that needs no more than the evidence. The
// host's store compares an instance with its type: bytes, as this generation's
// CoRIMs have it.
func (h *Handler) trustAnchorIDs(token *Token) ([]byte, error) {
	evidence, err := h.evidence(token)
	if err != nil {
		return nil, err
	}
	kid, err := appraisal.KeyID(evidence)
	if err != nil {
		return nil, h.refuse(err)
	}
	return endorsements.EncodeEnvironments(endorsements.Environment{KID: kid})
}

func (h *Handler) extractClaims(token *Token) ([]byte, error) {
	evidence, err := h.evidence(token)
	if err != nil {
		return nil, err
	}
	claims, err := appraisal.ExtractClaims(evidence)
	if err != nil {
		return nil, h.refuse(err)
	}
	return encodeClaims(claims)
}

// referenceValueIDs names the class of the AK: by its id alone, and as the trust
// anchors describe it. Up to v0.0.2608 the host's store finds only those states
// whose CoRIM describes the class in the same words; later ones go by the id
// where it is all that they are given.
func (h *Handler) referenceValueIDs(trustAnchors, claims []byte) ([]byte, error) {
	c, _, err := h.claims(claims)
	if err != nil {
		return nil, err
	}
	anchors, classes, err := h.anchors(trustAnchors)
	if err != nil {
		return nil, err
	}
	// Under one key identifier there is one class, or reading them has failed.
	i := slices.IndexFunc(anchors, func(a endorsements.TrustAnchor) bool { return bytes.Equal(a.KID, c.KID) })
	if i < 0 {
		err = fmt.Errorf("none of the %d trust anchors that the host found is for kid %x", len(anchors), []byte(c.KID))
		h.log.Error("cannot tell a device's class", "error", err)
		return nil, err
	}
	class := anchors[i].Class
	envs := []endorsements.Environment{{Class: class}}
	for _, d := range classes {
		if d.Class == class {
			envs = append(envs, endorsements.Environment{Class: class, Vendor: d.Vendor, Model: d.Model})
		}
	}
	return endorsements.EncodeEnvironments(envs...)
}

// validateIntegrity checks that the evidence was made for the session's nonce
// and signed by the provisioned key.
func (h *Handler) validateIntegrity(token *Token, trustAnchors []byte) error {
	evidence, err := h.evidence(token)
	if err != nil {
		return err
	}
	anchors, _, err := h.anchors(trustAnchors)
	if err != nil {
		return err
	}
	if err := appraisal.VerifyIntegrity(evidence, token.Nonce, anchors); err != nil {
		return h.refuse(err)
	}
	return nil
}

// appraiseClaims holds the claims against the reference states of the class.
func (h *Handler) appraiseClaims(claims, values []byte) ([]byte, error) {
	c, annotated, err := h.claims(claims)
	if err != nil {
		return nil, err
	}
	states, err := endorsements.DecodeValueTriples(values)
	if err == nil {
		err = oneClass(states)
	}
	if err != nil {
		h.log.Error("cannot read the reference values that are provisioned for a class", "error", err)
		return nil, fmt.Errorf("reference values from the host's store: %w", err)
	}
	r := c.Appraise(states)
	h.logResult(r)
	result := handler.CreateAttestationResult(earresult.Submod)
	if err := earresult.Fill(result.Submods[earresult.Submod], r, annotated); err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// oneClass refuses states of several classes: which one the AK is of cannot be
// seen any more.
func oneClass(states []endorsements.ReferenceState) error {
	for _, s := range states {
		if s.Class() != states[0].Class() {
			return fmt.Errorf("they are of two classes, %s and %s", states[0].Class(), s.Class())
		}
	}
	return nil
}

func (h *Handler) logResult(r *appraisal.Result) {
	if r.Status() != appraisal.TierAffirming {
		h.log.Warn("evidence not affirmed", "kid", hex.EncodeToString(r.Claims.KID), "status", r.Status().String(), "reason", earresult.Reasons(r))
	} else if h.log.IsDebug() {
		h.log.Debug("evidence affirmed", "kid", hex.EncodeToString(r.Claims.KID), "pcrs", r.Claims.PAT.Selection.String())
	}
}

// evidence returns the bytes of a token that this scheme is for.
func (h *Handler) evidence(token *Token) ([]byte, error) {
	if token == nil {
		return nil, errors.New("the host has sent no evidence")
	}
	if token.MediaType != bundle.MediaType {
		h.log.Info("evidence refused", "media-type", token.MediaType)
		return nil, badEvidence(fmt.Errorf("its media type is %.200q, want %q", token.MediaType, bundle.MediaType))
	}
	return token.Data, nil
}

func (h *Handler) anchors(triples []byte) ([]endorsements.TrustAnchor, []endorsements.ClassDescription, error) {
	anchors, classes, err := endorsements.DecodeKeyTriples(triples)
	if err != nil {
		h.log.Error("cannot read the trust anchors that are provisioned for a device", "error", err)
		return nil, nil, fmt.Errorf("trust anchors from the host's store: %w", err)
	}
	return anchors, classes, nil
}

func (h *Handler) claims(data []byte) (*appraisal.Claims, map[string]any, error) {
	m, err := decodeClaims(data)
	if err != nil {
		h.log.Error("cannot read the claims to be appraised", "error", err)
		return nil, nil, err
	}
	c, err := appraisal.ParseClaims(m)
	if err != nil {
		h.log.Error("cannot read the claims to be appraised", "error", err)
		return nil, nil, err
	}
	return c, m, nil
}

// refuse tells the host whether the evidence is to blame.
func (h *Handler) refuse(err error) error {
	var bad *bundle.Error
	if errors.As(err, &bad) {
		h.log.Info("evidence refused", "check", string(bad.Check), "token", bad.Token, "reason", bad.Err)
		return badEvidence(err)
	}
	h.log.Error("evidence could not be verified", "error", err)
	return err
}

// badEvidence is how the host knows bad evidence: by the beginning of the text
// (handler/error.go, ParseError, v0.0.2603).
func badEvidence(err error) error { return fmt.Errorf("bad evidence: %w", err) }
