// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// CBOR major types (RFC 8949, 3.1).
const (
	majorUint byte = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

// CBOR tag numbers: of RFC 8949, 3.4, of RFC 9052, 2, of the IANA registry for
// UUIDs, and from 500 on of draft-ietf-rats-corim-11, 11.2.
const (
	tagEpochTime     = 1
	tagCOSESign1     = 18
	tagURI           = 32
	tagUUID          = 37
	tagCorimChoice   = 500 // up to draft-ietf-rats-corim-06
	tagUnsignedCorim = 501
	tagSignedCorim   = 502 // up to draft-ietf-rats-corim-06
	tagCoSWID        = 505
	tagCoMID         = 506
	tagCoTS          = 507
	tagCoTL          = 508
	tagUEID          = 550
	tagPKIXBase64Key = 554
	tagBytes         = 560
)

// wellFormedness is the gate before the reader, which then sees duplicate keys.
// Nothing in the profile nests deeper than ten levels.
var wellFormedness = sync.OnceValues(cbor.DecOptions{
	IndefLength:      cbor.IndefLengthForbidden,
	MaxNestedLevels:  16,
	MaxArrayElements: 1 << 16,
	MaxMapPairs:      64,
}.DecMode)

// checkWellFormed refuses what is not exactly one bounded CBOR item.
func checkWellFormed(data []byte) error {
	mode, err := wellFormedness()
	if err != nil {
		return fault("%w", err)
	}
	if err := mode.Wellformed(data); err != nil {
		return fault("not well-formed CBOR within the limits: %w", err)
	}
	return nil
}

// reader takes from CBOR exactly the item that is asked for. A general decoder
// is more lenient than a verifier can be: it unwraps tags that nobody asked
// for, reads null as zero (PCR 0, say) and an array of numbers as a byte
// string, and passes over unknown map keys.
type reader struct{ rest []byte }

// head takes the first bytes of an item: its major type and its argument.
func (r *reader) head() (major byte, arg uint64, err error) {
	if len(r.rest) == 0 {
		return 0, 0, fault("the data ends too early")
	}
	major, info := r.rest[0]>>5, r.rest[0]&0x1f
	size := 0
	switch {
	case info < 24:
		arg = uint64(info)
	case info <= 27:
		size = 1 << (info - 24)
	default:
		// 31 would be an indefinite length, the others are reserved.
		return 0, 0, fault("indefinite length or reserved value; expected a definite length")
	}
	if len(r.rest) < 1+size {
		return 0, 0, fault("the data ends too early")
	}
	tail := r.rest[1 : 1+size]
	least := uint64(0) // the least argument that needs this many bytes
	switch size {
	case 1:
		arg, least = uint64(tail[0]), 24
	case 2:
		arg, least = uint64(binary.BigEndian.Uint16(tail)), math.MaxUint8+1
	case 4:
		arg, least = uint64(binary.BigEndian.Uint32(tail)), math.MaxUint16+1
	case 8:
		arg, least = binary.BigEndian.Uint64(tail), math.MaxUint32+1
	}
	// One spelling for each value (RFC 8949, 4.1), so that a tag or a length is
	// what it looks like to a reader that compares bytes.
	if arg < least && major != majorSimple {
		return 0, 0, fault("%d is not in its shortest form", arg)
	}
	r.rest = r.rest[1+size:]
	return major, arg, nil
}

// next describes the next item for an error message.
func (r reader) next() string {
	if len(r.rest) == 0 {
		return "nothing"
	}
	first := r.rest[0]
	major, arg, err := r.head()
	if err != nil {
		return fmt.Sprintf("a malformed item (0x%02x)", first)
	}
	switch major {
	case majorUint:
		return fmt.Sprintf("the number %d", arg)
	case majorNegative:
		return "a negative number"
	case majorBytes:
		return fmt.Sprintf("a byte string (%d bytes)", arg)
	case majorText:
		return "a text string"
	case majorArray:
		return fmt.Sprintf("an array (%d elements)", arg)
	case majorMap:
		return "a map"
	case majorTag:
		return fmt.Sprintf("tag %d", arg)
	}
	switch first {
	case 0xf4, 0xf5:
		return "a boolean"
	case 0xf6:
		return "null"
	case 0xf7:
		return "undefined"
	case 0xf9, 0xfa, 0xfb:
		return "a floating-point number"
	}
	return "a simple value"
}

// at says whether the next item is of a major type.
func (r reader) at(major byte) bool {
	return len(r.rest) > 0 && r.rest[0]>>5 == major
}

// atTag says whether the next item has a tag.
func (r reader) atTag(number uint64) bool {
	major, arg, err := r.head()
	return err == nil && major == majorTag && arg == number
}

// take takes the head of an item of the wanted major type.
func (r *reader) take(want byte, expected string) (uint64, error) {
	before := *r
	major, arg, err := r.head()
	if err != nil {
		return 0, err
	}
	if major != want {
		return 0, fault("expected %s, found %s", expected, before.next())
	}
	return arg, nil
}

func (r *reader) uint(expected string) (uint64, error) {
	return r.take(majorUint, expected)
}

// integer takes a number of either sign that fits into 64 bits.
func (r *reader) integer(expected string) (int64, error) {
	before := *r
	major, arg, err := r.head()
	if err != nil {
		return 0, err
	}
	if arg > math.MaxInt64 || major > majorNegative {
		return 0, fault("expected %s, found %s", expected, before.next())
	}
	if major == majorNegative {
		return -1 - int64(arg), nil
	}
	return int64(arg), nil
}

// bytes takes a byte string. The result is a part of the input.
func (r *reader) bytes(expected string) ([]byte, error) {
	n, err := r.take(majorBytes, expected)
	if err != nil {
		return nil, err
	}
	return r.cut(n)
}

// text takes a text string.
func (r *reader) text(expected string) (string, error) {
	n, err := r.take(majorText, expected)
	if err != nil {
		return "", err
	}
	b, err := r.cut(n)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", fault("expected %s, found invalid UTF-8", expected)
	}
	return string(b), nil
}

