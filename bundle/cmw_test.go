// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/cmw"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/evidencetest"
)

func TestWrap(t *testing.T) {
	evidence := evidencetest.New(t).Bundle(t)
	for name, wrap := range map[string]func([]byte) ([]byte, error){"CBOR": bundle.WrapCBOR, "JSON": bundle.WrapJSON} {
		t.Run(name, func(t *testing.T) {
			wrapped, err := wrap(evidence)
			require.NoError(t, err)
			got, err := bundle.Unwrap(wrapped)
			require.NoError(t, err)
			assert.Equal(t, evidence, got)

			// Veraison's own library reads it, and writes the same.
			var theirs cmw.CMW
			require.NoError(t, theirs.Deserialize(wrapped))
			mediaType, err := theirs.GetMonadType()
			require.NoError(t, err)
			assert.Equal(t, bundle.MediaType, mediaType)
			value, err := theirs.GetMonadValue()
			require.NoError(t, err)
			assert.Equal(t, evidence, value)
			again, err := cmw.NewMonad(bundle.MediaType, evidence, cmw.Evidence)
			require.NoError(t, err)
			marshal := again.MarshalCBOR
			if name == "JSON" {
				marshal = again.MarshalJSON
			}
			text, err := marshal()
			require.NoError(t, err)
			assert.Equal(t, string(text), string(wrapped))
		})
	}
}

func TestUnwrapTakesRecordsWithoutIndicator(t *testing.T) {
	data, err := cbor.Marshal([]any{bundle.MediaType, []byte{1, 2}})
	require.NoError(t, err)
	got, err := bundle.Unwrap(data)
	require.NoError(t, err)
	assert.Equal(t, []byte{1, 2}, got)
	got, err = bundle.Unwrap([]byte(` ["` + bundle.MediaType + `","AQI"]`))
	require.NoError(t, err)
	assert.Equal(t, []byte{1, 2}, got)
}

// Each case has one defect.
func TestUnwrapRefuses(t *testing.T) {
	enc := func(v any) []byte {
		b, err := cbor.Marshal(v)
		require.NoError(t, err)
		return b
	}
	js := func(s string) []byte { return []byte(strings.ReplaceAll(s, "TYPE", `"`+bundle.MediaType+`"`)) }
	const b64 = "AQI"
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":                {nil, "not a CBOR record: cut short"},
		"too large":              {make([]byte, 1<<16), "65536 bytes, at most 22101 are read"},
		"CBOR: another type":     {enc([]any{"text/plain", []byte{1}, 4}), `type is "text/plain", want "application/vnd.parallaxsecond.key-attestation.tpm"`},
		"CBOR: number for type":  {enc([]any{30001, []byte{1}, 4}), "type: an unsigned integer stands where a text string belongs"},
		"CBOR: result":           {enc([]any{bundle.MediaType, []byte{1}, 8}), "indicator 8 does not say that it is evidence (4)"},
		"CBOR: text for value":   {enc([]any{bundle.MediaType, "x", 4}), "value: a text string stands where a byte string belongs"},
		"CBOR: negative":         {enc([]any{bundle.MediaType, []byte{1}, -4}), "indicator: a negative integer stands where an unsigned integer belongs"},
		"CBOR: one part":         {enc([]any{bundle.MediaType}), "a record has a type, a value and at most an indicator"},
		"CBOR: four parts":       {enc([]any{bundle.MediaType, []byte{1}, 4, 4}), "a record has a type, a value and at most an indicator"},
		"CBOR: left over":        {append(enc([]any{bundle.MediaType, []byte{1}, 4}), 0), "1 bytes after the record"},
		"CBOR: a tag":            {enc(cbor.Tag{Number: 1668576818, Content: []byte{1}}), "not a CBOR record: a tag stands where an array belongs"},
		"CBOR: a collection":     {enc(map[string]any{"a": []any{bundle.MediaType, []byte{1}}}), "not a CBOR record: a map stands where an array belongs"},
		"JSON: another type":     {js(`["text/plain","` + b64 + `",4]`), `type is "text/plain", want "application/vnd.parallaxsecond.key-attestation.tpm"`},
		"JSON: number for value": {js(`[TYPE,1]`), "value: json: cannot unmarshal number into Go value of type string"},
		"JSON: padded value":     {js(`[TYPE,"AQI="]`), "value: illegal base64 data at input byte 3"},
		"JSON: stray bits":       {js(`[TYPE,"AQJ"]`), "value: illegal base64 data at input byte 2"},
		"JSON: reference values": {js(`[TYPE,"` + b64 + `",1]`), "indicator 1 does not say that it is evidence (4)"},
		"JSON: negative":         {js(`[TYPE,"` + b64 + `",-4]`), "indicator: json: cannot unmarshal number -4 into Go value of type uint64"},
		"JSON: null for value":   {js(`[TYPE,null,4]`), "value is empty"},
		"JSON: one part":         {js(`[TYPE]`), "a record has a type, a value and at most an indicator"},
		"JSON: left over":        {js(`[TYPE,"` + b64 + `"]]`), "not a JSON record: invalid character ']' after top-level value"},
		"JSON: cut short":        {js(`[TYPE,"` + b64), "not a JSON record: unexpected end of JSON input"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bundle.Unwrap(tt.data)
			assert.Nil(t, got)
			require.EqualError(t, err, "malformed: CMW: "+tt.want)
			var e *bundle.Error
			require.ErrorAs(t, err, &e)
		})
	}
}

func FuzzUnwrap(f *testing.F) {
	for _, wrap := range []func([]byte) ([]byte, error){bundle.WrapCBOR, bundle.WrapJSON} {
		wrapped, err := wrap([]byte("evidence"))
		require.NoError(f, err)
		f.Add(wrapped)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		evidence, err := bundle.Unwrap(data)
		if err != nil {
			return
		}
		for _, wrap := range []func([]byte) ([]byte, error){bundle.WrapCBOR, bundle.WrapJSON} {
			wrapped, err := wrap(evidence)
			if err != nil {
				t.Fatal(err)
			}
			again, err := bundle.Unwrap(wrapped)
			if err != nil || !bytes.Equal(again, evidence) {
				t.Fatalf("%s: %v", base64.StdEncoding.EncodeToString(data), err)
			}
		}
	})
}
