// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package evidence is the evidence- and the store-handler of Veraison
// v0.0.2501 for TPM evidence. It decides nothing: it carries Veraison's calls
// to package appraisal and its verdicts back.
//
// The host runs each handler in a process of its own and calls them in the
// order GetTrustAnchorIDs, ExtractClaims, GetRefValueIDs,
// ValidateEvidenceIntegrity, AppraiseEvidence. What the last one needs must
// therefore be in the claims that ExtractClaims returned; that they belong to
// evidence that ValidateEvidenceIntegrity accepted is the host's promise.
package evidence

import (
	"encoding/hex"
	"errors"

	"github.com/hashicorp/go-hclog"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/earresult"
	"github.com/veraison/attested-tls/plugin/internal/guard"
	"github.com/veraison/attested-tls/plugin/internal/store"
)

// Handler is the evidence-handler. Make it with NewHandler.
type Handler struct{ log hclog.Logger }

var _ handler.IEvidenceHandler = (*Handler)(nil)

// NewHandler makes a handler that logs to log; nil discards.
func NewHandler(log hclog.Logger) *Handler { return &Handler{logger(log)} }

func logger(log hclog.Logger) hclog.Logger {
	if log == nil {
		return hclog.NewNullLogger()
	}
	return log
}

// GetName returns the plugin's name: that of Veraison's own plugin, so that a
// host that finds both says so instead of choosing.
func (h *Handler) GetName() string { return "parsec-tpm-evidence-handler" }

// GetAttestationScheme returns PARSEC_TPM.
func (h *Handler) GetAttestationScheme() string { return store.Scheme }

// GetSupportedMediaTypes returns the evidence's media type.
func (h *Handler) GetSupportedMediaTypes() []string { return []string{bundle.MediaType} }

// ExtractClaims returns what the evidence says, not yet verified.
func (h *Handler) ExtractClaims(token *proto.AttestationToken, _ []string) (claims map[string]any, err error) {
	defer guard.Recover(h.log, "ExtractClaims", &err)
	claims, err = appraisal.ExtractClaims(token.GetData())
	if err != nil {
		return nil, refuse(h.log, err)
	}
	return claims, nil
}

// ValidateEvidenceIntegrity checks that the evidence was made for the session's
// nonce and signed by the provisioned key.
func (h *Handler) ValidateEvidenceIntegrity(token *proto.AttestationToken, trustAnchors, _ []string) (err error) {
	defer guard.Recover(h.log, "ValidateEvidenceIntegrity", &err)
	anchors, err := store.DecodeAnchors(trustAnchors)
	if err != nil {
		h.log.Error("cannot read the trust anchors that are provisioned for a device", "error", err)
		return err
	}
	if err := appraisal.VerifyIntegrity(token.GetData(), token.GetNonce(), anchors); err != nil {
		return refuse(h.log, err)
	}
	return nil
}

// AppraiseEvidence holds the claims against the reference states of the class.
func (h *Handler) AppraiseEvidence(ec *proto.EvidenceContext, endorsements []string) (_ *ear.AttestationResult, err error) {
	defer guard.Recover(h.log, "AppraiseEvidence", &err)
	evidence := ec.GetEvidence().AsMap()
	claims, err := appraisal.ParseClaims(evidence)
	if err != nil {
		h.log.Error("cannot read the claims to be appraised", "error", err)
		return nil, err
	}
	states, skipped, err := store.DecodeStates(endorsements)
	if err != nil {
		h.log.Error("cannot read the reference values that are provisioned for a class", "error", err)
		return nil, err
	}
	if skipped != nil {
		h.log.Warn("passing over reference values of Veraison's own plugin", "error", skipped)
	}
	r := claims.Appraise(states)
	h.logResult(r)
	return attestationResult(r, evidence)
}

func (h *Handler) logResult(r *appraisal.Result) {
	if r.Status() != appraisal.TierAffirming {
		h.log.Warn("evidence not affirmed", "kid", hex.EncodeToString(r.Claims.KID), "status", r.Status().String(), "reason", earresult.Reasons(r))
	} else if h.log.IsDebug() {
		h.log.Debug("evidence affirmed", "kid", hex.EncodeToString(r.Claims.KID), "pcrs", r.Claims.PAT.Selection.String())
	}
}

// attestationResult makes the EAR. Its annotated evidence is what was
// extracted.
func attestationResult(r *appraisal.Result, evidence map[string]any) (*ear.AttestationResult, error) {
	result := handler.CreateAttestationResult(store.Scheme)
	if err := earresult.Fill(result.Submods[store.Scheme], r, evidence); err != nil {
		return nil, err
	}
	return result, nil
}

// refuse tells the host whether the evidence is to blame. Bad evidence makes a
// result that says so; any other error is the verifier's own malfunction.
func refuse(log hclog.Logger, err error) error {
	var bad *bundle.Error
	if errors.As(err, &bad) {
		log.Info("evidence refused", "check", string(bad.Check), "token", bad.Token, "reason", bad.Err)
		return handler.BadEvidence(err)
	}
	log.Error("evidence could not be verified", "error", err)
	return err
}
