// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/veraison/attested-tls/rp/ear"
)

// looksLikeJWT: three parts in base64url (RFC 7515, section 7.1), the first of
// which begins as a JSON object does.
func looksLikeJWT(data []byte) bool {
	text := string(data)
	return strings.HasPrefix(text, "eyJ") && strings.Count(text, ".") == 2
}

// readUnverifiedEAR reads a result whose verifier's key is not at hand, to show
// it. There is one reader of results, which reads only what verifies: it is
// given the claims signed anew, as of the time that they name.
func readUnverifiedEAR(ctx context.Context, token string) (*resultInfo, error) {
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 {
		return nil, errors.New("it is no JWT")
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	var claims struct {
		IssuedAt json.Number `json:"iat"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	seconds, err := claims.IssuedAt.Float64()
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return nil, errors.New("claims: there is no iat")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := ear.NewKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." + parts[1]
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	result, err := ear.Verify(ctx, signed+"."+base64.RawURLEncoding.EncodeToString(signature[:]), ear.Pin(public),
		ear.Expectations{MaxAge: time.Hour, Now: time.Unix(int64(seconds), 0)})
	if err != nil {
		return nil, err
	}
	info, err := newResultInfo(result)
	if err != nil {
		return nil, err
	}
	info.Verified, info.Token = false, ""
	return info, nil
}
