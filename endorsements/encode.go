// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Encode writes the CoRIM: the anchors in one CoMID, the states in another.
// The same content gives the same bytes, and [Decode] gives the content back.
// An anchor or a state that occurs twice is written once. The identity of a
// CoMID is derived from its content, and is the same in all dialects. Faults
// are of the same types as Decode's; an unknown dialect is an
// [*UnsupportedDialectError].
func (c *Corim) Encode(d Dialect) ([]byte, error) {
	if !d.known() {
		return nil, &UnsupportedDialectError{Dialect: d}
	}
	var b builder
	anchors, states, err := b.add(c)
	if err != nil {
		return nil, err
	}
	if len(anchors) == 0 && len(states) == 0 {
		return nil, fault("no anchors and no states; expected at least one")
	}
	manifest := wireCorim{Profile: d.wireProfile()}
	if manifest.ID, err = wireID(c.ID); err != nil {
		return nil, inField("corim-id", err)
	}
	if manifest.Validity, err = c.wireValidity(); err != nil {
		return nil, inField("validity", err)
	}
	if err := checkEntities(c.Entities, d); err != nil {
		return nil, inField("entities", err)
	}
	for _, e := range c.Entities {
		manifest.Entities = append(manifest.Entities, e.wire())
	}
	classes, err := c.wireClasses()
	if err != nil {
		return nil, inField("classes", err)
	}
	var keys []wireKeyTriple
	for i, a := range anchors {
		triple, err := a.wire(classes)
		if err != nil {
			return nil, inField(fmt.Sprintf("anchors[%d]", i), err)
		}
		keys = append(keys, triple)
	}
	var values []wireValueTriple
	for _, s := range states {
		values = append(values, s.wire(classes))
	}
	for _, triples := range []wireTriples{{AttesterKeys: keys}, {ReferenceValues: values}} {
		if len(triples.AttesterKeys) == 0 && len(triples.ReferenceValues) == 0 {
			continue
		}
		tag, err := triples.comid(d)
		if err != nil {
			return nil, err
		}
		manifest.Tags = append(manifest.Tags, tag)
	}
	data, err := marshal(d.wireManifest(manifest))
	if err != nil {
		return nil, err
	}
	if err := checkSize(data); err != nil {
		return nil, err
	}
	return data, nil
}

// checkSize refuses what Decode would refuse.
func checkSize(data []byte) error {
	if len(data) > MaxCorimSize {
		return fault("%d bytes; expected at most %d", len(data), MaxCorimSize)
	}
	return nil
}

// The structures of draft-ietf-rats-corim-11 as far as the profile has them.
// The reader for them is in dialect.go and profile.go.
type (
	wireCorim struct { // 4.1
		ID       any           `cbor:"0,keyasint"`
		Tags     []any         `cbor:"1,keyasint"`
		Profile  any           `cbor:"3,keyasint"`
		Validity *wireValidity `cbor:"4,keyasint,omitempty"`
		Entities []wireEntity  `cbor:"5,keyasint,omitempty"`
	}
	wireEntity struct { // 7.2
		Name  string    `cbor:"0,keyasint"`
		RegID *cbor.Tag `cbor:"1,keyasint,omitempty"`
		Roles []uint64  `cbor:"2,keyasint"`
	}
	wireValidity struct { // 7.3
		NotBefore *cbor.Tag `cbor:"0,keyasint,omitempty"`
		NotAfter  cbor.Tag  `cbor:"1,keyasint"`
	}
	wireComid struct { // 5.1
		TagIdentity wireTagIdentity `cbor:"1,keyasint"`
		Triples     cbor.RawMessage `cbor:"4,keyasint"`
	}
	wireTagIdentity struct { // 5.1.1
		ID []byte `cbor:"0,keyasint"`
	}
	wireTriples struct { // 5.1.4
		ReferenceValues []wireValueTriple `cbor:"0,keyasint,omitempty"`
		AttesterKeys    []wireKeyTriple   `cbor:"3,keyasint,omitempty"`
	}
	wireEnvironment struct { // 5.1.4.1
		Class    wireClass `cbor:"0,keyasint"`
		Instance *cbor.Tag `cbor:"1,keyasint,omitempty"`
	}
	wireClass struct { // 5.1.4.2
		ID     cbor.Tag `cbor:"0,keyasint"`
		Vendor string   `cbor:"1,keyasint,omitempty"`
		Model  string   `cbor:"2,keyasint,omitempty"`
	}
	wireKeyTriple struct { // 5.1.10
		_           struct{} `cbor:",toarray"`
		Environment wireEnvironment
		Keys        []cbor.Tag
	}
	wireValueTriple struct { // 5.1.5
		_            struct{} `cbor:",toarray"`
		Environment  wireEnvironment
		Measurements []wireMeasurement
	}
	wireMeasurement struct { // 5.1.4.4
		Key   uint                  `cbor:"0,keyasint"`
		Value wireMeasurementValues `cbor:"1,keyasint"`
	}
	wireMeasurementValues struct { // 5.1.4.4.2
		Digests []wireDigest `cbor:"2,keyasint"`
	}
	wireDigest struct { // 7.7
		_         struct{} `cbor:",toarray"`
		Algorithm uint
		Value     []byte
	}
)

