// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	requestTimeout = 30 * time.Second
	pollInterval   = 100 * time.Millisecond
	maxAnswer      = 16 << 20 // a session repeats its evidence, in base64
	maxPolls       = 600      // one minute

	provisioningSessionType = "application/vnd.veraison.provisioning-session+json"
	verificationSessionType = "application/vnd.veraison.challenge-response-session+json"
)

// Client speaks to the HTTP services of a Veraison deployment. It can be used
// from several goroutines.
type Client struct {
	provisioning, verification string
	user                       *User // of the provisioning service; may be nil
	http                       *http.Client
}

// NewClient makes a client for the services at these base URLs.
func NewClient(provisioningURL, verificationURL string) *Client {
	return &Client{
		provisioning: provisioningURL,
		verification: verificationURL,
		http: &http.Client{
			Timeout: requestTimeout,
			Transport: &http.Transport{
				// No proxy: what is asked for is on this machine. Enough idle
				// connections that a benchmark does not measure dialling.
				MaxIdleConnsPerHost: 64,
				IdleConnTimeout:     requestTimeout,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// CloseIdle closes the connections that are not in use.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// ProblemError is an answer other than the one that was asked for.
type ProblemError struct {
	// Operation is what was asked for.
	Operation string
	// StatusCode is the HTTP status.
	StatusCode int
	// Title and Detail are those of the problem document (RFC 9457), if any.
	Title, Detail string
}

// Error says what was asked for and what came instead.
func (e *ProblemError) Error() string {
	text := fmt.Sprintf("%s: HTTP %d", e.Operation, e.StatusCode)
	for _, part := range []string{e.Title, e.Detail} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// ProvisioningError is the refusal of endorsements by the VTS or its plugin.
type ProvisioningError struct {
	// Reason is the service's failure-reason.
	Reason string
}

// Error returns the reason.
func (e *ProvisioningError) Error() string { return "provisioning failed: " + e.Reason }

// answer is what came back for a request.
type answer struct {
	status   int
	location *url.URL // absolute; nil when there is none
	body     []byte
}

// do sends a request and reads all of the answer. It judges no status.
func (c *Client) do(ctx context.Context, method, target, accept, contentType string, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if strings.HasPrefix(target, c.provisioning+"/") {
		c.user.authorize(req)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading answer: %w", err)
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("reading answer: longer than %d bytes", maxAnswer)
	}
	location, err := resp.Location()
	if err != nil && !errors.Is(err, http.ErrNoLocation) {
		return nil, fmt.Errorf("reading location: %w", err)
	}
	return &answer{status: resp.StatusCode, location: location, body: data}, nil
}

// problem makes an error of an answer.
func (a *answer) problem(operation string) error {
	var document struct{ Title, Detail string }
	if err := json.Unmarshal(a.body, &document); err != nil {
		document.Detail = string(a.body[:min(len(a.body), 500)])
	}
	return &ProblemError{Operation: operation, StatusCode: a.status, Title: document.Title, Detail: document.Detail}
}

// Provision submits endorsements and returns when they are in the store. A
// refusal is a *ProvisioningError or a *ProblemError.
func (c *Client) Provision(ctx context.Context, mediaType string, corim []byte) error {
	const operation = "submitting endorsements"
	a, err := c.do(ctx, http.MethodPost, c.provisioning+"/endorsement-provisioning/v1/submit",
		provisioningSessionType, mediaType, corim)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	switch {
	case a.status == http.StatusOK:
	case a.status == http.StatusCreated && a.location != nil:
		session := a.location.String()
		defer c.forget(ctx, session)
		return c.pollProvisioning(ctx, session)
	default:
		return a.problem(operation)
	}
	done, err := a.provisioned(operation)
	if err == nil && !done {
		return fmt.Errorf("%s: HTTP 200 without an outcome", operation)
	}
	return err
}

func (c *Client) pollProvisioning(ctx context.Context, session string) error {
	const operation = "waiting for endorsements to be stored"
	polls := 0
	return waitFor(ctx, pollInterval, func() (bool, error) {
		if polls++; polls > maxPolls {
			return false, fmt.Errorf("%s: still processing", operation)
		}
		a, err := c.do(ctx, http.MethodGet, session, provisioningSessionType, "", nil)
		if err != nil {
			return false, fmt.Errorf("%s: %w", operation, err)
		}
		if a.status != http.StatusOK {
			return false, a.problem(operation)
		}
		return a.provisioned(operation)
	})
}

// provisioned reads the outcome of a submission; false while there is none.
func (a *answer) provisioned(operation string) (bool, error) {
	var session struct {
		Status        string `json:"status"`
		FailureReason string `json:"failure-reason"`
	}
	if err := json.Unmarshal(a.body, &session); err != nil {
		return false, fmt.Errorf("%s: decoding session: %w", operation, err)
	}
	switch session.Status {
	case "success":
		return true, nil
	case "failed":
		return false, &ProvisioningError{Reason: session.FailureReason}
	case "processing":
		return false, nil
	}
	return false, fmt.Errorf("%s: unknown session status %q", operation, session.Status)
}

// forget deletes a session that nobody needs any more; it expires anyway.
func (c *Client) forget(ctx context.Context, session string) {
	_, _ = c.do(ctx, http.MethodDelete, session, "", "", nil)
}