func (r *reader) cut(n uint64) ([]byte, error) {
	if n > uint64(len(r.rest)) {
		return nil, fault("the data ends too early")
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b, nil
}

// tag takes the head of a tag; the tagged item is next.
func (r *reader) tag(number uint64, expected string) error {
	before := *r
	got, err := r.take(majorTag, expected)
	if err != nil {
		return err
	}
	if got != number {
		return fault("expected %s, found %s", expected, before.next())
	}
	return nil
}

// record takes the head of an array with exactly n elements.
func (r *reader) record(n uint64, expected string) error {
	before := *r
	got, err := r.take(majorArray, expected)
	if err != nil {
		return err
	}
	if got != n {
		return fault("expected %s, found %s", expected, before.next())
	}
	return nil
}

// list takes an array of at least one element; read takes the i-th.
func (r *reader) list(expected string, read func(i int) error) error {
	n, err := r.take(majorArray, expected)
	if err != nil {
		return err
	}
	if n == 0 {
		return fault("expected %s, found an empty array", expected)
	}
	for i := range n {
		if err := read(int(i)); err != nil {
			return err
		}
	}
	return nil
}

// keySet says which keys a map had.
type keySet uint64

func (s keySet) has(key int) bool { return s&(1<<key) != 0 }

// fields takes a map. A key is an index into names, and any other key is
// refused, also one whose name is empty; so is a key that occurs twice. read
// takes the key's value.
func (r *reader) fields(expected string, names []string, read func(key int) error) (keySet, error) {
	n, err := r.take(majorMap, expected)
	if err != nil {
		return 0, err
	}
	var seen keySet
	for range n {
		before := *r
		major, arg, err := r.head()
		if err != nil {
			return 0, err
		}
		if major == majorText {
			name, err := before.text("a key")
			if err != nil {
				return 0, err
			}
			return 0, fault("unknown key %s", quote(name))
		}
		if major == majorNegative && arg < math.MaxInt64 {
			return 0, fault("unknown key %d", -1-int64(arg))
		}
		if major != majorUint {
			return 0, fault("unknown key: %s", before.next())
		}
		if arg >= uint64(len(names)) || names[arg] == "" {
			return 0, fault("unknown key %d", arg)
		}
		key := int(arg)
		if seen.has(key) {
			return 0, inField(names[key], fault("there twice"))
		}
		seen |= 1 << key
		if err := read(key); err != nil {
			return 0, inField(names[key], err)
		}
	}
	return seen, nil
}

// end refuses bytes after the last item.
func (r *reader) end() error {
	if len(r.rest) != 0 {
		return fault("%d bytes after the end", len(r.rest))
	}
	return nil
}
