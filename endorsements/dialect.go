// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"fmt"
	"time"
)

// Dialect is one of the two CBOR serialisations in which CoRIMs of the profile
// are deployed. They have the same content. The zero value is no dialect.
type Dialect int

const (
	// DialectV1 is the dialect of Veraison until v0.0.2602: the CoRIM is an
	// untagged map, its profile a text string, each CoMID a byte string that
	// holds tag 506 around the map, and an instance a UEID (tag 550).
	DialectV1 Dialect = 1
	// DialectV2 is the dialect of Veraison since v0.0.2603. It is recognised,
	// but neither read nor written yet.
	DialectV2 Dialect = 2
)

// MediaTypeUnsignedV1 is the media type under which Veraison's provisioning
// service takes an unsigned CoRIM in [DialectV1].
const MediaTypeUnsignedV1 = `application/corim-unsigned+cbor; profile="` + Profile + `"`

// String names the dialect for messages.
func (d Dialect) String() string {
	switch d {
	case DialectV1:
		return "v1 (Veraison until v0.0.2602)"
	case DialectV2:
		return "v2 (Veraison since v0.0.2603)"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// UnsupportedDialectError says that a CoRIM is, or was asked to be, in a
// dialect that this version does not read or write.
type UnsupportedDialectError struct {
	Dialect Dialect
	// Signed says that the CoRIM is inside a COSE_Sign1 message.
	Signed bool
}

// Error says which dialect was met and which is supported.
func (e *UnsupportedDialectError) Error() string {
	kind := "CoRIM"
	if e.Signed {
		kind = "signed CoRIM (COSE_Sign1)"
	}
	return fmt.Sprintf("unsupported dialect: %s in dialect %s; expected an unsigned CoRIM in dialect %s",
		kind, e.Dialect, DialectV1)
}

// manifest is a CoRIM with its dialect's framing taken off: the seam between
// the dialects, which differ in it, and the profile.
type manifest struct {
	dialect             Dialect
	id                  string
	profile             string
	hasProfile          bool
	notBefore, notAfter time.Time
	comids              [][]byte // each a concise-mid-tag map, checked to be well formed
}

// instanceTag is the CBOR tag of an AK's key identifier.
func (d Dialect) instanceTag() uint64 {
	return tagUEID
}

// readManifest recognises the dialect by content and takes the framing off.
func readManifest(data []byte) (*manifest, error) {
	if len(data) == 0 {
		return nil, fault("no data; expected a CoRIM")
	}
	if len(data) > MaxCorimSize {
		return nil, fault("%d bytes; expected at most %d", len(data), MaxCorimSize)
	}
	if err := checkWellFormed(data); err != nil {
		return nil, err
	}
	if err := refuseOtherDialect(data); err != nil {
		return nil, err
	}
	return readManifestV1(data)
}

// refuseOtherDialect looks at the outermost tags and the first item in them.
// Only the newer dialect is tagged (draft-ietf-rats-corim-11, 4), and only a
// COSE_Sign1 message is an array of four (RFC 9052, 4.2). An untagged map is
// left to readManifestV1, which meets the newer dialect at the first tag.
func refuseOtherDialect(data []byte) error {
	unsupported := &UnsupportedDialectError{}
	for r := (reader{data}); ; {
		major, arg, err := r.head()
		if err != nil {
			return err
		}
		switch {
		case major == majorTag && (arg == tagCorimChoice || arg == tagUnsignedCorim):
			unsupported.Dialect = DialectV2
		case major == majorTag && (arg == tagSignedCorim || arg == tagCOSESign1),
			major == majorArray && arg == 4:
			unsupported.Dialect = DialectV2
			unsupported.Signed = true
		case unsupported.Dialect == 0:
			return nil
		default:
			return unsupported
		}
		if major != majorTag {
			return unsupported
		}
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

// readManifestV1 reads a corim-map (draft-ietf-rats-corim-11, 4.1).
func readManifestV1(data []byte) (*manifest, error) {
	r := reader{data}
	m := &manifest{dialect: DialectV1}
	var tags [][]byte
	seen, err := r.fields("a CoRIM map", corimFields, func(key int) (err error) {
		switch key {
		case corimID:
			m.id, err = readTagID(&r)
			return err
		case corimTags:
			return r.list("an array of CoMIDs", func(i int) error {
				if r.atTag(tagCoMID) { // 506(bytes)
					return inElement(i, &UnsupportedDialectError{Dialect: DialectV2})
				}
				tag, err := r.bytes("a byte string that holds a CoMID")
				if err != nil {
					return inElement(i, err)
				}
				tags = append(tags, tag)
				return nil
			})
		case corimProfile:
			if r.atTag(tagURI) { // 32(text)
				return &UnsupportedDialectError{Dialect: DialectV2}
			}
			m.hasProfile = true
			m.profile, err = r.text("a text string, " + Profile)
			return err
		case corimValidity:
			return m.readValidity(&r)
		case corimEntities:
			return readEntities(&r, corimRoles)
		default: // dependent-rims: what they hold would be missing here.
			return fault("not in the profile; each CoRIM must be complete in itself")
		}
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
		comid, err := unwrapComidV1(tag)
		if err != nil {
			return nil, inComid(i, err)
		}
		m.comids = append(m.comids, comid)
	}
	return m, nil
}

// unwrapComidV1 takes a CoMID out of 506(map). What the byte string holds has
// not been checked yet: to the outer CBOR it is opaque.
func unwrapComidV1(tag []byte) ([]byte, error) {
	if err := checkWellFormed(tag); err != nil {
		return nil, err
	}
	r := reader{tag}
	const expected = "a CoMID (tag 506)"
	number, err := r.take(majorTag, expected)
	if err != nil {
		return nil, err
	}
	switch number {
	case tagCoMID:
		return r.rest, nil
	case tagCoSWID:
		return nil, fault("expected %s, found a CoSWID (tag 505), which is not in the profile", expected)
	case tagCoTS:
		return nil, fault("expected %s, found a CoTS (tag 507), which is not in the profile", expected)
	case tagCoTL:
		return nil, fault("expected %s, found a CoTL (tag 508), which is not in the profile", expected)
	}
	return nil, fault("expected %s, found tag %d", expected, number)
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
func (m *manifest) readValidity(r *reader) error {
	seen, err := r.fields("a validity map", []string{"not-before", "not-after"}, func(key int) error {
		t, err := readTime(r)
		if err != nil {
			return err
		}
		if key == validityNotBefore {
			m.notBefore = t
		} else {
			m.notAfter = t
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !seen.has(validityNotAfter) {
		return inField("not-after", fault("missing; expected seconds since 1970 (tag 1)"))
	}
	return checkPeriod(m.notBefore, m.notAfter)
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

const (
	entityName = iota
	entityRegID
	entityRoles
)

// roles are the numbers of an entity's roles.
type roles struct {
	names       string
	first, last uint64
}

var (
	// The role of manifest-signer (2) is newer than the dialect.
	corimRoles = roles{"the role manifest-creator (1)", 1, 1}
	comidRoles = roles{"the role tag-creator (0), creator (1) or maintainer (2)", 0, 2}
)

var entityFields = []string{"name", "regid", "roles"}

// readEntities checks the form of entities (draft-ietf-rats-corim-11, 7.2),
// whose roles are those that their container knows. They describe the author
// and decide nothing.
func readEntities(r *reader, roles roles) error {
	return r.list("an array of entities", func(i int) error {
		seen, err := r.fields("an entity map", entityFields, func(key int) error {
			switch key {
			case entityName:
				name, err := r.text("a text string")
				if err == nil && name == "" {
					return fault("expected a text string, found an empty one")
				}
				return err
			case entityRegID:
				if err := r.tag(tagURI, "a URI (tag 32)"); err != nil {
					return err
				}
				uri, err := r.text("a URI (tag 32)")
				if err == nil && uri == "" {
					return fault("expected a URI (tag 32), found an empty one")
				}
				return err
			default:
				return r.list("an array of roles", func(i int) error {
					before := *r
					role, err := r.uint(roles.names)
					if err == nil && (role < roles.first || role > roles.last) {
						err = fault("expected %s, found %s", roles.names, before.next())
					}
					if err != nil {
						return inElement(i, err)
					}
					return nil
				})
			}
		})
		if err != nil {
			return inElement(i, err)
		}
		for _, key := range []int{entityName, entityRoles} {
			if !seen.has(key) {
				return inElement(i, inField(entityFields[key], fault("missing")))
			}
		}
		return nil
	})
}
