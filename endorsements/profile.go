// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"cmp"
	"crypto"
	"fmt"

	"github.com/veraison/eat"
)

// The kinds of triple that the profile has, as cocli's templates name them.
const (
	referenceValues = "reference-values"
	attesterKeys    = "attester-verification-keys"
)

// checkProfile: a CoRIM whose profile is not recognised is to be rejected as a
// whole (draft-ietf-rats-corim-11, 4.1).
func (m *manifest) checkProfile() error {
	if !m.hasProfile {
		return fault("missing; expected %q", Profile)
	}
	if m.profile != Profile {
		return fault("expected %q, found %s", Profile, quote(m.profile))
	}
	return nil
}

// profileReader gives the CoMIDs of a manifest the meaning that the profile
// has for them.
type profileReader struct {
	dialect Dialect
	corim   *Corim
	known   *builder // what this CoRIM has said already
	// described finds classes in corim.Classes.
	described map[string]int
	// instances, where Convert asks for it, collects the offsets of the tags of
	// instances in the CoMID that is being read, which is of size bytes.
	instances *[]int
	size      int
}

const (
	comidLang = iota
	comidTagIdentity
	comidEntities
	comidLinkedTags
	comidTriples
)

var comidFields = []string{"lang", "tag-identity", "entities", "linked-tags", "triples"}

// comid reads a concise-mid-tag (draft-ietf-rats-corim-11, 5.1).
func (p *profileReader) comid(data []byte) error {
	r := reader{data}
	p.size = len(data)
	seen, err := r.fields("a CoMID map", comidFields, func(key int) error {
		switch key {
		case comidLang:
			_, err := r.text("a language tag")
			return err
		case comidTagIdentity:
			return readTagIdentity(&r)
		case comidEntities:
			_, err := readEntities(&r, comidRoles)
			return err
		case comidTriples:
			return p.triples(&r)
		default: // linked-tags: "replaces" would make other CoMIDs void.
			return fault("not in the profile; a CoMID neither replaces nor supplements another")
		}
	})
	if err != nil {
		return err
	}
	for _, key := range []int{comidTagIdentity, comidTriples} {
		if !seen.has(key) {
			return inField(comidFields[key], fault("missing"))
		}
	}
	return r.end()
}

func readTagIdentity(r *reader) error {
	seen, err := r.fields("a tag-identity map", []string{"id", "version"}, func(key int) error {
		if key == 0 {
			_, err := readTagID(r)
			return err
		}
		_, err := r.uint("a version number")
		return err
	})
	if err == nil && !seen.has(0) {
		return inField("id", fault("missing; expected text or a UUID"))
	}
	return err
}

const (
	triplesReferenceValues = 0
	triplesAttesterKeys    = 3
)

// tripleKinds are those of draft-ietf-rats-corim-11, 5.1.4.
var tripleKinds = []string{
	triplesReferenceValues: referenceValues,
	1:                      "endorsed-values",
	2:                      "dev-identity-keys",
	triplesAttesterKeys:    attesterKeys,
	4:                      "dependency-triples",
	5:                      "membership-triples",
	6:                      "coswid-triples",
	8:                      "conditional-endorsement-series",
	10:                     "conditional-endorsements",
}

func (p *profileReader) triples(r *reader) error {
	seen, err := r.fields("a triples map", tripleKinds, func(key int) error {
		kind := tripleKinds[key]
		var read func(*reader) error
		switch key {
		case triplesReferenceValues:
			read = p.referenceValue
		case triplesAttesterKeys:
			read = p.attesterKey
		default:
			return inTriple(kind, -1, fault("not in the profile; expected %s or %s", referenceValues, attesterKeys))
		}
		err := r.list("an array of triples", func(i int) error {
			if err := read(r); err != nil {
				return inTriple(kind, i, err)
			}
			return nil
		})
		if err != nil {
			return inTriple(kind, -1, err)
		}
		return nil
	})
	if err == nil && seen == 0 {
		return fault("expected %s or %s, found an empty map", referenceValues, attesterKeys)
	}
	return err
}

