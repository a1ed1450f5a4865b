// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto"
	"testing"
)

// benchCorim has one key and one state of 24 PCRs in three banks.
func benchCorim(b *testing.B) *Corim {
	var values []PCRValue
	for _, bank := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for index := range 24 {
			values = append(values, value(bank, index, byte(index)))
		}
	}
	return &Corim{
		ID:      "bench",
		Anchors: []TrustAnchor{mustAnchor(b, classA, kidA, pemA)},
		States:  []ReferenceState{mustState(b, classA, values...)},
	}
}

func BenchmarkDecode(b *testing.B) {
	data, err := benchCorim(b).Encode(DialectV1)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	c := benchCorim(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Encode(DialectV1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewTrustAnchor(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewTrustAnchor(classA, kidA, pemA); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewReferenceState(b *testing.B) {
	values := benchCorim(b).States[0].Values()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewReferenceState(classA, values); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewSet(b *testing.B) {
	c := benchCorim(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewSet(c); err != nil {
			b.Fatal(err)
		}
	}
}
