// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/deployment"
)

// scheme is the name of the part of an attestation result that is about TPM
// evidence.
const scheme = "PARSEC_TPM"

// verifier is the Veraison deployment as a relying party sees it, and its log
// as the operator does.
type verifier struct {
	deployment *deployment.Deployment
	client     *deployment.Client
}

// appraised is evidence and what became of it.
type appraised struct {
	evidence []byte
	result   *ear.Appraisal
	// reason is what the operator's log says of evidence that was refused.
	reason string
}

// appraise runs a challenge-response session: a nonce, evidence for it, and the
// verifier's signed result.
func (v *verifier) appraise(ctx context.Context, attest func(ctx context.Context, nonce []byte) ([]byte, error)) (_ *appraised, err error) {
	session, err := v.client.NewSession(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	defer func() { err = errors.Join(err, session.Delete(ctx)) }()
	evidence, err := attest(ctx, session.Nonce)
	if err != nil {
		return nil, fmt.Errorf("making evidence: %w", err)
	}
	before, err := v.deployment.Logs(deployment.VTS)
	if err != nil {
		return nil, err
	}
	answer, err := session.Submit(ctx, bundle.MediaType, evidence)
	if err != nil {
		return nil, fmt.Errorf("submitting evidence: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("submitting evidence: status %d, want %d", answer.StatusCode, http.StatusOK)
	}
	r, err := deployment.VerifyEAR(answer.EAR, v.deployment.PublicKey())
	if err != nil {
		return nil, fmt.Errorf("verifying the attestation result: %w", err)
	}
	a, ok := r.Submods[scheme]
	if !ok || a.Status == nil || a.TrustVector == nil {
		return nil, fmt.Errorf("the attestation result says nothing of %s", scheme)
	}
	reason := ""
	if a.TrustVector.Hardware == ear.CryptoValidationFailedClaim {
		if reason, err = v.refusalSince(ctx, len(before)); err != nil {
			return nil, err
		}
	}
	return &appraised{evidence: evidence, result: a, reason: reason}, nil
}

// refusalSince waits for the plugin's own words to arrive in the VTS's log: the
// result says no more than that the evidence is bad.
func (v *verifier) refusalSince(ctx context.Context, offset int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		log, err := v.deployment.Logs(deployment.VTS)
		if err != nil {
			return "", err
		}
		if reason := refusalIn(log[offset:]); reason != "" {
			return reason, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for the reason in the VTS's log: %w", ctx.Err())
		}
	}
}

// refusalIn finds the plugin's line and puts its fields into a sentence.
func refusalIn(log string) string {
	for line := range strings.Lines(log) {
		_, rest, ok := strings.Cut(line, "evidence refused")
		if !ok {
			continue
		}
		var fields struct{ Check, Token, Reason string }
		if err := json.Unmarshal([]byte(rest), &fields); err != nil {
			return strings.TrimSpace(rest)
		}
		return fmt.Sprintf("%s: %s (%s)", fields.Check, fields.Reason, fields.Token)
	}
	return ""
}
