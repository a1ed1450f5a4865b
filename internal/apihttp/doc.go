// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package apihttp is what clients of Veraison's HTTP APIs have in common: a URL
// that is with TLS unless said otherwise, a transport with limits, answers that
// are read to a limit and Locations that stay with the origin, pauses between
// attempts, access tokens, and a stranger's words made fit for a log.
//
// What is repeated, and when, is each client's own matter.
package apihttp
