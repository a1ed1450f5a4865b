// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"encoding/binary"

	"github.com/fxamacker/cbor/v2"
)

// Convert writes a CoRIM in another dialect. It changes the framing and nothing
// else: the identities, languages and entities of its CoMIDs, which [Decode]
// leaves behind, and the order of everything stay. Key identifiers are written
// with the tag that the dialect has for them. Any CoRIM that Encode has written
// comes back from the other dialect byte for byte.
//
// What Decode refuses, Convert refuses, with the same errors. A CoRIM for which
// the other dialect has no words is an [*Error] that says what would be lost. So
// is a signed one: convert what is in it, and sign it anew.
func Convert(data []byte, to Dialect) ([]byte, error) {
	if !to.known() {
		return nil, &UnsupportedDialectError{Dialect: to}
	}
	m, err := readManifest(data)
	if err != nil {
		return nil, err
	}
	if err := checkEntities(m.entities, to); err != nil {
		return nil, fault("cannot be converted to dialect %s without a loss: %w", to, inField("entities", err))
	}
	p := newProfileReader(m)
	comids := make([][]byte, len(m.comids))
	for i, comid := range m.comids {
		p.instances = new([]int)
		if err := p.comid(comid); err != nil {
			return nil, inComid(i, err)
		}
		// The heads of the two tags are of one length.
		comids[i] = bytes.Clone(comid)
		for _, at := range *p.instances {
			binary.BigEndian.PutUint16(comids[i][at+1:], uint16(to.instanceTag()))
		}
	}
	converted, err := m.frame(comids, to)
	if err != nil {
		return nil, err
	}
	if err := checkSize(converted); err != nil {
		return nil, err
	}
	return converted, nil
}

// frame puts a dialect's framing around CoMIDs, and leaves the rest of the
// CoRIM map as it was read.
func (m *manifest) frame(comids [][]byte, d Dialect) ([]byte, error) {
	tags := make([]any, len(comids))
	for i, comid := range comids {
		tag := cbor.Tag{Number: tagCoMID, Content: comid}
		if d.tagged() {
			tags[i] = tag
			continue
		}
		tag.Content = cbor.RawMessage(comid)
		inner, err := marshal(tag)
		if err != nil {
			return nil, err
		}
		tags[i] = inner
	}
	var out []byte
	if d.tagged() {
		out = append(out, byte(majorTag)<<5|25, tagUnsignedCorim>>8, tagUnsignedCorim&0xff)
	}
	// Keys and their number are below 24: one byte each.
	out = append(out, majorMap<<5|byte(len(m.layout)))
	for _, item := range m.layout {
		value := item.value
		var err error
		switch item.key {
		case corimTags:
			value, err = marshal(tags)
		case corimProfile:
			value, err = marshal(d.wireProfile())
		}
		if err != nil {
			return nil, err
		}
		out = append(append(out, byte(item.key)), value...)
	}
	return out, nil
}
