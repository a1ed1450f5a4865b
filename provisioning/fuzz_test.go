// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/veraison/attested-tls/provisioning"
)

// answering is a transport that answers every request in the same way.
type answering struct {
	status   int
	location string
	body     []byte
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Location": {a.location}, "Retry-After": {"99"}},
		Body:   io.NopCloser(bytes.NewReader(a.body)),
	}, nil
}

// Whatever answers: a receipt only for "success", and an error that can be
// printed on one line.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "", []byte(success))
	f.Add(200, "", []byte(`{"status":"failed","failure-reason":"x\ny"}`))
	f.Add(201, "/session", []byte(success))
	f.Add(201, "https://evil.example/", []byte(processing))
	f.Add(415, "", []byte(`{"title":"x","detail":"y"}`))
	f.Add(500, "", []byte(`{"detail":"could not check media type with provisioner: x"}`))
	f.Add(200, "", []byte(wellKnown))
	f.Fuzz(func(t *testing.T, status int, location string, body []byte) {
		if status < 100 || status > 999 {
			t.Skip()
		}
		c, err := provisioning.New("https://verifier.example", provisioning.Config{
			Transport: answering{status, location, body}, Timeout: 100 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := c.Submit(t.Context(), mediaTypeV1, corim)
		if (receipt == nil) == (err == nil) {
			t.Fatalf("receipt %v, error %v", receipt, err)
		}
		if receipt != nil && !bytes.Contains(bytes.ToLower(body), []byte("success")) && !bytes.Contains(body, []byte(`\u`)) {
			t.Fatalf("a receipt for %q", body)
		}
		var refused *provisioning.RefusedError
		if errors.As(err, &refused) && strings.ContainsAny(refused.Reason, "\n\x1b") {
			t.Fatalf("unprintable: %q", refused.Reason)
		}
		capabilities, err := c.Capabilities(t.Context())
		if (capabilities == nil) == (err == nil) {
			t.Fatalf("capabilities %v, error %v", capabilities, err)
		}
		if capabilities != nil {
			for _, m := range capabilities.MediaTypes {
				if _, ok := capabilities.Spelling(m); !ok {
					t.Fatalf("does not take its own %q", m)
				}
			}
		}
	})
}
