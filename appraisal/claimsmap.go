// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package appraisal

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/veraison/eat"

	"github.com/veraison/attested-tls/internal/tpmwire"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// claimsFormat marks a map that Map made; ParseClaims refuses any other.
const claimsFormat = "tag:github.com/veraison/attested-tls,2026:tpm-claims-1"

// Keys of the claims map. A Veraison policy sees the map as the evidence, and
// an EAR carries it as the annotated evidence, so it is written to be read by
// people: PCRs as tpm2-tools write them, attributes by name, digests in
// hexadecimal. Numbers of 64 bits are strings, because JSON's numbers lose
// their low bits on the way.
const (
	keyFormat = "format"
	keyKID    = "kid" // of the AK: UEID in base64

	// The TLS identity key, from the key attestation token.
	keyKey        = "key"            // DER SubjectPublicKeyInfo in base64url
	keyKeyType    = "key-type"       // for people
	keyAttributes = "key-attributes" // TPMA_OBJECT
	keyScheme     = "key-scheme"     // what the key is limited to
	keyName       = "key-name"
	keyKATSigned  = "key-attestation-signature"

	// The platform, from the platform attestation token.
	keyPCRs         = "pcrs"
	keyPCRDigest    = "pcr-digest" // sha256:…
	keyClock        = "clock"      // milliseconds
	keyClockSafe    = "clock-safe"
	keyResetCount   = "reset-count"
	keyRestartCount = "restart-count"
	keyFirmware     = "firmware-version"
	keySignature    = "signature" // how the AK signed
)

// Map returns the claims with nothing but JSON's types in them: strings,
// numbers as float64 and booleans.
func (c *Claims) Map() map[string]any {
	return map[string]any{
		keyFormat: claimsFormat,
		keyKID:    base64.StdEncoding.EncodeToString(c.KID),

		keyKey:        base64.RawURLEncoding.EncodeToString(c.KAT.SPKI),
		keyKeyType:    c.KAT.KeyType,
		keyAttributes: c.KAT.Attributes.String(),
		keyScheme:     c.KAT.Scheme.String(),
		keyName:       hex.EncodeToString(c.KAT.Name),

		keyPCRs:         c.PAT.Selection.String(),
		keyPCRDigest:    string(hex.AppendEncode([]byte(tpmwire.HashName(c.PAT.Hash)+":"), c.PAT.PCRDigest)),
		keyClock:        strconv.FormatUint(c.PAT.Clock.Clock, 10),
		keyClockSafe:    c.PAT.Clock.Safe,
		keyResetCount:   float64(c.PAT.Clock.ResetCount),
		keyRestartCount: float64(c.PAT.Clock.RestartCount),
		keyFirmware:     "0x" + strconv.FormatUint(c.PAT.FirmwareVersion, 16),
		keySignature:    c.PAT.Signature.String(),
	}
}

// ParseClaims reads a map that [ExtractClaims] made, after whatever JSON did to
// it on the way. Anything else is an error: a claim that is missing, unknown
// or of another type or form. The caller answers for where the map comes from.
func ParseClaims(m map[string]any) (*Claims, error) {
	r := &mapReader{m: m}
	if format := r.str(keyFormat); r.err == nil && format != claimsFormat {
		r.fail(keyFormat, "is %.80q, want %q", format, claimsFormat)
	}
	c := &Claims{
		KID: r.kid(),
		KAT: kat.Claims{
			SPKI:       r.spki(),
			KeyType:    r.str(keyKeyType),
			Attributes: parsed(r, keyAttributes, tpmwire.ParseAttributes),
			Scheme:     parsed(r, keyScheme, tpmwire.ParseScheme),
			Name:       parsed(r, keyName, hex.DecodeString),
		},
		PAT: pat.Claims{
			Selection: parsed(r, keyPCRs, tpmwire.ParseSelection),
			Signature: parsed(r, keySignature, tpmwire.ParseScheme),
			Clock: pat.Clock{
				Clock:        parsed(r, keyClock, parseDecimal),
				Safe:         entry[bool](r, keyClockSafe),
				ResetCount:   r.count(keyResetCount),
				RestartCount: r.count(keyRestartCount),
			},
			FirmwareVersion: parsed(r, keyFirmware, parseHexadecimal),
		},
	}
	hash, digest, _ := strings.Cut(r.str(keyPCRDigest), ":")
	var err error
	if c.PAT.Hash, err = tpmwire.ParseHash(hash); err == nil {
		c.PAT.PCRDigest, err = hex.DecodeString(digest)
	}
	if err != nil {
		r.fail(keyPCRDigest, "is malformed: %w", err)
	}
	if r.err == nil && len(m) != r.seen {
		r.err = fmt.Errorf("%d claims, want %d", len(m), r.seen)
	}
	if r.err != nil {
		return nil, fmt.Errorf("the claims are not those of this scheme's ExtractClaims: %w", r.err)
	}
	return c, nil
}

// mapReader reads a map's entries, each once. Its first failure sticks.
type mapReader struct {
	m    map[string]any
	seen int
	err  error
}

func (r *mapReader) fail(key, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s %w", key, fmt.Errorf(format, args...))
	}
}

// entry reads a value of type T.
func entry[T any](r *mapReader, key string) T {
	r.seen++
	v, present := r.m[key]
	t, ok := v.(T)
	switch {
	case !present:
		r.fail(key, "is missing")
	case !ok:
		r.fail(key, "is a %T, want a %T", v, t)
	}
	return t
}

func (r *mapReader) str(key string) string { return entry[string](r, key) }

// parsed reads a string and what it stands for.
func parsed[T any](r *mapReader, key string, parse func(string) (T, error)) T {
	v, err := parse(r.str(key))
	if err != nil {
		r.fail(key, "is malformed: %w", err)
	}
	return v
}

func (r *mapReader) kid() eat.UEID {
	kid := eat.UEID(parsed(r, keyKID, base64.StdEncoding.DecodeString))
	if err := kid.Validate(); err != nil {
		r.fail(keyKID, "is not a UEID: %w", err)
	}
	return kid
}

func (r *mapReader) spki() []byte {
	der := parsed(r, keyKey, base64.RawURLEncoding.DecodeString)
	if err := tpmwire.CheckSPKI(der); err != nil {
		r.fail(keyKey, "is not a key: %w", err)
	}
	return der
}

func (r *mapReader) count(key string) uint32 {
	f := entry[float64](r, key)
	if f < 0 || f > math.MaxUint32 || f != math.Trunc(f) {
		r.fail(key, "is %v, want a whole number of 32 bits", f)
		return 0
	}
	return uint32(f)
}

func parseDecimal(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }

func parseHexadecimal(s string) (uint64, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return 0, fmt.Errorf("%.20q does not begin with 0x", s)
	}
	return strconv.ParseUint(digits, 16, 64)
}
