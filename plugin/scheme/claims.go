// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package scheme

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// maxClaimsSize is in bytes. Claims are at most some 4 KiB: an RSA key's, with
// a selection of all banks.
const maxClaimsSize = 64 << 10

// The host decodes the claims, shows them to the operator's policy, and writes
// them anew with its own encoder.
var (
	claimsEncoding = sync.OnceValues(cbor.CoreDetEncOptions().EncMode)
	claimsDecoding = sync.OnceValues(cbor.DecOptions{
		DefaultMapType:  reflect.TypeFor[map[string]any](),
		DupMapKey:       cbor.DupMapKeyEnforcedAPF,
		IndefLength:     cbor.IndefLengthForbidden,
		TagsMd:          cbor.TagsForbidden,
		MaxNestedLevels: 4,
		MaxMapPairs:     64,
	}.DecMode)
)

func encodeClaims(claims map[string]any) ([]byte, error) {
	mode, err := claimsEncoding()
	if err != nil {
		return nil, fmt.Errorf("encoding the claims: %w", err)
	}
	data, err := mode.Marshal(claims)
	if err != nil {
		return nil, fmt.Errorf("encoding the claims: %w", err)
	}
	return data, nil
}

func decodeClaims(data []byte) (map[string]any, error) {
	if len(data) > maxClaimsSize {
		return nil, fmt.Errorf("the claims are not those of this scheme's ExtractClaims: %d bytes, want at most %d", len(data), maxClaimsSize)
	}
	mode, err := claimsDecoding()
	if err != nil {
		return nil, fmt.Errorf("decoding the claims: %w", err)
	}
	var claims map[string]any
	if err := mode.Unmarshal(data, &claims); err != nil {
		return nil, fmt.Errorf("the claims are not those of this scheme's ExtractClaims: decoding CBOR: %w", err)
	}
	if claims == nil {
		return nil, errors.New("the claims are not those of this scheme's ExtractClaims: there are none")
	}
	return claims, nil
}
