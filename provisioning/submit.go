// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// Veraison's endorsement-provisioning API, version 1:
// https://github.com/veraison/docs/tree/main/api/endorsement-provisioning
const (
	submitPath  = "/endorsement-provisioning/v1/submit"
	sessionType = "application/vnd.veraison.provisioning-session+json"
	problemType = "application/problem+json" // RFC 9457

	submitOperation = "submitting endorsements"
	pollOperation   = "waiting for the endorsements to be stored"
	deleteOperation = "deleting provisioning session"
)

// Receipt says that the verifier has stored endorsements.
type Receipt struct {
	// Attempts is how often the submission was tried; all but the last were
	// turned away before the verifier took anything.
	Attempts int
	// Asynchronous says that the service took the endorsements first and stored
	// them later.
	Asynchronous bool
	// Took is how long all of it took.
	Took time.Duration
}

// Submit has endorsements stored and returns when they are. It returns a
// receipt if and only if the verifier says so. What the verifier does not take
// is a *RefusedError or, where the service turned it away unread, a
// *ProblemError. ErrUnknownOutcome says that it is not known.
//
// Attempts that certainly had no effect are repeated, in the time that there is.
func (c *Client) Submit(ctx context.Context, mediaType string, data []byte) (*Receipt, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%s: there are none", submitOperation)
	}
	if _, _, err := mime.ParseMediaType(mediaType); err != nil {
		return nil, fmt.Errorf("%s: the media type %.200q: %w", submitOperation, mediaType, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	started := time.Now()
	r := &request{
		operation: submitOperation,
		method:    http.MethodPost,
		url:       apihttp.Endpoint(c.base, submitPath, ""),
		accept:    sessionType,
		mediaType: mediaType,
		body:      data,
		attempts:  attempts,
		once:      true,
	}
	a, tried, err := c.do(ctx, r)
	if err != nil {
		if sent := (*sentError)(nil); errors.As(err, &sent) {
			err = unknown(err)
		}
		return nil, err
	}
	receipt := &Receipt{Attempts: tried}
	switch a.status {
	case http.StatusOK:
		done, err := a.outcome(submitOperation)
		if err == nil && !done {
			err = unknown(protocolf(submitOperation, "HTTP 200 without an outcome"))
		}
		if err != nil {
			return nil, err
		}
	case http.StatusCreated, http.StatusAccepted:
		receipt.Asynchronous = true
		if err := c.follow(ctx, r.url, a); err != nil {
			return nil, err
		}
	default:
		return nil, a.notStored()
	}
	receipt.Took = time.Since(started)
	return receipt, nil
}

// unknown marks an error as one that leaves the outcome open.
func unknown(err error) error { return fmt.Errorf("%w (%w)", err, ErrUnknownOutcome) }

// notStored is the error of an answer that is no outcome. Where the verifier may
// have acted nevertheless, it says so.
func (a *answer) notStored() error {
	problem := a.problem(submitOperation)
	switch {
	case a.status/100 == 4, a.unavailable(), a.beforeSubmission():
		return problem
	}
	return unknown(problem)
}

// unavailable recognises the service's own word that it does not process the
// request (RFC 9110, section 15.6.4). A gateway also says 503 when it has lost the
// service while that had the request; but the service says it in a problem document.
func (a *answer) unavailable() bool {
	if a.status != http.StatusServiceUnavailable || a.mediaType != problemType {
		return false
	}
	var document struct {
		Status int `json:"status"` // may be absent (RFC 9457, section 3.1.2)
	}
	return json.Unmarshal(a.body, &document) == nil && (document.Status == 0 || document.Status == a.status)
}

// beforeSubmission recognises what Veraison's service answers when it has asked
// the verifier for its media types in vain: it has not read the body then
// (provisioning/api/handler.go, v0.0.2501 and later).
func (a *answer) beforeSubmission() bool {
	if a.status != http.StatusInternalServerError {
		return false
	}
	detail := a.problem(submitOperation).Detail
	return strings.HasPrefix(detail, "could not check media type with provisioner") ||
		strings.HasPrefix(detail, "could not get supported media types from provisioner")
}

// outcome reads a session; false while there is no outcome.
func (a *answer) outcome(operation string) (bool, error) {
	var session struct {
		Status string `json:"status"`
		Reason string `json:"failure-reason"`
	}
	if err := json.Unmarshal(a.body, &session); err != nil {
		return false, unknown(protocolf(operation, "malformed session: %w", err))
	}
	switch session.Status {
	case "success":
		return true, nil
	case "failed":
		refused := &RefusedError{Reason: apihttp.Printable(session.Reason)}
		if interrupted(session.Reason) || partlyStored(session.Reason) {
			return false, unknown(refused)
		}
		return false, refused
	case "processing":
		return false, nil
	}
	return false, unknown(protocolf(operation, "unknown session status %.40q", session.Status))
}

// interrupted recognises a "failed" that is not the verifier's word: Veraison's
// provisioning service says so too when the verifier went away while it had the
// endorsements. The texts are those of gRPC's status errors. A verifier that was
// not there at all has stored nothing.
func interrupted(reason string) bool {
	if strings.Contains(reason, "while dialing") {
		return false
	}
	for _, code := range []string{"Unavailable", "DeadlineExceeded", "Canceled"} {
		if strings.Contains(reason, "rpc error: code = "+code) {
			return true
		}
	}
	return false
}

// partlyStored recognises a "failed" that comes from the verifier's store and
// not from its judgement: until v0.0.2602 endorsements are stored piece by piece,
// and what was stored before the failure stays
// (vts/trustedservices/trustedservices_grpc.go, storeEndorsements, v0.0.2501).
func partlyStored(reason string) bool {
	return strings.Contains(reason, "store operation failed for ")
}

const (
	firstPoll   = 50 * time.Millisecond
	longestPoll = 2 * time.Second
)

// follow waits for the outcome of a submission that was taken, and deletes its
// session.
func (c *Client) follow(ctx context.Context, from *url.URL, a *answer) error {
	session, err := apihttp.Resolve(service, c.base, from, a.location)
	if err != nil {
		return unknown(&ProtocolError{Operation: submitOperation, Err: err})
	}
	// A body is welcome and may tell the end, and need not be there.
	if len(a.body) > 0 {
		if done, err := a.outcome(submitOperation); done || err != nil {
			c.delete(ctx, session)
			return err
		}
	}
	for pause := firstPoll; ; pause = min(pause*3/2, longestPoll) {
		if err := apihttp.Sleep(ctx, max(apihttp.Jitter(pause), a.retryAfter)); err != nil {
			return unknown(fmt.Errorf("%s: %w", pollOperation, err))
		}
		if a, _, err = c.do(ctx, &request{
			operation: pollOperation,
			method:    http.MethodGet,
			url:       session,
			accept:    sessionType,
			attempts:  attempts,
		}); err != nil {
			return unknown(err)
		}
		if a.status != http.StatusOK && a.status != http.StatusAccepted {
			return unknown(a.problem(pollOperation))
		}
		if done, err := a.outcome(pollOperation); done || err != nil {
			c.delete(ctx, session)
			return err
		}
	}
}

// delete has the service forget a session. It is a courtesy: it expires.
func (c *Client) delete(ctx context.Context, session *url.URL) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	a, _, err := c.do(ctx, &request{operation: deleteOperation, method: http.MethodDelete, url: session, attempts: 2})
	if err == nil && a.status/100 != 2 && a.status != http.StatusNotFound {
		err = a.problem(deleteOperation)
	}
	if err != nil {
		c.cfg.Logger.DebugContext(ctx, "a provisioning session is left to expire", "error", err)
	}
}
