// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These are the ways of the services that v0.0.2501 does not have, or not on
// demand; the rest is tested on the real ones.

func fakeService(t *testing.T, handlers map[string]http.HandlerFunc) *Client {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, handler := range handlers {
		mux.HandleFunc(pattern, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	client := NewClient(server.URL, server.URL)
	t.Cleanup(client.CloseIdle)
	return client
}

func answerWith(status int, location, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if location != "" {
			w.Header().Set("Location", location)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

const (
	submitPattern     = "POST /endorsement-provisioning/v1/submit"
	newSessionPattern = "POST /challenge-response/v1/newSession"
)

func TestProvisionAsynchronously(t *testing.T) {
	for name, test := range map[string]struct {
		last string
		want string
	}{
		"success": {last: `{"status":"success"}`},
		"failure": {last: `{"status":"failed","failure-reason":"no such class"}`, want: "provisioning failed: no such class"},
		"strange": {last: `{"status":"perhaps"}`, want: `unknown session status "perhaps"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked, deleted atomic.Int32
			client := fakeService(t, map[string]http.HandlerFunc{
				submitPattern: answerWith(http.StatusCreated, "session/1", `{"status":"processing"}`),
				"GET /endorsement-provisioning/v1/session/1": func(w http.ResponseWriter, _ *http.Request) {
					if asked.Add(1) < 3 {
						fmt.Fprint(w, `{"status":"processing"}`)
						return
					}
					fmt.Fprint(w, test.last)
				},
				"DELETE /endorsement-provisioning/v1/session/1": func(http.ResponseWriter, *http.Request) { deleted.Add(1) },
			})
			err := client.Provision(t.Context(), "a/b", []byte{1})
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.want)
			}
			assert.EqualValues(t, 3, asked.Load())
			assert.EqualValues(t, 1, deleted.Load())
		})
	}
}

func TestProvisionRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"failed with 200":   {200, `{"status":"failed","failure-reason":"why"}`, "provisioning failed: why"},
		"problem document":  {415, `{"title":"Unsupported Media Type","detail":"no active plugin"}`, "HTTP 415: Unsupported Media Type: no active plugin"},
		"plain text":        {502, `bad gateway`, "HTTP 502: bad gateway"},
		"no outcome":        {200, `{"status":"processing"}`, "without an outcome"},
		"not JSON":          {200, `<html>`, "decoding session"},
		"empty":             {200, ``, "decoding session"},
		"201, no location":  {201, `{"status":"processing"}`, "HTTP 201"},
		"redirect":          {302, ``, "HTTP 302"},
		"unknown status":    {200, `{}`, `unknown session status ""`},
		"too long to be it": {200, strings.Repeat(" ", maxAnswer+1), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fakeService(t, map[string]http.HandlerFunc{submitPattern: answerWith(test.status, "", test.body)})
			err := client.Provision(t.Context(), "a/b", []byte{1})
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestPollingHonoursContext(t *testing.T) {
	client := fakeService(t, map[string]http.HandlerFunc{
		submitPattern: answerWith(http.StatusCreated, "session/1", ``),
		"GET /endorsement-provisioning/v1/session/1": answerWith(http.StatusOK, "", `{"status":"processing"}`),
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	err := client.Provision(ctx, "a/b", []byte{1})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(started), 5*time.Second)
}

func TestNonceFlavours(t *testing.T) {
	// Bytes whose encodings differ in every flavour.
	nonce := []byte{0xfb, 0xff, 0xbf, 0xfe, 0, 1, 2, 3, 4, 5}
	for name, encoding := range map[string]*base64.Encoding{
		"standard, padded": base64.StdEncoding,
		"standard":         base64.RawStdEncoding,
		"url, padded":      base64.URLEncoding,
		"url":              base64.RawURLEncoding,
	} {
		t.Run(name, func(t *testing.T) {
			client := fakeService(t, map[string]http.HandlerFunc{
				newSessionPattern: answerWith(http.StatusCreated, "session/1",
					fmt.Sprintf(`{"nonce":%q,"status":"waiting"}`, encoding.EncodeToString(nonce))),
			})
			session, err := client.NewSession(t.Context(), nonce)
			require.NoError(t, err)
			assert.Equal(t, nonce, session.Nonce)
			assert.True(t, strings.HasSuffix(session.URL, "/challenge-response/v1/session/1"), session.URL)
		})
	}
}

func TestNewSessionRefusals(t *testing.T) {
	nonce := []byte("12345678")
	for name, test := range map[string]struct {
		nonce    []byte
		location string
		status   int
		body     string
		want     string
	}{
		"another nonce": {nonce, "session/1", 201, `{"nonce":"MTIzNDU2Nzk="}`, "not for the nonce"},
		"short nonce":   {nil, "session/1", 201, `{"nonce":"MTIzNDU2Nzk="}`, "8 bytes, want 32"},
		"no nonce":      {nil, "session/1", 201, `{}`, "0 bytes, want 32"},
		"not base64":    {nil, "session/1", 201, `{"nonce":"?"}`, "decoding nonce"},
		"no location":   {nonce, "", 201, `{"nonce":"MTIzNDU2Nzg="}`, "without a location"},
		"not created":   {nonce, "session/1", 200, `{"nonce":"MTIzNDU2Nzg="}`, "HTTP 200"},
		"problem":       {nonce, "", 400, `{"title":"Bad Request","detail":"nonce"}`, "HTTP 400: Bad Request: nonce"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fakeService(t, map[string]http.HandlerFunc{
				newSessionPattern: answerWith(test.status, test.location, test.body),
			})
			_, err := client.NewSession(t.Context(), test.nonce)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestSubmit(t *testing.T) {
	const path = "/challenge-response/v1/session/1"
	for name, test := range map[string]struct {
		status int
		body   string
		polls  []string
		want   *Result
		err    string
	}{
		"at once":              {status: 200, body: `{"status":"complete","result":"j.w.t"}`, want: &Result{200, "j.w.t"}},
		"later":                {status: 202, body: `{"status":"processing"}`, polls: []string{`{"status":"processing"}`, `{"status":"complete","result":"j.w.t"}`}, want: &Result{202, "j.w.t"}},
		"later, failed":        {status: 202, body: `{}`, polls: []string{`{"status":"failed"}`}, err: "the session has failed"},
		"failed":               {status: 200, body: `{"status":"failed"}`, err: "the session has failed"},
		"complete, no result":  {status: 200, body: `{"status":"complete"}`, err: "has no result"},
		"not complete, no 202": {status: 200, body: `{"status":"processing"}`, err: "without a result"},
		"problem":              {status: 500, body: `{"title":"Internal Server Error","detail":"oh"}`, err: "HTTP 500: Internal Server Error: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			client := fakeService(t, map[string]http.HandlerFunc{
				newSessionPattern: answerWith(http.StatusCreated, "session/1", `{"nonce":"MTIzNDU2Nzg="}`),
				"POST " + path:    answerWith(test.status, "", test.body),
				"GET " + path: func(w http.ResponseWriter, _ *http.Request) {
					fmt.Fprint(w, test.polls[asked.Add(1)-1])
				},
			})
			session, err := client.NewSession(t.Context(), []byte("12345678"))
			require.NoError(t, err)
			got, err := session.Submit(t.Context(), "a/b", []byte{1})
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}