// environment is an environment-map (draft-ietf-rats-corim-11, 5.1.4.1).
type environment struct {
	class string
	kid   eat.UEID // nil in a reference value
}

const (
	environmentClass = iota
	environmentInstance
	environmentGroup
)

var environmentFields = []string{"class", "instance", "group"}

// environment reads the environment of a triple. A reference value names a
// class and nothing narrower: what is meant for one instance must not be
// widened to its class.
func (p *profileReader) environment(r *reader, withInstance bool) (environment, error) {
	var env environment
	seen, err := r.fields("an environment map", environmentFields, func(key int) (err error) {
		switch {
		case key == environmentClass:
			env.class, err = p.class(r)
			return err
		case key == environmentInstance && withInstance:
			env.kid, err = p.instance(r)
			return err
		case withInstance:
			return fault("not in the profile; a key is known by class and instance alone")
		default:
			return fault("not in the profile; a reference value is for a whole class")
		}
	})
	if err != nil {
		return env, err
	}
	if !seen.has(environmentClass) {
		return env, inField("class", fault("missing; expected a class with a UUID as its id"))
	}
	if withInstance && !seen.has(environmentInstance) {
		return env, inField("instance", fault("missing; expected %s", expectedInstance))
	}
	return env, nil
}

const expectedInstance = "the key identifier of the AK, a UEID (tag 550) or bytes (tag 560)"

// instance reads the key identifier of an AK. Both tags are taken in both
// dialects: authors know their device by one identifier, and what evidence says
// is the same for both.
func (p *profileReader) instance(r *reader) (eat.UEID, error) {
	at := p.size - len(r.rest)
	if !r.atTag(tagBytes) {
		if err := r.tag(tagUEID, expectedInstance); err != nil {
			return nil, err
		}
	} else if err := r.tag(tagBytes, expectedInstance); err != nil {
		return nil, err
	}
	kid, err := r.bytes(expectedInstance)
	if err != nil {
		return nil, err
	}
	if p.instances != nil {
		*p.instances = append(*p.instances, at)
	}
	return checkKID(kid)
}

// class reads a class-map (draft-ietf-rats-corim-11, 5.1.4.2). Its id alone is
// the class. Vendor and model describe it; one id with two of either would be
// two classes, which evidence could not be told apart by.
func (p *profileReader) class(r *reader) (class string, err error) {
	const expected = "a UUID (tag 37)"
	var d ClassDescription
	seen, err := r.fields("a class map", []string{"id", "vendor", "model", "layer", "index"}, func(key int) error {
		switch key {
		case 0:
		case 1:
			d.Vendor, err = r.text("the vendor's name")
			return err
		case 2:
			d.Model, err = r.text("the model's name")
			return err
		default:
			return fault("not in the profile; a class is known by its id alone")
		}
		if err := r.tag(tagUUID, expected); err != nil {
			return err
		}
		before := *r
		id, err := r.bytes(expected)
		if err != nil {
			return err
		}
		if len(id) != 16 {
			return fault("expected %s of 16 bytes, found %s", expected, before.next())
		}
		class = formatUUID([16]byte(id))
		return nil
	})
	if err != nil {
		return "", err
	}
	if !seen.has(0) {
		return "", inField("id", fault("missing; expected %s", expected))
	}
	d.Class = class
	return class, p.describe(d)
}

// describe adds to what the CoRIM says of a class. It refuses a second vendor
// or model of one.
func (p *profileReader) describe(d ClassDescription) error {
	if d.Vendor == "" && d.Model == "" {
		return nil
	}
	i, ok := p.described[d.Class]
	if !ok {
		if p.described == nil {
			p.described = make(map[string]int)
		}
		p.described[d.Class] = len(p.corim.Classes)
		p.corim.Classes = append(p.corim.Classes, d)
		return nil
	}
	known := &p.corim.Classes[i]
	for _, part := range []struct {
		field string
		known *string
		now   string
	}{{"vendor", &known.Vendor, d.Vendor}, {"model", &known.Model, d.Model}} {
		if *part.known != "" && part.now != "" && *part.known != part.now {
			return inField(part.field, fault("%s, but this CoRIM has said %s of the same class id; a class is known by its id alone",
				quote(part.now), quote(*part.known)))
		}
		*part.known = cmp.Or(*part.known, part.now)
	}
	return nil
}

