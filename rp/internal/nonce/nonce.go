// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package nonce has what sessions and results have in common about nonces.
package nonce

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// The bounds of a nonce, in bytes (RFC 9711, section 4.1).
const (
	Min = 8
	Max = 64
)

// Decode decodes a nonce of 8 to 64 bytes in any flavour of base64 that is
// deployed: standard or URL-safe, padded or not.
func Decode(text string) ([]byte, error) {
	if len(text) > 4*((Max+2)/3) || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("not the base64 of a nonce")
	}
	encoding := base64.StdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.URLEncoding
	}
	if len(text)%4 != 0 {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	nonce, err := encoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("not base64: %w", err)
	}
	if !Fits(nonce) {
		return nil, fmt.Errorf("%d bytes, a nonce has %d to %d", len(nonce), Min, Max)
	}
	return nonce, nil
}

// Fits reports whether a nonce is of a length that verifiers take.
func Fits(nonce []byte) bool { return len(nonce) >= Min && len(nonce) <= Max }
