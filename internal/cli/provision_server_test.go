// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
)

// serveHTTP serves for as long as the test runs.
func serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // tests provoke what it would say
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}
