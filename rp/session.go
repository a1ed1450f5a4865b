// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/nonce"
	"github.com/veraison/attested-tls/rp/internal/strictjson"
)

// Veraison's challenge-response API, version 1:
// https://github.com/veraison/docs/tree/main/api/challenge-response
const (
	newSessionPath = "/challenge-response/v1/newSession"
	sessionType    = "application/vnd.veraison.challenge-response-session+json"

	openOperation     = "opening session"
	appraiseOperation = "submitting evidence"
	pollOperation     = "waiting for the result"
	deleteOperation   = "deleting session"
)

// sessionDocument is a session on the wire, as far as it is of interest.
type sessionDocument struct {
	status, nonce, result string
	accept                []string
	expiry                time.Time
}

// readDocument reads a session. What is missing is empty.
func readDocument(body []byte) (*sessionDocument, error) {
	m, err := strictjson.Object(body)
	if err != nil {
		return nil, fmt.Errorf("malformed session: %w", err)
	}
	d := new(sessionDocument)
	var expiry string
	for name, to := range map[string]*string{"status": &d.status, "nonce": &d.nonce, "result": &d.result, "expiry": &expiry} {
		switch v := m[name].(type) {
		case nil:
		case string:
			*to = v
		default:
			return nil, fmt.Errorf("malformed session: %s is not a string", name)
		}
	}
	if expiry != "" {
		if d.expiry, err = time.Parse(time.RFC3339, expiry); err != nil {
			return nil, fmt.Errorf("malformed session: expiry: %w", err)
		}
	}
	accept, ok := m["accept"].([]any)
	if !ok && m["accept"] != nil {
		return nil, errors.New("malformed session: accept is not a list")
	}
	for _, v := range accept {
		mediaType, ok := v.(string)
		if !ok {
			return nil, errors.New("malformed session: accept is not a list of strings")
		}
		d.accept = append(d.accept, mediaType)
	}
	return d, nil
}

// session is a session of a Veraison deployment.
type session struct {
	v      *Veraison
	url    *url.URL
	nonce  []byte
	accept []string
	opened time.Time // before it was asked for
	expiry time.Time
	used   atomic.Bool
}

var _ Session = (*session)(nil)

func (s *session) Nonce() []byte     { return s.nonce }
func (s *session) Accept() []string  { return s.accept }
func (s *session) Expiry() time.Time { return s.expiry }

func (v *Veraison) newSession(ctx context.Context, own []byte) (*session, error) {
	if own != nil && !nonce.Fits(own) {
		return nil, fmt.Errorf("%s: a nonce of %d bytes, want %d to %d", openOperation, len(own), nonce.Min, nonce.Max)
	}
	if err := v.checkOpen(); err != nil {
		return nil, fmt.Errorf("%s: %w", openOperation, err)
	}
	v.warm(ctx)
	ctx, cancel := context.WithTimeout(ctx, v.client.cfg.Timeout)
	defer cancel()
	query := url.Values{"nonceSize": {strconv.Itoa(NonceSize)}}
	if own != nil {
		// Veraison insists on this flavour of base64.
		query = url.Values{"nonce": {base64.URLEncoding.EncodeToString(own)}}
	}
	opened := time.Now()
	r := &request{
		operation: openOperation,
		method:    http.MethodPost,
		url:       v.client.endpoint(newSessionPath, query.Encode()),
		accept:    sessionType,
		limit:     maxAnswer,
		attempts:  attempts,
	}
	a, err := v.client.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusCreated {
		return nil, a.problem(openOperation)
	}
	s, err := v.readSession(r.url, a, own)
	if err != nil {
		return nil, &ProtocolError{Operation: openOperation, Err: err}
	}
	s.opened = opened
	return s, nil
}

// readSession reads the answer to a request for a session with this nonce, nil
// for the verifier's choice.
func (v *Veraison) readSession(from *url.URL, a *answer, own []byte) (*session, error) {
	where, err := v.client.resolve(from, a.location)
	if err != nil {
		return nil, err
	}
	document, err := readDocument(a.body)
	if err != nil {
		return nil, err
	}
	s := &session{v: v, url: where, accept: document.accept}
	if s.nonce, err = nonce.Decode(document.nonce); err != nil {
		return nil, fmt.Errorf("the session's nonce: %w", err)
	}
	switch {
	case own != nil && !bytes.Equal(s.nonce, own):
		return nil, errors.New("the session is for another nonce than was asked for")
	case own == nil && len(s.nonce) != NonceSize:
		return nil, fmt.Errorf("the nonce has %d bytes, asked for were %d", len(s.nonce), NonceSize)
	}
	if s.expiry, err = localExpiry(document.expiry, a.date, time.Now()); err != nil {
		return nil, err
	}
	return s, nil
}

// localExpiry carries an expiry from the verifier's clock over to this
// machine's, where the answer tells the verifier's time.
func localExpiry(expiry, date, now time.Time) (time.Time, error) {
	if expiry.IsZero() {
		return expiry, nil
	}
	if date.IsZero() {
		date = now
	}
	left := expiry.Sub(date)
	if left <= 0 {
		return time.Time{}, errors.New("the session has expired already")
	}
	return now.Add(left), nil
}

