// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/veraison/attested-tls/internal/badevidence"
)

// Media types of a CMW in either serialisation.
const (
	MediaTypeCMWCBOR = "application/cmw+cbor"
	MediaTypeCMWJSON = "application/cmw+json"
)

// cmwEvidence is the bit of a CMW's indicator that says that it is evidence
// (RFC 9999, section 3.1).
const cmwEvidence = 1 << 2

// maxCMWSize has room for MaxSize bytes in base64 and the type.
const maxCMWSize = MaxSize*4/3 + 256

// WrapCBOR wraps a bundle in a CMW record (RFC 9999, section 3.1), in CBOR:
// [media type, bundle, evidence].
func WrapCBOR(evidence []byte) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("setting up the CBOR encoder: %w", err)
	}
	return enc.Marshal([]any{MediaType, evidence, cmwEvidence})
}

// WrapJSON does the same in JSON; the bundle is in base64url.
func WrapJSON(evidence []byte) ([]byte, error) {
	return json.Marshal([]any{MediaType, base64.RawURLEncoding.EncodeToString(evidence), cmwEvidence})
}

// Unwrap returns the bundle in a CMW record of either serialisation, without
// looking inside. A CMW of another type, of another kind (a tag, a collection),
// or one that says that it is something else than evidence, is an *Error whose
// Check is Malformed.
func Unwrap(cmw []byte) ([]byte, error) {
	if len(cmw) > maxCMWSize {
		return nil, malformedCMW(fmt.Errorf("%d bytes, at most %d are read", len(cmw), maxCMWSize))
	}
	var r record
	var err error
	if trimmed := bytes.TrimLeft(cmw, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		r, err = decodeJSON(cmw)
	} else {
		r, err = decodeCBOR(cmw)
	}
	switch {
	case err != nil:
	case r.mediaType != MediaType:
		err = fmt.Errorf("type is %.100q, want %q", r.mediaType, MediaType)
	case len(r.value) == 0:
		err = errors.New("value is empty")
	case r.indicated && r.indicator&cmwEvidence == 0:
		err = fmt.Errorf("indicator %d does not say that it is evidence (%d)", r.indicator, cmwEvidence)
	}
	if err != nil {
		return nil, malformedCMW(err)
	}
	return r.value, nil
}

func malformedCMW(err error) error {
	return badevidence.Errorf(Malformed, "", "CMW: %w", err)
}

// record is a CMW record.
type record struct {
	mediaType string
	value     []byte
	indicator uint64
	indicated bool
}

var errRecordSize = errors.New("a record has a type, a value and at most an indicator")

func decodeCBOR(data []byte) (record, error) {
	dec, err := decoder()
	if err != nil {
		return record{}, err
	}
	var parts []cbor.RawMessage
	if err := dec.Unmarshal(data, &parts); err != nil {
		return record{}, fmt.Errorf("not a CBOR record: %w", inCBORsWords(err))
	}
	if len(parts) < 2 || len(parts) > 3 {
		return record{}, errRecordSize
	}
	var r record
	var value octets
	if err := dec.Unmarshal(parts[0], &r.mediaType); err != nil {
		return record{}, fmt.Errorf("type: %w", inCBORsWords(err))
	}
	if err := value.UnmarshalCBOR(parts[1]); err != nil {
		return record{}, fmt.Errorf("value: %w", err)
	}
	r.value = value
	if len(parts) == 3 {
		r.indicated = true
		if err := dec.Unmarshal(parts[2], &r.indicator); err != nil {
			return record{}, fmt.Errorf("indicator: %w", inCBORsWords(err))
		}
	}
	return r, nil
}

func decodeJSON(data []byte) (record, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return record{}, fmt.Errorf("not a JSON record: %w", err)
	}
	if len(parts) < 2 || len(parts) > 3 {
		return record{}, errRecordSize
	}
	var r record
	var value string
	if err := json.Unmarshal(parts[0], &r.mediaType); err != nil {
		return record{}, fmt.Errorf("type: %w", err)
	}
	if err := json.Unmarshal(parts[1], &value); err != nil {
		return record{}, fmt.Errorf("value: %w", err)
	}
	var err error
	if r.value, err = base64.RawURLEncoding.Strict().DecodeString(value); err != nil {
		return record{}, fmt.Errorf("value: %w", err)
	}
	if len(parts) == 3 {
		r.indicated = true
		if err := json.Unmarshal(parts[2], &r.indicator); err != nil {
			return record{}, fmt.Errorf("indicator: %w", err)
		}
	}
	return r, nil
}
