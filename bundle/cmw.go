// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/veraison/attested-tls/internal/badevidence"
	"github.com/veraison/attested-tls/internal/cmw"
)

// Media types of a CMW in either serialisation.
const (
	MediaTypeCMWCBOR = "application/cmw+cbor"
	MediaTypeCMWJSON = "application/cmw+json"
)

// maxCMWSize has room for MaxSize bytes in base64 and the type.
const maxCMWSize = MaxSize*4/3 + 256

// WrapCBOR wraps a bundle in a CMW record (RFC 9999, section 3.1), in CBOR:
// [media type, bundle, evidence].
func WrapCBOR(evidence []byte) ([]byte, error) {
	return cmw.Record{Type: MediaType, Value: evidence, Indicator: cmw.Evidence}.EncodeCBOR(), nil
}

// WrapJSON does the same in JSON; the bundle is in base64url.
func WrapJSON(evidence []byte) ([]byte, error) {
	return json.Marshal([]any{MediaType, base64.RawURLEncoding.EncodeToString(evidence), cmw.Evidence})
}

// Unwrap returns the bundle in a CMW record of either serialisation, without
// looking inside. A CMW of another type, of another kind (a tag, a collection),
// or one that says that it is something else than evidence, is an *Error whose
// Check is Malformed.
func Unwrap(data []byte) ([]byte, error) {
	if len(data) > maxCMWSize {
		return nil, malformed(fmt.Errorf("CMW: %d bytes, at most %d are read", len(data), maxCMWSize))
	}
	r, err := cmw.Decode(data)
	switch {
	case err != nil:
	case r.Type != MediaType:
		err = fmt.Errorf("CMW: type is %.100q, want %q", r.Type, MediaType)
	case r.Indicator != 0 && r.Indicator&cmw.Evidence == 0:
		err = fmt.Errorf("CMW: indicator %d does not say that it is evidence (%d)", r.Indicator, cmw.Evidence)
	}
	if err != nil {
		return nil, malformed(err)
	}
	return r.Value, nil
}

func malformed(err error) error {
	return badevidence.Errorf(Malformed, "", "%w", err)
}
