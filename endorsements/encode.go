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
// CoMID is derived from its content. Faults are of the same types as Decode's.
func (c *Corim) Encode(d Dialect) ([]byte, error) {
	if d != DialectV1 {
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
	manifest := wireCorim{Profile: Profile}
	if manifest.ID, err = wireID(c.ID); err != nil {
		return nil, inField("corim-id", err)
	}
	if manifest.Validity, err = c.wireValidity(); err != nil {
		return nil, inField("validity", err)
	}
	var keys []wireKeyTriple
	for i, a := range anchors {
		triple, err := a.wire(d)
		if err != nil {
			return nil, inField(fmt.Sprintf("anchors[%d]", i), err)
		}
		keys = append(keys, triple)
	}
	var values []wireValueTriple
	for _, s := range states {
		values = append(values, s.wire())
	}
	for _, triples := range []wireTriples{{AttesterKeys: keys}, {ReferenceValues: values}} {
		if len(triples.AttesterKeys) == 0 && len(triples.ReferenceValues) == 0 {
			continue
		}
		tag, err := triples.comidV1()
		if err != nil {
			return nil, err
		}
		manifest.Tags = append(manifest.Tags, tag)
	}
	data, err := marshal(manifest)
	if err != nil {
		return nil, err
	}
	if len(data) > MaxCorimSize {
		return nil, fault("%d bytes; expected at most %d", len(data), MaxCorimSize)
	}
	return data, nil
}

// The structures of draft-ietf-rats-corim-11 as far as the profile has them.
// The reader for them is in dialect.go and profile.go.
type (
	wireCorim struct { // 4.1
		ID       any           `cbor:"0,keyasint"`
		Tags     [][]byte      `cbor:"1,keyasint"`
		Profile  string        `cbor:"3,keyasint"`
		Validity *wireValidity `cbor:"4,keyasint,omitempty"`
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
		ID cbor.Tag `cbor:"0,keyasint"`
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
func (a TrustAnchor) wire(d Dialect) (wireKeyTriple, error) {
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
			Class:    newWireClass(a.Class),
			Instance: &cbor.Tag{Number: d.instanceTag(), Content: []byte(a.KID)},
		},
		Keys: []cbor.Tag{{Number: tagPKIXBase64Key, Content: a.PEM}},
	}, nil
}

func newWireClass(class string) wireClass {
	id, _ := parseUUID(class) // checked when the anchor or state was made
	return wireClass{ID: cbor.Tag{Number: tagUUID, Content: id[:]}}
}

// wire writes one measurement for each PCR, with the digests of all its banks.
func (s ReferenceState) wire() wireValueTriple {
	t := wireValueTriple{Environment: wireEnvironment{Class: newWireClass(s.class)}}
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

// comidV1 frames the triples for DialectV1: 506(map).
func (t wireTriples) comidV1() ([]byte, error) {
	triples, err := marshal(t)
	if err != nil {
		return nil, err
	}
	id := contentID(triples)
	return marshal(cbor.Tag{
		Number:  tagCoMID,
		Content: wireComid{TagIdentity: wireTagIdentity{ID: id[:]}, Triples: triples},
	})
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
