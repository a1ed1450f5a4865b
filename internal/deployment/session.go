// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// VerifierNonceSize is how long a nonce NewSession asks the verifier for.
const VerifierNonceSize = 32

// Session is a challenge-response session of the verification service.
type Session struct {
	// URL names the session.
	URL string
	// Nonce is what the evidence has to be bound to.
	Nonce []byte
	// Accept lists the media types of evidence that the verifier takes.
	Accept []string
	// Expiry is when the verifier forgets the session.
	Expiry time.Time

	client *Client
}

// Result is the verifier's answer to evidence.
type Result struct {
	// StatusCode is the HTTP status: 200, or 202 when the verdict had to be
	// waited for.
	StatusCode int
	// EAR is the attestation result: a JWT, not verified yet. See VerifyEAR.
	EAR string
}

// sessionDocument is a session on the wire.
type sessionDocument struct {
	Status string    `json:"status"`
	Nonce  string    `json:"nonce"`
	Accept []string  `json:"accept"`
	Expiry time.Time `json:"expiry"`
	Result string    `json:"result"`
}

// NewSession opens a session for this nonce, of 8 to 64 bytes. When it is nil,
// the verifier chooses one of VerifierNonceSize bytes.
func (c *Client) NewSession(ctx context.Context, nonce []byte) (*Session, error) {
	const operation = "opening session"
	query := url.Values{}
	if nonce == nil {
		query.Set("nonceSize", fmt.Sprint(VerifierNonceSize))
	} else {
		// Veraison v0.0.2501 insists on the padding.
		query.Set("nonce", base64.URLEncoding.EncodeToString(nonce))
	}
	a, err := c.do(ctx, http.MethodPost, c.verification+"/challenge-response/v1/newSession?"+query.Encode(),
		verificationSessionType, "", nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if a.status != http.StatusCreated {
		return nil, a.problem(operation)
	}
	if a.location == nil {
		return nil, fmt.Errorf("%s: HTTP 201 without a location", operation)
	}
	var document sessionDocument
	if err := json.Unmarshal(a.body, &document); err != nil {
		return nil, fmt.Errorf("%s: decoding session: %w", operation, err)
	}
	got, err := decodeNonce(document.Nonce)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	switch {
	case nonce != nil && !bytes.Equal(got, nonce):
		return nil, fmt.Errorf("%s: the session is not for the nonce that was asked for", operation)
	case nonce == nil && len(got) != VerifierNonceSize:
		return nil, fmt.Errorf("%s: the nonce has %d bytes, want %d", operation, len(got), VerifierNonceSize)
	}
	return &Session{
		URL:    a.location.String(),
		Nonce:  got,
		Accept: document.Accept,
		Expiry: document.Expiry,
		client: c,
	}, nil
}

// decodeNonce takes any flavour of base64: versions of Veraison differ.
func decodeNonce(text string) ([]byte, error) {
	unpadded := strings.TrimRight(text, "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(unpadded, "-_") {
		encoding = base64.RawURLEncoding
	}
	nonce, err := encoding.Strict().DecodeString(unpadded)
	if err != nil {
		return nil, fmt.Errorf("decoding nonce: %w", err)
	}
	return nonce, nil
}

// Submit sends evidence and returns the verifier's result. A verdict against
// the evidence is a result too; an error, often a *ProblemError, means that
// there is none.
func (s *Session) Submit(ctx context.Context, mediaType string, evidence []byte) (*Result, error) {
	const operation = "submitting evidence"
	a, err := s.client.do(ctx, http.MethodPost, s.URL, verificationSessionType, mediaType, evidence)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	switch a.status {
	case http.StatusOK:
	case http.StatusAccepted:
		return s.poll(ctx)
	default:
		return nil, a.problem(operation)
	}
	ear, done, err := a.appraised(operation)
	if err != nil {
		return nil, err
	}
	if !done {
		return nil, fmt.Errorf("%s: HTTP 200 without a result", operation)
	}
	return &Result{StatusCode: a.status, EAR: ear}, nil
}

func (s *Session) poll(ctx context.Context) (*Result, error) {
	const operation = "waiting for attestation result"
	result := &Result{StatusCode: http.StatusAccepted}
	polls := 0
	err := waitFor(ctx, pollInterval, func() (done bool, err error) {
		if polls++; polls > maxPolls {
			return false, fmt.Errorf("%s: still processing", operation)
		}
		a, err := s.client.do(ctx, http.MethodGet, s.URL, verificationSessionType, "", nil)
		if err != nil {
			return false, fmt.Errorf("%s: %w", operation, err)
		}
		if a.status != http.StatusOK {
			return false, a.problem(operation)
		}
		result.EAR, done, err = a.appraised(operation)
		return done, err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// appraised reads the attestation result of a session; false while there is
// none.
func (a *answer) appraised(operation string) (string, bool, error) {
	var document sessionDocument
	if err := json.Unmarshal(a.body, &document); err != nil {
		return "", false, fmt.Errorf("%s: decoding session: %w", operation, err)
	}
	switch document.Status {
	case "complete":
		if document.Result == "" {
			return "", false, fmt.Errorf("%s: the session is complete and has no result", operation)
		}
		return document.Result, true, nil
	case "waiting", "processing":
		return "", false, nil
	case "failed":
		return "", false, &ProblemError{Operation: operation, StatusCode: a.status, Title: "the session has failed"}
	}
	return "", false, fmt.Errorf("%s: unknown session status %q", operation, document.Status)
}

// Delete ends the session.
func (s *Session) Delete(ctx context.Context) error {
	const operation = "deleting session"
	a, err := s.client.do(ctx, http.MethodDelete, s.URL, "", "", nil)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if a.status != http.StatusOK && a.status != http.StatusNoContent {
		return a.problem(operation)
	}
	return nil
}