// attesterKey reads an attest-key-triple-record (draft-ietf-rats-corim-11,
// 5.1.10).
func (p *profileReader) attesterKey(r *reader) error {
	if err := r.record(2, "an array of environment and keys"); err != nil {
		return err
	}
	env, err := p.environment(r, true)
	if err != nil {
		return inField("environment", err)
	}
	anchor := TrustAnchor{Class: env.class, KID: env.kid}
	if anchor.PEM, anchor.Key, err = readKey(r); err != nil {
		return inField("verification-keys", err)
	}
	added, err := p.known.addAnchor(anchor)
	if err != nil {
		return inField("environment.instance", err)
	}
	if added {
		p.corim.Anchors = append(p.corim.Anchors, anchor)
	}
	return nil
}

// readKey reads the one crypto key (draft-ietf-rats-corim-11, 5.1.4.5).
func readKey(r *reader) (pem string, key crypto.PublicKey, err error) {
	if err := r.record(1, "an array of exactly one key"); err != nil {
		return "", nil, err
	}
	const expected = "a pkix-base64-key (tag 554)"
	if err := r.tag(tagPKIXBase64Key, expected); err != nil {
		return "", nil, inElement(0, err)
	}
	if pem, err = r.text(expected); err != nil {
		return "", nil, inElement(0, err)
	}
	if key, err = parseKeyPEM(pem); err != nil {
		return "", nil, inElement(0, err)
	}
	return pem, key, nil
}

// digestAt remembers where in the CoRIM a PCR value is.
type digestAt struct{ measurement, digest int }

// referenceValue reads a reference-triple-record (draft-ietf-rats-corim-11,
// 5.1.5): one state.
func (p *profileReader) referenceValue(r *reader) error {
	if err := r.record(2, "an array of environment and measurements"); err != nil {
		return err
	}
	env, err := p.environment(r, false)
	if err != nil {
		return inField("environment", err)
	}
	var values []PCRValue
	var places []digestAt
	err = r.list("an array of measurements", func(i int) error {
		read, err := readMeasurement(r)
		if err != nil {
			return inElement(i, err)
		}
		for j, v := range read {
			values = append(values, v)
			places = append(places, digestAt{i, j})
		}
		return nil
	})
	if err != nil {
		return inField("measurements", err)
	}
	state, at, err := newReferenceState(env.class, values)
	if err != nil {
		if at < 0 {
			return err
		}
		return inField(fmt.Sprintf("measurements[%d].value.digests[%d]", places[at].measurement, places[at].digest), err)
	}
	if p.known.addState(state) {
		p.corim.States = append(p.corim.States, state)
	}
	return nil
}

const (
	measurementKey = iota
	measurementValue
)

var measurementFields = []string{"key", "value", "authorized-by"}

// readMeasurement reads a measurement-map (draft-ietf-rats-corim-11,
// 5.1.4.4): one PCR in any number of banks.
func readMeasurement(r *reader) ([]PCRValue, error) {
	const expected = "the index of a PCR, 0 to 31"
	var index uint64
	var values []PCRValue
	seen, err := r.fields("a measurement map", measurementFields, func(key int) (err error) {
		switch key {
		case measurementKey:
			if index, err = r.uint(expected); err == nil && index > maxPCR {
				return fault("expected %s, found the number %d", expected, index)
			}
			return err
		case measurementValue:
			values, err = readMeasurementValues(r)
			return err
		default:
			return fault("not in the profile; whoever may provision speaks for every value")
		}
	})
	if err != nil {
		return nil, err
	}
	if !seen.has(measurementKey) {
		return nil, inField("key", fault("missing; expected %s", expected))
	}
	if !seen.has(measurementValue) {
		return nil, inField("value", fault("missing; expected digests"))
	}
	for i := range values {
		values[i].Index = int(index)
	}
	return values, nil
}