// Appraise has evidence appraised. See Session.
func (s *session) Appraise(ctx context.Context, e Evidence) (*AttestationResult, error) {
	started := time.Now()
	r, err := s.appraise(ctx, e)
	tracesOf(ctx).appraised(r, time.Since(started), err)
	return r, err
}

func (s *session) appraise(ctx context.Context, e Evidence) (*AttestationResult, error) {
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", appraiseOperation, err)
	}
	if err := s.v.checkOpen(); err != nil {
		return nil, fmt.Errorf("%s: %w", appraiseOperation, err)
	}
	if s.used.Swap(true) {
		return nil, fmt.Errorf("%s: %w", appraiseOperation, ErrSessionUsed)
	}
	defer s.delete()
	if !s.expiry.IsZero() && !time.Now().Before(s.expiry) {
		return nil, fmt.Errorf("%s: %w", appraiseOperation, ErrSessionExpired)
	}
	cfg := &s.v.client.cfg
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	token, err := s.submit(ctx, e)
	if err != nil {
		return nil, err
	}
	return ear.Verify(ctx, token, s.v.keys, ear.Expectations{
		Nonce:     s.nonce,
		NotBefore: s.opened,
		Verifier:  cfg.VerifierID,
		Skew:      cfg.Skew,
	})
}

func (e *Evidence) check() error {
	if len(e.Data) == 0 {
		return errors.New("there is no evidence")
	}
	if _, _, err := mime.ParseMediaType(e.MediaType); err != nil {
		return fmt.Errorf("the evidence's media type %.200q: %w", e.MediaType, err)
	}
	return nil
}

// submit sends the evidence and returns the result, which nobody has verified
// yet.
func (s *session) submit(ctx context.Context, e Evidence) (string, error) {
	limit := maxAnswer + 2*len(e.Data) // a session repeats its evidence, in base64
	a, err := s.v.client.do(ctx, &request{
		operation: appraiseOperation,
		method:    http.MethodPost,
		url:       s.url,
		accept:    sessionType,
		evidence:  &e,
		limit:     limit,
		attempts:  attempts,
		once:      true,
	})
	if err != nil {
		return "", err
	}
	switch a.status {
	case http.StatusOK:
	case http.StatusAccepted:
		return s.poll(ctx, a, limit)
	default:
		return "", a.problem(appraiseOperation)
	}
	token, err := a.result(appraiseOperation)
	if err == nil && token == "" {
		err = protocolf(appraiseOperation, "HTTP 200 without a result")
	}
	return token, err
}

const (
	firstPoll   = 50 * time.Millisecond
	longestPoll = 2 * time.Second
)

// poll asks for the result until there is one or the context ends.
func (s *session) poll(ctx context.Context, a *answer, limit int) (string, error) {
	observers := tracesOf(ctx)
	for pause := firstPoll; ; pause = min(pause*3/2, longestPoll) {
		wait := max(apihttp.Jitter(pause), a.retryAfter)
		observers.waiting(pollOperation, wait, nil)
		if err := apihttp.Sleep(ctx, wait); err != nil {
			return "", fmt.Errorf("%s: %w: %w", pollOperation, ErrUnfinished, err)
		}
		var err error
		a, err = s.v.client.do(ctx, &request{
			operation: pollOperation,
			method:    http.MethodGet,
			url:       s.url,
			accept:    sessionType,
			limit:     limit,
			attempts:  attempts,
		})
		if err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", ErrUnfinished, err)
			}
			return "", err
		}
		if a.status != http.StatusOK && a.status != http.StatusAccepted {
			return "", a.problem(pollOperation)
		}
		if token, err := a.result(pollOperation); token != "" || err != nil {
			return token, err
		}
	}
}

// result reads the result in a session, empty while there is none.
func (a *answer) result(operation string) (string, error) {
	document, err := readDocument(a.body)
	if err != nil {
		return "", &ProtocolError{Operation: operation, Err: err}
	}
	switch document.status {
	case "complete":
		if document.result == "" {
			return "", protocolf(operation, "the session is complete and has no result")
		}
		return document.result, nil
	case "waiting", "processing":
		return "", nil
	case "failed":
		return "", &ProblemError{Operation: operation, Status: a.status, Title: "the verifier failed to appraise the evidence"}
	}
	return "", protocolf(operation, "unknown session status %.40q", document.status)
}

// Close gives the session up. See Session.
func (s *session) Close() error {
	if !s.used.Swap(true) {
		s.delete()
	}
	return nil
}

// delete has the verifier forget the session, in the background. It is a
// courtesy: where too many are under way already, expiry has to do.
func (s *session) delete() {
	v := s.v
	select {
	case v.deleting <- struct{}{}:
	default:
		return
	}
	if !v.spawn(func() {
		defer func() { <-v.deleting }()
		ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout)
		defer cancel()
		a, err := v.client.do(ctx, &request{
			operation: deleteOperation,
			method:    http.MethodDelete,
			url:       s.url,
			limit:     maxAnswer,
			attempts:  2,
		})
		if err == nil && a.status/100 != 2 && a.status != http.StatusNotFound {
			err = a.problem(deleteOperation)
		}
		if err != nil {
			v.client.cfg.Logger.DebugContext(ctx, "a session is left to expire", "error", err)
		}
	}) {
		<-v.deleting
	}
}
