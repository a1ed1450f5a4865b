// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/eat"
)

// Veraison since v0.0.2603 keeps the triples of a CoRIM itself and hands those
// that it found to a plugin: CBOR arrays of triples, without the CoMID around
// them. The plugin says which with an array of environments.

// MaxTriplesSize is the largest array of triples that is read, in bytes: what a
// store may have gathered for one class from several CoRIMs.
const MaxTriplesSize = 16 * MaxCorimSize

// MaxClassDescriptions is how many different descriptions of one class
// [DecodeKeyTriples] takes: a plugin asks its store for each.
const MaxClassDescriptions = 64

// DecodeKeyTriples reads an array of attest-key-triple-records
// (draft-ietf-rats-corim-11, 5.1.10) by the rules of [Decode]. A store that was
// provisioned twice holds a key twice: the same key in the same class under one
// key identifier is one trust anchor, and anything else under it is an
// [*AmbiguousKeyError]. No triples may also be written as null.
//
// classes are the triples' descriptions of their classes, each once: there can
// be several of one class, because the triples can be of several authors, but no
// more than [MaxClassDescriptions].
func DecodeKeyTriples(data []byte) (anchors []TrustAnchor, classes []ClassDescription, err error) {
	known := make(map[ClassDescription]bool)
	count := make(map[string]int) // by class
	c, err := decodeTriples(data, attesterKeys, func(p *profileReader, r *reader) error {
		p.corim.Classes = nil
		if err := p.attesterKey(r); err != nil {
			return err
		}
		for _, d := range p.corim.Classes {
			if known[d] {
				continue
			}
			if count[d.Class] == MaxClassDescriptions {
				return inField("environment.class", fault("another description of class %s (vendor %s, model %s); expected at most %d: "+
					"have its CoRIMs name one vendor and model", d.Class, quote(d.Vendor), quote(d.Model), MaxClassDescriptions))
			}
			known[d] = true
			count[d.Class]++
			classes = append(classes, d)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return c.Anchors, classes, nil
}

// DecodeValueTriples reads an array of reference-triple-records
// (draft-ietf-rats-corim-11, 5.1.5) by the rules of [Decode]. Each triple is
// one state; equal states are one. No triples may also be written as null.
func DecodeValueTriples(data []byte) ([]ReferenceState, error) {
	c, err := decodeTriples(data, referenceValues, (*profileReader).referenceValue)
	if err != nil {
		return nil, err
	}
	return c.States, nil
}

func decodeTriples(data []byte, kind string, read func(*profileReader, *reader) error) (*Corim, error) {
	const expected = "an array of triples"
	if len(data) == 0 {
		return nil, inTriple(kind, -1, fault("no data; expected %s", expected))
	}
	if len(data) > MaxTriplesSize {
		return nil, inTriple(kind, -1, fault("%d bytes; expected at most %d", len(data), MaxTriplesSize))
	}
	if err := checkWellFormed(data); err != nil {
		return nil, inTriple(kind, -1, err)
	}
	p := profileReader{dialect: DialectV2, known: new(builder), corim: &Corim{Dialect: DialectV2}}
	// Go's encoders write a slice that is nil as null.
	if slices.Equal(data, []byte{0xf6}) {
		return p.corim, nil
	}
	r := reader{data}
	n, err := r.take(majorArray, expected)
	if err != nil {
		return nil, inTriple(kind, -1, err)
	}
	for i := range n {
		// The triples may be from several CoRIMs, whose words for a class may
		// differ.
		p.described = nil
		if err := read(&p, &r); err != nil {
			return nil, inTriple(kind, int(i), err)
		}
	}
	if err := r.end(); err != nil {
		return nil, inTriple(kind, -1, err)
	}
	return p.corim, nil
}

// Environment is what a plugin asks a store for.
type Environment struct {
	// Class is a class-id, a UUID in text form; empty for any class.
	Class string
	// Vendor and Model describe the class; empty for a class that is not
	// described so.
	Vendor, Model string
	// KID is the key identifier of an AK; empty for none.
	KID eat.UEID
}

// EncodeEnvironments writes an array of environment-maps
// (draft-ietf-rats-corim-11, 5.1.4.1) in [DialectV2]. An environment that names
// nothing is refused: a store takes it for every environment that there is.
func EncodeEnvironments(envs ...Environment) ([]byte, error) {
	type wire struct {
		Class    *wireClass `cbor:"0,keyasint,omitempty"`
		Instance *cbor.Tag  `cbor:"1,keyasint,omitempty"`
	}
	out := make([]wire, len(envs))
	for i, env := range envs {
		if env.Class == "" && len(env.KID) == 0 {
			return nil, inElement(i, fault("no class and no key identifier; expected one of them"))
		}
		if env.Class == "" && (env.Vendor != "" || env.Model != "") {
			return nil, inElement(i, inField("class", fault("missing; vendor and model describe one")))
		}
		if env.Class != "" {
			class, err := canonicalClass(env.Class)
			if err != nil {
				return nil, inElement(i, inField("class", err))
			}
			w := newWireClass(class)
			w.Vendor, w.Model = env.Vendor, env.Model
			out[i].Class = &w
		}
		if len(env.KID) != 0 {
			kid, err := checkKID(env.KID)
			if err != nil {
				return nil, inElement(i, inField("instance", err))
			}
			out[i].Instance = &cbor.Tag{Number: DialectV2.instanceTag(), Content: []byte(kid)}
		}
	}
	return marshal(out)
}