var encMode = sync.OnceValues(cbor.CoreDetEncOptions().EncMode)

func marshal(v any) ([]byte, error) {
	mode, err := encMode()
	if err != nil {
		return nil, fault("%w", err)
	}
	data, err := mode.Marshal(v)
	if err != nil {
		return nil, fault("%w", err)
	}
	return data, nil
}

func (d Dialect) wireProfile() any {
	if d == DialectV2 {
		return uriTag(Profile)
	}
	return Profile
}

func (d Dialect) wireManifest(m wireCorim) any {
	if d == DialectV1 {
		return m
	}
	return cbor.Tag{Number: tagUnsignedCorim, Content: m}
}

func (e Entity) wire() wireEntity {
	w := wireEntity{Name: e.Name}
	if e.RegID != "" {
		w.RegID = uriTag(e.RegID)
	}
	for _, role := range e.Roles {
		w.Roles = append(w.Roles, uint64(role))
	}
	return w
}

// wireID writes a UUID in 16 bytes. One in upper case remains text, because
// reading it back would change it.
func wireID(id string) (any, error) {
	if id == "" || !utf8.ValidString(id) {
		return nil, fault("expected text or a UUID, found %s", quote(id))
	}
	if uuid, ok := parseUUID(id); ok && formatUUID(uuid) == id {
		return uuid[:], nil
	}
	return id, nil
}

func (c *Corim) wireValidity() (*wireValidity, error) {
	if c.NotBefore.IsZero() && c.NotAfter.IsZero() {
		return nil, nil
	}
	if c.NotAfter.IsZero() {
		return nil, inField("not-after", fault("missing; expected a time, because there is a not-before"))
	}
	notAfter, err := wireTime(c.NotAfter)
	if err != nil {
		return nil, inField("not-after", err)
	}
	if err := checkPeriod(c.NotBefore, c.NotAfter); err != nil {
		return nil, err
	}
	v := &wireValidity{NotAfter: notAfter}
	if !c.NotBefore.IsZero() {
		notBefore, err := wireTime(c.NotBefore)
		if err != nil {
			return nil, inField("not-before", err)
		}
		v.NotBefore = &notBefore
	}
	return v, nil
}

func wireTime(t time.Time) (cbor.Tag, error) {
	if s := t.Unix(); t.Nanosecond() != 0 || s < 0 || s > maxTime {
		return cbor.Tag{}, fault("expected whole seconds between 1970 and 9999, found %s", t.UTC().Format(time.RFC3339Nano))
	}
	return cbor.Tag{Number: tagEpochTime, Content: t.Unix()}, nil
}

// wire checks the anchor once more, because its fields can be set by anybody.
func (a TrustAnchor) wire(classes map[string]ClassDescription) (wireKeyTriple, error) {
	checked, err := NewTrustAnchor(a.Class, a.KID, a.PEM)
	if err != nil {
		return wireKeyTriple{}, err
	}
	if checked.Class != a.Class {
		return wireKeyTriple{}, inField("class", fault("expected %s, found %s", checked.Class, a.Class))
	}
	if !sameKey(checked.Key, a.Key) {
		return wireKeyTriple{}, inField("key", fault("expected the key that is in its PEM, found another"))
	}
	return wireKeyTriple{
		Environment: wireEnvironment{
			Class:    newWireClass(a.Class).describedBy(classes[a.Class]),
			Instance: &cbor.Tag{Number: tagUEID, Content: []byte(a.KID)},
		},
		Keys: []cbor.Tag{{Number: tagPKIXBase64Key, Content: a.PEM}},
	}, nil
}

func newWireClass(class string) wireClass {
	id, _ := parseUUID(class) // checked when the anchor or state was made
	return wireClass{ID: cbor.Tag{Number: tagUUID, Content: id[:]}}
}

// describedBy adds what is said of the class, if anything.
func (c wireClass) describedBy(d ClassDescription) wireClass {
	c.Vendor, c.Model = d.Vendor, d.Model
	return c
}

