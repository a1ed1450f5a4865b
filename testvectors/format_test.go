// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package testvectors_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/testvectors"
)

// text is a vector's file with these lines after the first.
func text(lines ...string) string {
	return "attested-tls-vector: 1\n" + strings.Join(lines, "\n") + "\n"
}

// lines of well-formed vectors, and what they are read as.
func common() []string {
	return []string{"comment: a comment", "spec: a section", "nonce: AQI=", "ak: AwQ=", "corim: BQY=", "evidence: Bwg="}
}

func affirming() []string {
	return append(common(), "expect: affirming", "hardware: 2", "instance-identity: 2", "executables: 2", "storage-opaque: 2",
		"key-attestation: _-8")
}

func warning() []string {
	return append(common(), "expect: warning", "hardware: 2", "instance-identity: 2", "executables: 33", "storage-opaque: -1",
		"key-attestation: none", "problem: executables: one", "problem: another")
}

func badEvidence() []string {
	return append(common(), "expect: bad-evidence", "check: stale", "error: kat: stale: # no comment")
}

func badEndorsement() []string { return append(common(), "expect: bad-endorsement", "error: no data") }

func vector(want testvectors.Outcome) testvectors.Vector {
	return testvectors.Vector{
		Comment: "a comment", Spec: "a section",
		Nonce: []byte{1, 2}, AK: []byte{3, 4}, CoRIMs: [][]byte{{5, 6}}, Evidence: []byte{7, 8},
		Want: want,
	}
}

func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		lines []string
		want  testvectors.Vector
	}{
		"affirming": {affirming(), vector(testvectors.Outcome{
			Verdict: testvectors.Affirming, Hardware: 2, InstanceIdentity: 2, Executables: 2, StorageOpaque: 2,
			KeyAttestation: []byte{0xff, 0xef},
		})},
		"warning": {warning(), vector(testvectors.Outcome{
			Verdict: testvectors.Warning, Hardware: 2, InstanceIdentity: 2, Executables: 33, StorageOpaque: -1,
			Problems: []string{"executables: one", "another"},
		})},
		"bad evidence": {badEvidence(), vector(testvectors.Outcome{
			Verdict: testvectors.BadEvidence, Check: "stale", Error: "kat: stale: # no comment",
		})},
		"bad endorsement": {badEndorsement(), vector(testvectors.Outcome{
			Verdict: testvectors.BadEndorsement, Error: "no data",
		})},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := testvectors.Parse([]byte(text(test.lines...)))
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
			assert.True(t, test.want.Want.Equal(got.Want))

			written, err := got.Marshal()
			require.NoError(t, err)
			again, err := testvectors.Parse(written)
			require.NoError(t, err)
			assert.Equal(t, got, again)
		})
	}
}

func TestParseEmptyValuesAndComments(t *testing.T) {
	v, err := testvectors.Parse([]byte(text(append(edit(badEndorsement(), "nonce: AQI=", "nonce:", "evidence: Bwg=", "evidence:"),
		"# a comment", "#", "corim:")...)))
	require.NoError(t, err)
	assert.Empty(t, v.Nonce)
	assert.Empty(t, v.Evidence)
	assert.Len(t, v.CoRIMs, 2)
	assert.Empty(t, v.CoRIMs[1])
}

// edit replaces lines by others; one by nothing leaves it out.
func edit(lines []string, pairs ...string) []string {
	out := []string{}
	for _, l := range lines {
		replaced := false
		for i := 0; i < len(pairs); i += 2 {
			if l == pairs[i] {
				replaced = true
				if pairs[i+1] != "" {
					out = append(out, pairs[i+1])
				}
			}
		}
		if !replaced {
			out = append(out, l)
		}
	}
	return out
}

