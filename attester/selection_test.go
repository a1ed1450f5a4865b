// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
)

var goodSelections = map[string]attester.Selection{
	"sha256:0":     {{Bank: crypto.SHA256, PCRs: []int{0}}},
	"sha512:23":    {{Bank: crypto.SHA512, PCRs: []int{23}}},
	"sha256:0,1,7": {{Bank: crypto.SHA256, PCRs: []int{0, 1, 7}}},
	"sha256:0,1,7+sha384:0,1": {
		{Bank: crypto.SHA256, PCRs: []int{0, 1, 7}},
		{Bank: crypto.SHA384, PCRs: []int{0, 1}},
	},
	"sha384:0+sha256:0": {{Bank: crypto.SHA384, PCRs: []int{0}}, {Bank: crypto.SHA256, PCRs: []int{0}}},
}

var badSelections = map[string]string{
	"":                    "want a bank and its PCRs",
	"sha256":              "want a bank and its PCRs",
	"sha256:":             "is not a PCR's number",
	"sha256:0,":           "is not a PCR's number",
	"sha256: 0":           "is not a PCR's number",
	"sha256:+1":           "is not a PCR's number",
	"sha256:-1":           "is not a PCR's number",
	"sha256:0x1":          "is not a PCR's number",
	"sha256:1_0":          "is not a PCR's number",
	"sha256:256":          "is not a PCR's number",
	"sha256:none":         "is not a PCR's number",
	"sha256:24":           "want 0 to 23",
	"sha256:0,0":          "there twice",
	"sha256:0+sha256:1":   "there twice",
	"sha256:0+":           "want a bank and its PCRs",
	"sha256:0+sha384":     "want a bank and its PCRs",
	"sha1:0":              "the sha1 bank is not attested",
	"sha1":                "want a bank and its PCRs",
	"sha256:0+sha1:0":     "the sha1 bank is not attested",
	"SHA256:0":            "want a bank and its PCRs",
	"sm3_256:0":           "want a bank and its PCRs",
	"sha256:0:1":          "is not a PCR's number",
	"sha256:0 + sha384:0": "is not a PCR's number",
}

func TestParseSelection(t *testing.T) {
	for s, want := range goodSelections {
		got, err := attester.ParseSelection(s)
		require.NoError(t, err, s)
		assert.Equal(t, want, got)
		assert.Equal(t, s, got.String())
	}
	for s, want := range badSelections {
		got, err := attester.ParseSelection(s)
		assert.ErrorContains(t, err, want, s)
		assert.Nil(t, got, s)
	}
}

func TestParseSelectionNormalises(t *testing.T) {
	for s, want := range map[string]string{
		"sha256:7,01,0": "sha256:0,1,7",
		"sha384:all":    "sha384:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23",
	} {
		got, err := attester.ParseSelection(s)
		require.NoError(t, err, s)
		assert.Equal(t, want, got.String())
	}
}

func FuzzParseSelection(f *testing.F) {
	for s := range goodSelections {
		f.Add(s)
	}
	for s := range badSelections {
		f.Add(s)
	}
	f.Add("sha256:all+sha512:all")
	f.Fuzz(func(t *testing.T, s string) {
		sel, err := attester.ParseSelection(s)
		if err != nil {
			if sel != nil {
				t.Fatal("a selection and an error")
			}
			return
		}
		again, err := attester.ParseSelection(sel.String())
		if err != nil {
			t.Fatalf("%q is written as %q, which is refused: %v", s, sel, err)
		}
		assert.Equal(t, sel, again)
	})
}