// wireClasses checks descriptions that anybody can have put together, and
// refuses one that would not be written.
func (c *Corim) wireClasses() (map[string]ClassDescription, error) {
	if len(c.Classes) == 0 {
		return nil, nil
	}
	used := make(map[string]bool)
	for _, a := range c.Anchors {
		used[a.Class] = true
	}
	for _, s := range c.States {
		used[s.class] = true
	}
	classes := make(map[string]ClassDescription, len(c.Classes))
	for i, d := range c.Classes {
		if _, twice := classes[d.Class]; twice {
			return nil, inElement(i, fault("class %s is described twice", d.Class))
		}
		if !used[d.Class] {
			return nil, inElement(i, fault("expected a class of the anchors and states, found %s", quote(d.Class)))
		}
		if d.Vendor == "" && d.Model == "" {
			return nil, inElement(i, fault("expected a vendor or a model, found none"))
		}
		if !utf8.ValidString(d.Vendor) {
			return nil, inElement(i, inField("vendor", fault("expected text, found %s", quote(d.Vendor))))
		}
		if !utf8.ValidString(d.Model) {
			return nil, inElement(i, inField("model", fault("expected text, found %s", quote(d.Model))))
		}
		classes[d.Class] = d
	}
	return classes, nil
}

// wire writes one measurement for each PCR, with the digests of all its banks.
func (s ReferenceState) wire(classes map[string]ClassDescription) wireValueTriple {
	t := wireValueTriple{Environment: wireEnvironment{Class: newWireClass(s.class).describedBy(classes[s.class])}}
	for index := range maxPCR + 1 {
		var digests []wireDigest
		for _, bank := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			if digest, ok := s.Digest(PCR{bank, index}); ok {
				digests = append(digests, wireDigest{Algorithm: namedInformation(bank), Value: digest})
			}
		}
		if len(digests) > 0 {
			t.Measurements = append(t.Measurements, wireMeasurement{
				Key: uint(index), Value: wireMeasurementValues{Digests: digests},
			})
		}
	}
	return t
}

// namedInformation is the inverse of readBank.
func namedInformation(bank crypto.Hash) uint {
	switch bank {
	case crypto.SHA256:
		return 1
	case crypto.SHA384:
		return 7
	default:
		return 8
	}
}

// comid frames the triples as an element of the CoRIM's tags: bytes(506(map)) in
// DialectV1, 506(bytes(map)) in the others.
func (t wireTriples) comid(d Dialect) (any, error) {
	triples, err := marshal(t)
	if err != nil {
		return nil, err
	}
	// Of the triples as DialectV1 has them, for one identity in all dialects.
	id := contentID(triples)
	if d.tagged() && len(t.AttesterKeys) > 0 {
		for _, k := range t.AttesterKeys {
			k.Environment.Instance.Number = d.instanceTag()
		}
		if triples, err = marshal(t); err != nil {
			return nil, err
		}
	}
	comid := wireComid{TagIdentity: wireTagIdentity{ID: id[:]}, Triples: triples}
	if d == DialectV1 {
		return marshal(cbor.Tag{Number: tagCoMID, Content: comid})
	}
	content, err := marshal(comid)
	return cbor.Tag{Number: tagCoMID, Content: content}, err
}

// contentID names a CoMID by its triples, so that neither chance nor time is
// in a CoRIM: a UUIDv8 made from SHA-256 (RFC 9562, 5.8 and B.2).
func contentID(triples []byte) [16]byte {
	h := sha256.New()
	h.Write([]byte(Profile))
	h.Write([]byte{0})
	h.Write(triples)
	id := [16]byte(h.Sum(nil)[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// uriTag is a URI (RFC 8949, 3.4.5.3).
func uriTag(uri string) *cbor.Tag { return &cbor.Tag{Number: tagURI, Content: uri} }

// The structures of a signed CoRIM. The reader for them is in sign1.go.
type (
	wireHeader struct { // 4.2.1
		Algorithm   int64  `cbor:"1,keyasint"`
		ContentType string `cbor:"3,keyasint"`
		KeyID       []byte `cbor:"4,keyasint,omitempty"`
		Meta        []byte `cbor:"8,keyasint"`
		Chain       any    `cbor:"33,keyasint,omitempty"`
	}
	wireMeta struct { // 4.2.3
		Signer   wireSigner    `cbor:"0,keyasint"`
		Validity *wireValidity `cbor:"1,keyasint,omitempty"`
	}
	wireSigner struct { // 4.2.3.1
		Name string    `cbor:"0,keyasint"`
		URI  *cbor.Tag `cbor:"1,keyasint,omitempty"`
	}
)
