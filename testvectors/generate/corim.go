// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// CoRIMs that package endorsements would not write are made from one that it
// did write.

type (
	cborObject = map[any]any
	cborList   = []any
)

// editCorim decodes a CoRIM and its first CoMID, has them changed and encodes
// them again. Keys are those of draft-ietf-rats-corim-11, as uint64.
func editCorim(b []byte, change func(corim, comid cborObject) error) ([]byte, error) {
	var corim cborObject
	if err := cbor.Unmarshal(b, &corim); err != nil {
		return nil, fmt.Errorf("reading a CoRIM: %w", err)
	}
	tags, _ := corim[uint64(1)].(cborList)
	if len(tags) == 0 {
		return nil, fmt.Errorf("the CoRIM has no CoMIDs")
	}
	first, _ := tags[0].([]byte)
	var tag cbor.Tag
	if err := cbor.Unmarshal(first, &tag); err != nil {
		return nil, fmt.Errorf("reading a CoMID: %w", err)
	}
	comid, ok := tag.Content.(cborObject)
	if !ok {
		return nil, fmt.Errorf("a CoMID is a %T", tag.Content)
	}
	if err := change(corim, comid); err != nil {
		return nil, err
	}
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	if tags[0], err = enc.Marshal(tag); err != nil {
		return nil, err
	}
	return enc.Marshal(corim)
}

// at returns what is at a path of map keys and list indexes.
func at[T any](root any, path ...int) (T, error) {
	var zero T
	for i, step := range path {
		switch n := root.(type) {
		case cborObject:
			root = n[uint64(step)]
		case cborList:
			if step >= len(n) {
				return zero, fmt.Errorf("there is nothing at %v", path[:i+1])
			}
			root = n[step]
		case cbor.Tag:
			return zero, fmt.Errorf("there is a tag at %v", path[:i])
		}
	}
	v, ok := root.(T)
	if !ok {
		return zero, fmt.Errorf("there is a %T at %v, want a %T", root, path, zero)
	}
	return v, nil
}

// Paths in a CoMID (draft-ietf-rats-corim-11, section 5.1).
func pathKeyTriple(more ...int) []int   { return slices.Concat([]int{4, 3, 0}, more) }
func pathValueTriple(more ...int) []int { return slices.Concat([]int{4, 0, 0}, more) }