// Each case has one defect.
func TestParseRefuses(t *testing.T) {
	with := func(more ...string) string { return text(append(affirming(), more...)...) }
	without := func(lines []string, line string) string { return text(edit(lines, line, "")...) }
	instead := func(lines []string, pairs ...string) string { return text(edit(lines, pairs...)...) }
	tests := []struct{ name, text, want string }{
		{"empty", "", "the last line does not end with a line feed"},
		{"no line feed", strings.TrimSuffix(with(), "\n"), "the last line does not end with a line feed"},
		{"version line alone", "attested-tls-vector: 1\n", `key "expect" is missing`},
		{"no version", strings.TrimPrefix(with(), "attested-tls-vector: 1\n"), `line 1: is not "attested-tls-vector: 1"`},
		{"other version", strings.Replace(with(), ": 1", ": 2", 1), `line 1: is not "attested-tls-vector: 1"`},
		{"comment before the version", "# comment\n" + with(), `line 1: is not "attested-tls-vector: 1"`},
		{"version again", with("attested-tls-vector: 1"), `line 14: unknown key "attested-tls-vector"`},
		{"empty line", with(""), "line 14: is empty"},
		{"empty line at the end", with() + "\n", "line 14: is empty"},
		{"carriage return", strings.ReplaceAll(with(), "\n", "\r\n"), "line 1: column 23 is not a printable ASCII character"},
		{"tab", with("# a\tb"), "line 14: column 4 is not a printable ASCII character"},
		{"not ASCII", instead(affirming(), "comment: a comment", "comment: caf\u00e9"), "line 2: column 13 is not a printable ASCII character"},
		{"not UTF-8", with("# \xff"), "line 14: column 3 is not a printable ASCII character"},
		{"no colon", with("none"), "line 14: is neither a key with a colon nor a comment"},
		{"indented comment", with(" # comment"), "line 14: is neither a key with a colon nor a comment"},

		{"unknown key", with("kid: AQ=="), `line 14: unknown key "kid"`},
		{"upper case key", with("Nonce: AQ=="), `line 14: unknown key "Nonce"`},
		{"space before the colon", with("nonce : AQ=="), `line 14: unknown key "nonce "`},
		{"empty key", with(": AQ=="), `line 14: unknown key ""`},
		{"no space", instead(affirming(), "nonce: AQI=", "nonce:AQI="), `line 4: the value of "nonce" is not set off by one space`},
		{"two spaces", instead(affirming(), "nonce: AQI=", "nonce:  AQI="), `line 4: the value of "nonce" is not set off by one space`},
		{"space at the end", instead(affirming(), "nonce: AQI=", "nonce: AQI= "), `line 4: the value of "nonce" is not set off by one space`},
		{"space alone", instead(affirming(), "nonce: AQI=", "nonce: "), `line 4: the value of "nonce" is not set off by one space`},
		{"duplicate key", with("nonce: AQI="), `line 14: key "nonce" occurs again, first in line 4`},
		{"duplicate expect", with("expect: warning"), `line 14: key "expect" occurs again, first in line 8`},

		{"no comment", without(affirming(), "comment: a comment"), `key "comment" is missing`},
		{"no spec", without(affirming(), "spec: a section"), `key "spec" is missing`},
		{"no expect", without(affirming(), "expect: affirming"), `key "expect" is missing`},
		{"no nonce", without(affirming(), "nonce: AQI="), `key "nonce" is missing`},
		{"no ak", without(affirming(), "ak: AwQ="), `key "ak" is missing`},
		{"no corim", without(affirming(), "corim: BQY="), `key "corim" is missing`},
		{"no evidence", without(affirming(), "evidence: Bwg="), `key "evidence" is missing`},
		{"no hardware", without(affirming(), "hardware: 2"), `key "hardware" is missing`},
		{"no instance-identity", without(affirming(), "instance-identity: 2"), `key "instance-identity" is missing`},
		{"no executables", without(affirming(), "executables: 2"), `key "executables" is missing`},
		{"no storage-opaque", without(affirming(), "storage-opaque: 2"), `key "storage-opaque" is missing`},
		{"no key-attestation", without(affirming(), "key-attestation: _-8"), `key "key-attestation" is missing`},
		{"no problem", text(edit(warning(), "problem: executables: one", "", "problem: another", "")...), `key "problem" is missing`},
		{"no check", without(badEvidence(), "check: stale"), `key "check" is missing`},
		{"no error for evidence", without(badEvidence(), "error: kat: stale: # no comment"), `key "error" is missing`},
		{"no error for endorsement", without(badEndorsement(), "error: no data"), `key "error" is missing`},

		{"unknown verdict", instead(affirming(), "expect: affirming", "expect: none"), `line 8: unknown verdict "none"`},
		{"empty verdict", instead(affirming(), "expect: affirming", "expect:"), `line 8: unknown verdict ""`},
		{"problem of affirming", with("problem: one"), `line 14: key "problem" does not belong to expect: affirming`},
		{"check of affirming", with("check: stale"), `line 14: key "check" does not belong to expect: affirming`},
		{"error of affirming", with("error: one"), `line 14: key "error" does not belong to expect: affirming`},
		{"claim of bad evidence", text(append(badEvidence(), "hardware: 2")...), `line 11: key "hardware" does not belong to expect: bad-evidence`},
		{"key of bad evidence", text(append(badEvidence(), "key-attestation: none")...), `line 11: key "key-attestation" does not belong to expect: bad-evidence`},
		{"problem of bad evidence", text(append(badEvidence(), "problem: one")...), `line 11: key "problem" does not belong to expect: bad-evidence`},
		{"check of bad endorsement", text(append(badEndorsement(), "check: stale")...), `line 10: key "check" does not belong to expect: bad-endorsement`},

		{"empty text", instead(affirming(), "comment: a comment", "comment:"), "line 2: comment is empty"},
		{"empty problem", instead(warning(), "problem: another", "problem:"), "line 15: problem is empty"},
		{"base64 not padded", instead(affirming(), "nonce: AQI=", "nonce: AQI"), "line 4: nonce: illegal base64 data at input byte 0"},
		{"base64 not canonical", instead(affirming(), "nonce: AQI=", "nonce: AQJ="), "line 4: nonce: illegal base64 data at input byte 3"},
		{"base64 in two parts", instead(affirming(), "evidence: Bwg=", "evidence: Bw ="), "line 7: evidence: illegal base64 data at input byte 2"},
		{"base64url", instead(affirming(), "corim: BQY=", "corim: _-8="), "line 6: corim: illegal base64 data at input byte 0"},
		{"padded key", instead(affirming(), "key-attestation: _-8", "key-attestation: _-8="), "line 13: key-attestation: illegal base64 data at input byte 3"},
		{"empty attested key", instead(affirming(), "key-attestation: _-8", "key-attestation:"), "line 13: key-attestation is empty, want a key or none"},
		{"empty claim", instead(affirming(), "hardware: 2", "hardware:"), `line 9: hardware is "", want a number from -128 to 127`},
		{"claim too large", instead(affirming(), "hardware: 2", "hardware: 128"), `line 9: hardware is "128", want a number from -128 to 127`},
		{"claim with zeros", instead(affirming(), "hardware: 2", "hardware: 02"), `line 9: hardware is "02", want a number from -128 to 127`},
		{"claim with plus", instead(affirming(), "hardware: 2", "hardware: +2"), `line 9: hardware is "+2", want a number from -128 to 127`},
		{"claim by name", instead(affirming(), "hardware: 2", "hardware: affirming"), `line 9: hardware is "affirming", want a number from -128 to 127`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := testvectors.Parse([]byte(tt.text))
			require.EqualError(t, err, tt.want)
			assert.Zero(t, v)
		})
	}
}

