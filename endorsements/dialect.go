// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"errors"
	"fmt"
	"time"
)

// Dialect is one of the CBOR serialisations in which CoRIMs of the profile are
// deployed. They have the same content. The zero value is no dialect.
type Dialect int

const (
	// DialectV1 is the dialect of Veraison until v0.0.2602: the CoRIM is an
	// untagged map, its profile a text string, each CoMID a byte string that
	// holds tag 506 around the map, and an instance a UEID (tag 550).
	DialectV1 Dialect = 1
	// DialectV2 is the dialect of Veraison after v0.0.2608, which follows
	// draft-ietf-rats-corim-11: the CoRIM is a map in tag 501, its profile a
	// URI (tag 32), each CoMID tag 506 around a byte string that holds the map,
	// and an instance bytes (tag 560).
	DialectV2 Dialect = 2
	// DialectV2Text is DialectV2 with a profile that is a text string still: what
	// the releases v0.0.2603 to v0.0.2608 take, which take no URI. Later ones
	// take nothing else than a URI. The media types are the same, so that they
	// do not say which of the two a service takes.
	DialectV2Text Dialect = 3
)

// tagged says whether CoRIMs in the dialect have tags around them, and so does
// what is in them.
func (d Dialect) tagged() bool { return d == DialectV2 || d == DialectV2Text }

// known says whether there is such a dialect.
func (d Dialect) known() bool { return d == DialectV1 || d.tagged() }

// The media types under which Veraison's provisioning services take CoRIMs of
// the profile. They compare them byte for byte.
const (
	MediaTypeUnsignedV1 = `application/corim-unsigned+cbor; profile="` + Profile + `"`
	MediaTypeSignedV1   = `application/corim-signed+cbor; profile="` + Profile + `"`
	MediaTypeUnsignedV2 = `application/rim+cbor; profile="` + Profile + `"`
	MediaTypeSignedV2   = `application/rim+cose; profile="` + Profile + `"`
)

// MediaType returns the media type of CoRIMs in the dialect, signed or not. It
// is empty for what is no dialect.
func (d Dialect) MediaType(signed bool) string {
	switch {
	case d == DialectV1 && signed:
		return MediaTypeSignedV1
	case d == DialectV1:
		return MediaTypeUnsignedV1
	case d.tagged() && signed:
		return MediaTypeSignedV2
	case d.tagged():
		return MediaTypeUnsignedV2
	}
	return ""
}

