// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package cmw reads and writes records of the RATS conceptual messages wrapper
// (RFC 9999, section 3.1): a type, a value, and what kind of message it is. It
// reads either serialisation, CBOR in its deterministic form only. Tags and
// collections are not read.
package cmw

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Indicator says which conceptual messages a value is, as bits.
type Indicator uint64

// The bits that are used here.
const (
	Evidence           Indicator = 1 << 2
	AttestationResults Indicator = 1 << 3
)

// MaxSize is the largest record that is read, in bytes: what fits into the
// extension of a TLS certificate.
const MaxSize = math.MaxUint16

// Record is a CMW record whose type is a media type.
type Record struct {
	Type  string
	Value []byte
	// Indicator is 0 if the record has none.
	Indicator Indicator
}

// The major types of CBOR (RFC 8949, section 3.1) that a record is made of.
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
)

var majorNames = [8]string{
	"an unsigned integer", "a negative integer", "a byte string", "a text string",
	"an array", "a map", "a tag", "a simple value",
}

// EncodeCBOR writes the record in deterministic CBOR (RFC 8949, section 4.2.1).
func (r Record) EncodeCBOR() []byte {
	out := appendHead(nil, majorArray, 3)
	out = append(appendHead(out, majorText, uint64(len(r.Type))), r.Type...)
	out = append(appendHead(out, majorBytes, uint64(len(r.Value))), r.Value...)
	return appendHead(out, majorUint, uint64(r.Indicator))
}

func appendHead(out []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(out, major|byte(arg))
	case arg <= math.MaxUint8:
		return append(out, major|24, byte(arg))
	case arg <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(out, major|25), uint16(arg))
	case arg <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(out, major|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(out, major|27), arg)
}

// Decode reads a record of either serialisation. It refers to data.
func Decode(data []byte) (Record, error) {
	if len(data) > MaxSize {
		return Record{}, fmt.Errorf("a CMW of %d bytes, at most %d are read", len(data), MaxSize)
	}
	var r Record
	var err error
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		r, err = decodeJSON(data)
	} else {
		r, err = decodeCBOR(data)
	}
	switch {
	case err != nil:
	case r.Type == "":
		err = errors.New("type is empty")
	case len(r.Value) == 0:
		err = errors.New("value is empty")
	}
	if err != nil {
		return Record{}, fmt.Errorf("CMW: %w", err)
	}
	return r, nil
}

var errNoKind = errors.New("the indicator is 0: it says that it is nothing")

var errRecord = errors.New("a record has a type, a value and at most an indicator")

func decodeCBOR(data []byte) (Record, error) {
	var r Record
	c := cursor{data}
	n, err := c.head(majorArray)
	if err != nil {
		return r, fmt.Errorf("not a CBOR record: %w", err)
	}
	if n != 2 && n != 3 {
		return r, errRecord
	}
	text, err := c.string(majorText)
	if err != nil {
		return r, fmt.Errorf("type: %w", err)
	}
	if !utf8.Valid(text) {
		return r, errors.New("type: not UTF-8")
	}
	r.Type = string(text)
	if r.Value, err = c.string(majorBytes); err != nil {
		return r, fmt.Errorf("value: %w", err)
	}
	if n == 3 {
		indicator, err := c.head(majorUint)
		if err != nil {
			return r, fmt.Errorf("indicator: %w", err)
		}
		if indicator == 0 {
			return r, errNoKind
		}
		r.Indicator = Indicator(indicator)
	}
	if len(c.rest) > 0 {
		return r, fmt.Errorf("%d bytes after the record", len(c.rest))
	}
	return r, nil
}

// cursor reads CBOR whose heads are in their shortest form.
type cursor struct{ rest []byte }

func (c *cursor) head(major byte) (uint64, error) {
	if len(c.rest) == 0 {
		return 0, errors.New("cut short")
	}
	first := c.rest[0]
	if first>>5 != major {
		return 0, fmt.Errorf("%s stands where %s belongs", majorNames[first>>5], majorNames[major])
	}
	info := first & 31
	if info < 24 {
		c.rest = c.rest[1:]
		return uint64(info), nil
	}
	if info > 27 {
		return 0, errors.New("an indefinite or reserved length")
	}
	size := 1 << (info - 24)
	if len(c.rest) < 1+size {
		return 0, errors.New("cut short")
	}
	var arg uint64
	for _, b := range c.rest[1 : 1+size] {
		arg = arg<<8 | uint64(b)
	}
	smallest := uint64(24)
	if size > 1 {
		smallest = 1 << (8 * size / 2)
	}
	if arg < smallest {
		return 0, errors.New("a length that is not in its shortest form")
	}
	c.rest = c.rest[1+size:]
	return arg, nil
}

func (c *cursor) string(major byte) ([]byte, error) {
	n, err := c.head(major)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(c.rest)) {
		return nil, errors.New("cut short")
	}
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s, nil
}

func decodeJSON(data []byte) (Record, error) {
	var r Record
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return r, fmt.Errorf("not a JSON record: %w", err)
	}
	if len(parts) < 2 || len(parts) > 3 {
		return r, errRecord
	}
	var value string
	if err := json.Unmarshal(parts[0], &r.Type); err != nil {
		return r, fmt.Errorf("type: %w", err)
	}
	if err := json.Unmarshal(parts[1], &value); err != nil {
		return r, fmt.Errorf("value: %w", err)
	}
	var err error
	if r.Value, err = base64.RawURLEncoding.Strict().DecodeString(value); err != nil {
		return r, fmt.Errorf("value: %w", err)
	}
	if len(parts) == 3 {
		var indicator uint64
		if err := json.Unmarshal(parts[2], &indicator); err != nil {
			return r, fmt.Errorf("indicator: %w", err)
		}
		if indicator == 0 {
			return r, errNoKind
		}
		r.Indicator = Indicator(indicator)
	}
	return r, nil
}