// Each case has one defect.
func TestMarshalRefuses(t *testing.T) {
	for _, tt := range []struct {
		want   string
		change func(*testvectors.Vector)
	}{
		{"line 4: unknown verdict \"\"", func(v *testvectors.Vector) { v.Want.Verdict = "" }},
		{"line 2: comment is empty", func(v *testvectors.Vector) { v.Comment = "" }},
		{"line 2: column 11 is not a printable ASCII character", func(v *testvectors.Vector) { v.Comment = "a\u00a0b" }},
		{"line 3: is neither a key with a colon nor a comment", func(v *testvectors.Vector) { v.Comment = "two\nlines" }},
		{`line 2: the value of "comment" is not set off by one space`, func(v *testvectors.Vector) { v.Comment = " " }},
		{`key "corim" is missing`, func(v *testvectors.Vector) { v.CoRIMs = nil }},
		{"it has more than belongs to its verdict", func(v *testvectors.Vector) { v.Want.Hardware = 2 }},
		{"it has more than belongs to its verdict", func(v *testvectors.Vector) { v.Want.Problems = []string{"one"} }},
		{"it has more than belongs to its verdict", func(v *testvectors.Vector) { v.Want.KeyAttestation = []byte{1} }},
	} {
		v := vector(testvectors.Outcome{Verdict: testvectors.BadEvidence, Check: "stale", Error: "kat: stale"})
		tt.change(&v)
		_, err := v.Marshal()
		assert.EqualError(t, err, "the vector cannot be written: "+tt.want)
	}
}

func TestLoad(t *testing.T) {
	good := &fstest.MapFile{Data: []byte(text(affirming()...))}
	vectors, err := testvectors.Load(fstest.MapFS{"b.vec": good, "a.vec": good, "README.md": {}, "dir/c.vec": {}})
	require.NoError(t, err)
	require.Len(t, vectors, 2)
	assert.Equal(t, "a", vectors[0].Name)
	assert.Equal(t, "b", vectors[1].Name)

	for _, tt := range []struct {
		name, want string
		fsys       fstest.MapFS
	}{
		{"none", "there are no vectors", fstest.MapFS{"README.md": {}}},
		{"malformed", "b.vec: the last line does not end with a line feed", fstest.MapFS{"a.vec": good, "b.vec": {}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vectors, err := testvectors.Load(tt.fsys)
			assert.EqualError(t, err, tt.want)
			assert.Nil(t, vectors)
		})
	}
	_, err = testvectors.Load(fstest.MapFS{"a.vec/b": {}})
	assert.ErrorContains(t, err, "reading a vector: ")
}

// FuzzParse: an error, or a vector that is written as it was read.
func FuzzParse(f *testing.F) {
	vectors, err := testvectors.All()
	require.NoError(f, err)
	for _, v := range vectors {
		b, err := v.Marshal()
		require.NoError(f, err)
		if len(b) < 2048 { // what is in the base64 is nothing to the parser
			f.Add(b)
		}
	}
	for _, lines := range [][]string{affirming(), warning(), badEvidence(), badEndorsement()} {
		f.Add([]byte(text(lines...)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := testvectors.Parse(b)
		if err != nil {
			assert.Zero(t, v)
			return
		}
		written, err := v.Marshal()
		require.NoError(t, err)
		again, err := testvectors.Parse(written)
		require.NoError(t, err)
		assert.Equal(t, v, again)
	})
}