// String names the dialect for messages.
func (d Dialect) String() string {
	switch d {
	case DialectV1:
		return "v1 (Veraison until v0.0.2602)"
	case DialectV2:
		return "v2 (Veraison after v0.0.2608)"
	case DialectV2Text:
		return "v2-text (Veraison v0.0.2603 to v0.0.2608)"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// UnsupportedDialectError says that a CoRIM was asked for in a dialect that
// does not exist, such as the zero value.
type UnsupportedDialectError struct{ Dialect Dialect }

// Error names the dialects that there are.
func (e *UnsupportedDialectError) Error() string {
	return fmt.Sprintf("unsupported dialect: %s; expected %s, %s or %s", e.Dialect, DialectV1, DialectV2, DialectV2Text)
}

// ErrSigned says that a CoRIM is inside a COSE_Sign1 message where an unsigned
// one is read. Package endorsements/signed verifies it first.
var ErrSigned = errors.New("the CoRIM is signed (COSE_Sign1); expected an unsigned one, or to be told whose signature to trust")

// manifest is a CoRIM with its dialect's framing taken off: the seam between
// the dialects, which differ in it, and the profile.
type manifest struct {
	dialect             Dialect
	id                  string
	profile             string
	hasProfile          bool
	notBefore, notAfter time.Time
	entities            []Entity
	comids              [][]byte // each a concise-mid-tag map, checked to be well formed
	layout              []item   // of the CoRIM map, in its order
}

// item is a key and its value in a CoRIM map as they were read.
type item struct {
	key   int
	value []byte
}

// instanceTag is the CBOR tag with which an AK's key identifier is written.
func (d Dialect) instanceTag() uint64 {
	if d.tagged() {
		return tagBytes
	}
	return tagUEID
}

// readManifest recognises the dialect by content and takes the framing off.
func readManifest(data []byte) (*manifest, error) {
	if len(data) == 0 {
		return nil, fault("no data; expected a CoRIM")
	}
	limit, isSigned := MaxCorimSize, signed(data)
	if isSigned {
		limit = MaxSignedSize
	}
	if len(data) > limit {
		return nil, fault("%d bytes; expected at most %d", len(data), limit)
	}
	if err := checkWellFormed(data); err != nil {
		return nil, err
	}
	if isSigned {
		return nil, fault("%w", ErrSigned)
	}
	r := reader{data}
	dialect := DialectV1
	if r.at(majorTag) {
		if err := r.tag(tagUnsignedCorim, "a CoRIM, a map (dialect v1) or tag 501 (dialect v2)"); err != nil {
			return nil, err
		}
		dialect = DialectV2
	}
	return readCorimMap(r, dialect)
}

// signed looks at the outermost tags and the first item in them. Only a
// COSE_Sign1 message is an array of four (RFC 9052, 4.2); tags around it were
// in use up to draft-ietf-rats-corim-06.
func signed(data []byte) bool {
	for r := (reader{data}); ; {
		major, arg, err := r.head()
		switch {
		case err != nil:
			return false
		case major == majorTag && (arg == tagSignedCorim || arg == tagCOSESign1):
			return true
		case major == majorTag && arg == tagCorimChoice:
			continue
		}
		return major == majorArray && arg == 4
	}
}

const (
	corimID = iota
	corimTags
	corimDependentRims
	corimProfile
	corimValidity
	corimEntities
)

var corimFields = []string{"corim-id", "tags", "dependent-rims", "profile", "validity", "entities"}

// readCorimMap reads a corim-map (draft-ietf-rats-corim-11, 4.1).
func readCorimMap(r reader, dialect Dialect) (*manifest, error) {
	m := &manifest{dialect: dialect}
	var tags []taggedComid
	seen, err := r.fields("a CoRIM map", corimFields, func(key int) (err error) {
		start := r.rest
		switch key {
		case corimID:
			m.id, err = readTagID(&r)
		case corimTags:
			err = r.list("an array of CoMIDs", func(i int) error {
				tag, err := readTag(&r, dialect)
				if err != nil {
					return inElement(i, err)
				}
				tags = append(tags, tag)
				return nil
			})
		case corimProfile:
			m.hasProfile = true
			if dialect.tagged() && r.at(majorText) {
				m.dialect = DialectV2Text
			}
			m.profile, err = readProfile(&r, m.dialect)
		case corimValidity:
			m.notBefore, m.notAfter, err = readValidity(&r)
		case corimEntities:
			m.entities, err = readEntities(&r, corimRoles(dialect))
			if err == nil {
				err = checkSigners(m.entities)
			}
		default: // dependent-rims: what they hold would be missing here.
			err = fault("not in the profile; each CoRIM must be complete in itself")
		}
		m.layout = append(m.layout, item{key, start[:len(start)-len(r.rest)]})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if !seen.has(corimID) {
		return nil, inField("corim-id", fault("missing; expected text or a UUID"))
	}
	if !seen.has(corimTags) {
		return nil, inField("tags", fault("missing; expected at least one CoMID"))
	}
	// Before the CoMIDs, which can be anything under another profile.
	if err := m.checkProfile(); err != nil {
		return nil, inField("profile", err)
	}
	for i, tag := range tags {
		comid, err := tag.unwrap(dialect)
		if err != nil {
			return nil, inComid(i, err)
		}
		m.comids = append(m.comids, comid)
	}
	return m, nil
}

// readProfile reads the identifier of the profile.
func readProfile(r *reader, d Dialect) (string, error) {
	if d == DialectV1 {
		const expected = "a text string, " + Profile
		if r.atTag(tagURI) {
			return "", fault("expected %s, found tag 32; a CoRIM in dialect v2 has tag 501 around it", expected)
		}
		return r.text(expected)
	}
	if d == DialectV2Text {
		return r.text("a text string, " + Profile)
	}
	const expected = "a URI (tag 32), " + Profile
	if err := r.tag(tagURI, expected); err != nil {
		return "", err
	}
	return r.text(expected)
}

// taggedComid is an element of the tags of a CoRIM. The number is that of the
// tag in DialectV2 and DialectV2Text; in DialectV1 it is inside the content.
type taggedComid struct {
	number  uint64
	content []byte
}

func readTag(r *reader, d Dialect) (tag taggedComid, err error) {
	if d == DialectV1 {
		if r.atTag(tagCoMID) { // 506(bytes)
			return tag, fault("expected a byte string that holds a CoMID, found tag 506; a CoRIM in dialect v2 has tag 501 around it")
		}
		tag.content, err = r.bytes("a byte string that holds a CoMID")
		return tag, err
	}
	if tag.number, err = r.take(majorTag, "a CoMID (tag 506)"); err != nil {
		return tag, err
	}
	tag.content, err = r.bytes("a byte string that holds a CoMID")
	return tag, err
}

// unwrap returns a CoMID's map. What the byte string holds has not been checked
// yet: to the outer CBOR it is opaque.
func (t taggedComid) unwrap(d Dialect) ([]byte, error) {
	if d.tagged() {
		// First, because the content of another tag is not ours to check.
		if err := expectCoMID(t.number); err != nil {
			return nil, err
		}
	}
	if err := checkWellFormed(t.content); err != nil {
		return nil, err
	}
	if d.tagged() {
		return t.content, nil
	}
	r := reader{t.content} // 506(map)
	number, err := r.take(majorTag, "a CoMID (tag 506)")
	if err != nil {
		return nil, err
	}
	return r.rest, expectCoMID(number)
}

// expectCoMID says of another tag what it is.
func expectCoMID(number uint64) error {
	const expected = "a CoMID (tag 506)"
	switch number {
	case tagCoMID:
		return nil
	case tagCoSWID:
		return fault("expected %s, found a CoSWID (tag 505), which is not in the profile", expected)
	case tagCoTS:
		return fault("expected %s, found a CoTS (tag 507), which is not in the profile", expected)
	case tagCoTL:
		return fault("expected %s, found a CoTL (tag 508), which is not in the profile", expected)
	}
	return fault("expected %s, found tag %d", expected, number)
}

// readTagID reads a corim-id or a tag-id: text, or 16 bytes of a UUID
// (draft-ietf-rats-corim-11, 4.1.1 and 5.1.1.1).
func readTagID(r *reader) (string, error) {
	const expected = "text or a UUID of 16 bytes"
	if r.at(majorText) {
		id, err := r.text(expected)
		if err == nil && id == "" {
			return "", fault("expected %s, found an empty text string", expected)
		}
		return id, err
	}
	before := *r
	id, err := r.bytes(expected)
	if err != nil {
		return "", err
	}
	if len(id) != 16 {
		return "", fault("expected %s, found %s", expected, before.next())
	}
	return formatUUID([16]byte(id)), nil
}

const (
	validityNotBefore = iota
	validityNotAfter
)

// readValidity reads a validity-map (draft-ietf-rats-corim-11, 7.3).
func readValidity(r *reader) (notBefore, notAfter time.Time, err error) {
	seen, err := r.fields("a validity map", []string{"not-before", "not-after"}, func(key int) error {
		t, err := readTime(r)
		if err != nil {
			return err
		}
		if key == validityNotBefore {
			notBefore = t
		} else {
			notAfter = t
		}
		return nil
	})
	if err != nil {
		return notBefore, notAfter, err
	}
	if !seen.has(validityNotAfter) {
		return notBefore, notAfter, inField("not-after", fault("missing; expected seconds since 1970 (tag 1)"))
	}
	return notBefore, notAfter, checkPeriod(notBefore, notAfter)
}

// maxTime is the end of the year 9999, the last that RFC 3339 can write.
const maxTime = 253402300799

// readTime reads an epoch time (RFC 8949, 3.4.2) in whole seconds. A time
// before 1970 would be a mistake, and one of them is Go's zero time, which
// here means that there is no limit.
func readTime(r *reader) (time.Time, error) {
	const expected = "whole seconds since 1970 (tag 1)"
	if err := r.tag(tagEpochTime, expected); err != nil {
		return time.Time{}, err
	}
	before := *r
	seconds, err := r.uint(expected)
	if err != nil {
		return time.Time{}, err
	}
	if seconds > maxTime {
		return time.Time{}, fault("expected %s until the year 9999, found %s", expected, before.next())
	}
	return time.Unix(int64(seconds), 0).UTC(), nil
}