const mvalDigests = 2

// measurementValueFields are those of draft-ietf-rats-corim-11, 5.1.4.4.2.
var measurementValueFields = []string{
	0:           "version",
	1:           "svn",
	mvalDigests: "digests",
	3:           "flags",
	4:           "raw-value",
	5:           "raw-value-mask",
	6:           "mac-addr",
	7:           "ip-addr",
	8:           "serial-number",
	9:           "ueid",
	10:          "uuid",
	11:          "name",
	13:          "cryptokeys",
	14:          "integrity-registers",
	15:          "int-range",
}

// readMeasurementValues reads a measurement-values-map: digests and nothing
// else.
func readMeasurementValues(r *reader) (values []PCRValue, err error) {
	seen, err := r.fields("a map with digests", measurementValueFields, func(key int) error {
		if key != mvalDigests {
			return fault("not in the profile; only digests are compared")
		}
		return r.list("an array of digests", func(i int) error {
			v, err := readDigest(r)
			if err != nil {
				return inElement(i, err)
			}
			values = append(values, v)
			return nil
		})
	})
	if err == nil && !seen.has(mvalDigests) {
		return nil, inField("digests", fault("missing; expected at least one digest"))
	}
	return values, err
}

// readDigest reads a digest (draft-ietf-rats-corim-11, 7.7) of a PCR bank. It
// is a part of the input.
func readDigest(r *reader) (PCRValue, error) {
	if err := r.record(2, "an array of algorithm and digest"); err != nil {
		return PCRValue{}, err
	}
	bank, err := readBank(r)
	if err != nil {
		return PCRValue{}, err
	}
	before := *r
	digest, err := r.bytes("a byte string")
	if err != nil {
		return PCRValue{}, err
	}
	if len(digest) != bank.Size() {
		return PCRValue{}, fault("expected the %d bytes of %s, found %s", bank.Size(), bankName(bank), before.next())
	}
	return PCRValue{PCR: PCR{Bank: bank}, Digest: digest}, nil
}

// readBank reads the algorithm of a digest: a number of the IANA Named
// Information Hash Algorithm Registry. Authors who use another registry get to
// see which algorithm they named.
func readBank(r *reader) (crypto.Hash, error) {
	const expected = "sha-256 (1), sha-384 (7) or sha-512 (8)"
	before := *r
	if r.at(majorText) {
		name, err := r.text(expected)
		if err != nil {
			return 0, err
		}
		return 0, fault("expected %s as a number, found %s", expected, quote(name))
	}
	id, err := r.integer(expected)
	if err != nil {
		return 0, err
	}
	switch id {
	case 1:
		return crypto.SHA256, nil
	case 7:
		return crypto.SHA384, nil
	case 8:
		return crypto.SHA512, nil
	}
	if name := algorithmNames[id]; name != "" {
		return 0, fault("expected %s, found %s (%d)", expected, name, id)
	}
	return 0, fault("expected %s, found %s", expected, before.next())
}

// algorithmNames has the other algorithms of the Named Information registry,
// and those of the COSE registry, which are negative.
var algorithmNames = map[int64]string{
	2:   "sha-256-128",
	3:   "sha-256-120",
	4:   "sha-256-96",
	5:   "sha-256-64",
	6:   "sha-256-32",
	9:   "sha3-224",
	10:  "sha3-256",
	11:  "sha3-384",
	12:  "sha3-512",
	-14: "COSE's SHA-1",
	-15: "COSE's SHA-256/64",
	-16: "COSE's SHA-256",
	-17: "COSE's SHA-512/256",
	-18: "COSE's SHAKE128",
	-43: "COSE's SHA-384",
	-44: "COSE's SHA-512",
	-45: "COSE's SHAKE256",
}
