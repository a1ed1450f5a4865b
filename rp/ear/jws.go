// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/veraison/attested-tls/rp/internal/strictjson"
)

// MaxSize is the largest token that is read, in bytes. Veraison's are under
// 4 KiB unless they repeat raw evidence.
const MaxSize = 256 << 10

// types are the typ headers that an EAR may have (RFC 7519, section 5.1; RFC
// 9782, section 4), in lower case and without "application/". Another JWT of
// the same issuer must not pass for one (RFC 8725, section 3.11).
var types = []string{"jwt", "eat+jwt", "eat-jwt"}

// unverified is a token in compact serialisation (RFC 7515, section 7.1) whose
// form is right.
type unverified struct {
	signed    string // header and payload, as they were encoded
	payload   []byte
	signature []byte
	algorithm jose.SignatureAlgorithm
	keyID     string
}

// parse checks the form of a token. It trusts none of it.
func parse(token string) (*unverified, error) {
	if len(token) > MaxSize {
		return nil, errorf(Malformed, "%d bytes, more than %d", len(token), MaxSize)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errorf(Malformed, "%d parts, a JWS in compact serialisation has 3", len(parts))
	}
	var decoded [3][]byte
	for i, part := range parts {
		// Strict: RFC 7515, section 2. Line breaks, which Go's decoder skips,
		// and unused bits would give one token many spellings.
		var err error
		decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.IndexByte(part, '\n') >= 0 || strings.IndexByte(part, '\r') >= 0 {
			return nil, errorf(Malformed, "part %d is not base64url", i+1)
		}
	}
	u := &unverified{
		signed:    token[:len(parts[0])+1+len(parts[1])],
		payload:   decoded[1],
		signature: decoded[2],
	}
	fields, err := strictjson.Object(decoded[0])
	if err != nil {
		return nil, errorf(Malformed, "header: %w", err)
	}
	for _, name := range []string{"crit", "b64"} {
		// RFC 7515, section 4.1.11: an extension that is not understood; RFC
		// 7797 is not for JWTs.
		if _, ok := fields[name]; ok {
			return nil, errorf(Malformed, "header: %s is not supported", name)
		}
	}
	if typ, ok := fields["typ"]; ok {
		text, _ := typ.(string)
		text, _, _ = strings.Cut(strings.ToLower(text), ";")
		text = strings.TrimPrefix(strings.TrimSpace(text), "application/")
		if !slices.Contains(types, text) {
			return nil, errorf(Malformed, "header: typ %.60q is not an EAR's", text)
		}
	}
	algorithm, _ := fields["alg"].(string)
	u.algorithm = jose.SignatureAlgorithm(algorithm)
	u.keyID, _ = fields["kid"].(string)
	return u, nil
}

// verify returns the payload if one of the keys signed it. The token's alg
// only says which of the keys are worth a try (RFC 8725, section 3.1).
func (u *unverified) verify(keys []Key) ([]byte, error) {
	var fitting []Key
	for _, key := range keys {
		if key.public != nil && key.algorithm == u.algorithm {
			fitting = append(fitting, key)
		}
	}
	if len(fitting) == 0 {
		return nil, errorf(Algorithm, "alg is %.40q, the verifier's keys are for %v", string(u.algorithm), keys)
	}
	// A kid is a hint (RFC 7515, section 4.1.4): those that have it go first.
	slices.SortStableFunc(fitting, func(a, b Key) int { return u.mismatch(a) - u.mismatch(b) })
	for _, key := range fitting {
		if key.verifies(u.signed, u.signature) {
			return u.payload, nil
		}
	}
	return nil, errorf(Signature, "no key of the verifier made it (%v)", fitting)
}

func (u *unverified) mismatch(key Key) int {
	if key.id != "" && key.id == u.keyID {
		return 0
	}
	return 1
}
