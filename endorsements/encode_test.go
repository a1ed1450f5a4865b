// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/comid"
	"github.com/veraison/corim/corim"
)

func sampleCorims(t testing.TB) map[string]*Corim {
	anchor := mustAnchor(t, classA, kidA, pemA)
	state := mustState(t, classA,
		value(crypto.SHA256, 0, 0x20), value(crypto.SHA384, 0, 0x30), value(crypto.SHA512, 0, 0x50),
		value(crypto.SHA256, 7, 0x27), value(crypto.SHA512, 31, 0x5f))
	return map[string]*Corim{
		"anchor": {ID: "one key", Dialect: DialectV1, Anchors: []TrustAnchor{anchor}},
		"state":  {ID: "one state", Dialect: DialectV1, States: []ReferenceState{state}},
		"everything": {
			ID: classB, Dialect: DialectV1,
			Anchors: []TrustAnchor{
				anchor,
				mustAnchor(t, classB, append([]byte{2}, make([]byte, 8)...), spkiPEM(t, newKey(t, elliptic.P521()))),
				mustAnchor(t, classA, kidB, spkiPEM(t, newRSAKey(t, 2048))),
			},
			States: []ReferenceState{
				state,
				mustState(t, classA, value(crypto.SHA256, 0, 0x21)),
				mustState(t, classB, value(crypto.SHA384, 23, 0)),
			},
			Classes: []ClassDescription{{Class: classA, Vendor: "ACME", Model: "Road Runner"}, {Class: classB, Vendor: "ACME"}},
			Entities: []Entity{
				{Name: "ACME Ltd.", RegID: "https://acme.example", Roles: []Role{RoleManifestCreator}},
				{Name: "Other", Roles: []Role{RoleManifestCreator, RoleManifestCreator}},
			},
			NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			NotAfter:  time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		},
		"UUID in upper case": {ID: strings.ToUpper(classB), Dialect: DialectV1, Anchors: []TrustAnchor{anchor}},
		"until":              {ID: "x", Dialect: DialectV1, Anchors: []TrustAnchor{anchor}, NotAfter: time.Unix(0, 0).UTC()},
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	for name, c := range sampleCorims(t) {
		t.Run(name, func(t *testing.T) {
			written := map[Dialect][]byte{}
			for _, d := range []Dialect{DialectV1, DialectV2} {
				data, err := c.Encode(d)
				require.NoError(t, err)
				got, err := Decode(data)
				require.NoError(t, err)
				c.Dialect = d
				assert.Equal(t, c, got)

				again, err := got.Encode(d)
				require.NoError(t, err)
				assert.Equal(t, data, again)
				written[d] = data
			}
			theirs, err := asVeraisonReads(written[DialectV1])
			require.NoError(t, err)
			assert.Equal(t, asWeRead(c), theirs)

			// There and back again, by either way.
			for from, data := range written {
				for to := range written {
					converted, err := Convert(data, to)
					require.NoError(t, err)
					assert.Equal(t, written[to], converted)
					c, err := Decode(data)
					require.NoError(t, err)
					encoded, err := c.Encode(to)
					require.NoError(t, err)
					assert.Equal(t, written[to], encoded, "from %s to %s", from, to)
				}
			}
		})
	}
}

// TestEncodeBytes pins the encoding: it must never change by itself.
func TestEncodeBytes(t *testing.T) {
	c := &Corim{
		ID:       classB,
		Anchors:  []TrustAnchor{mustAnchor(t, classA, kidA, pemA)},
		States:   []ReferenceState{mustState(t, classA, value(crypto.SHA256, 7, 0x27))},
		NotAfter: time.Unix(1800000000, 0),
	}
	data, err := c.Encode(DialectV1)
	require.NoError(t, err)
	want := "a4" +
		"00" + "50" + "d10e4bd67e024d2cbf1a69ae22680478" +
		"01" + "82" +
		"590111" + "d901fa" + "a2" +
		"01" + "a1" + "00" + "50" + "9252ed91a74782b3829f3b2da3b92afc" +
		"04" + "a1" + "03" + "81" + "82" +
		"a2" + "00" + "a1" + "00" + "d825" + "50" + "cd1f0e5526f9460db9d8f7fde171787c" +
		"01" + "d90226" + "5821" + fmt.Sprintf("%x", kidA) +
		"81" + "d9022a" + "78b0" + fmt.Sprintf("%x", pemA) +
		"5860" + "d901fa" + "a2" +
		"01" + "a1" + "00" + "50" + "311d98f12aa6805abb9fde2813e6b167" +
		"04" + "a1" + "00" + "81" + "82" +
		"a1" + "00" + "a1" + "00" + "d825" + "50" + "cd1f0e5526f9460db9d8f7fde171787c" +
		"81" + "a2" + "00" + "07" + "01" + "a1" + "02" + "81" + "82" + "01" + "5820" + strings.Repeat("27", 32) +
		"03" + "782c" + fmt.Sprintf("%x", Profile) +
		"04" + "a1" + "01" + "c1" + "1a6b49d200"
	assert.Equal(t, want, fmt.Sprintf("%x", data))

	// The same in the newer dialect: 501, 506 outside, 32 and 560.
	data, err = c.Encode(DialectV2)
	require.NoError(t, err)
	want = strings.NewReplacer(
		"590111d901faa2", "d901fa59010ea2", "5860d901faa2", "d901fa585da2",
		"d90226", "d90230", "03782c746167", "03d820782c746167",
	).Replace(want)
	assert.Equal(t, "d901f5"+want, fmt.Sprintf("%x", data))
}

// TestEncodeIdentity: a CoMID keeps its identity as long as its content.
func TestEncodeIdentity(t *testing.T) {
	ids := func(c *Corim) (ids []string) {
		data, err := c.Encode(DialectV1)
		require.NoError(t, err)
		var uc corim.UnsignedCorim
		require.NoError(t, uc.FromCBOR(data))
		for _, tag := range uc.Tags {
			var c comid.Comid
			require.NoError(t, c.FromCBOR(bytes.TrimPrefix(tag, corim.ComidTag)))
			ids = append(ids, c.TagIdentity.TagID.String())
		}
		return ids
	}
	c := sampleCorims(t)["everything"]
	before := ids(c)
	require.Len(t, before, 2)
	c.ID = "renamed"
	c.NotAfter = c.NotAfter.AddDate(1, 0, 0)
	assert.Equal(t, before, ids(c))
	c.States = c.States[:1]
	after := ids(c)
	assert.Equal(t, before[0], after[0])
	assert.NotEqual(t, before[1], after[1])
	for _, id := range append(before, after...) {
		assert.Equal(t, byte('8'), id[14], "version of %s", id)
		assert.Contains(t, "89ab", id[19:20], "variant of %s", id)
	}
}

func TestEncodeMergesDuplicates(t *testing.T) {
	c := sampleCorims(t)["everything"]
	want, err := c.Encode(DialectV1)
	require.NoError(t, err)
	c.Anchors = append(c.Anchors, c.Anchors[0])
	c.States = append(c.States, c.States[1])
	got, err := c.Encode(DialectV1)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestEncodeRefuses(t *testing.T) {
	other := mustAnchor(t, classA, kidB, pemB)
	late := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		dialect Dialect
		change  func(c *Corim)
		want    string
	}{
		"no dialect": {0, func(*Corim) {}, `unsupported dialect: Dialect(0); expected v1 (Veraison until v0.0.2602), v2 (Veraison after v0.0.2608) or v2-text (Veraison v0.0.2603 to v0.0.2608)`},
		"nothing":    {DialectV1, func(c *Corim) { c.Anchors, c.States = nil, nil }, `no anchors and no states; expected at least one`},
		"no id":      {DialectV1, func(c *Corim) { c.ID = "" }, `corim-id: expected text or a UUID, found ""`},
		"id":         {DialectV1, func(c *Corim) { c.ID = "\xff" }, `corim-id: expected text or a UUID, found "\xff"`},
		"no end":     {DialectV1, func(c *Corim) { c.NotAfter = time.Time{} }, `validity.not-after: missing; expected a time, because there is a not-before`},
		"end before start": {DialectV1, func(c *Corim) { c.NotAfter = c.NotBefore.Add(-time.Second) },
			`validity.not-after: expected 2026-01-01T00:00:00Z or later, found 2025-12-31T23:59:59Z`},
		"fraction of a second": {DialectV1, func(c *Corim) { c.NotBefore = c.NotBefore.Add(1) },
			`validity.not-before: expected whole seconds between 1970 and 9999, found 2026-01-01T00:00:00.000000001Z`},
		"before 1970":   {DialectV1, func(c *Corim) { c.NotBefore = time.Unix(-1, 0) }, `validity.not-before: expected whole seconds between 1970 and 9999, found 1969-12-31T23:59:59Z`},
		"after 9999":    {DialectV1, func(c *Corim) { c.NotAfter = late }, `validity.not-after: expected whole seconds between 1970 and 9999, found 10000-01-01T00:00:00Z`},
		"two keys":      {DialectV1, func(c *Corim) { c.Anchors[1] = mustAnchor(t, classA, kidA, pemB) }, `anchors[1]: kid 01` + strings.Repeat("aa", 32) + ` is provisioned with two different keys`},
		"empty anchor":  {DialectV1, func(c *Corim) { c.Anchors[1] = TrustAnchor{} }, `anchors[1]: incomplete; expected one made by NewTrustAnchor`},
		"empty state":   {DialectV1, func(c *Corim) { c.States[1] = ReferenceState{} }, `states[1]: empty; expected one made by NewReferenceState`},
		"altered class": {DialectV1, func(c *Corim) { c.Anchors[0].Class = strings.ToUpper(classA) }, `anchors[0].class: expected ` + classA + `, found ` + strings.ToUpper(classA)},
		"faulty class":  {DialectV1, func(c *Corim) { c.Anchors[0].Class = "acme" }, `anchors[0].class: expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found "acme"`},
		"faulty kid":    {DialectV1, func(c *Corim) { c.Anchors[0].KID = []byte{9} }, `anchors[0].kid: expected a UEID (RFC 9711, 4.2.1): invalid UEID type 9`},
		"altered key":   {DialectV1, func(c *Corim) { c.Anchors[0].Key = other.Key }, `anchors[0].key: expected the key that is in its PEM, found another`},
		"altered PEM":   {DialectV1, func(c *Corim) { c.Anchors[0].PEM = other.PEM }, `anchors[0].key: expected the key that is in its PEM, found another`},
		"class described twice": {DialectV2, func(c *Corim) { c.Classes = append(c.Classes, c.Classes[0]) },
			`classes[2]: class ` + classA + ` is described twice`},
		"class of nothing": {DialectV2, func(c *Corim) { c.Classes[0].Class = strings.ToUpper(classA) },
			`classes[0]: expected a class of the anchors and states, found "` + strings.ToUpper(classA) + `"`},
		"empty description":    {DialectV2, func(c *Corim) { c.Classes[0] = ClassDescription{Class: classA} }, `classes[0]: expected a vendor or a model, found none`},
		"vendor's text":        {DialectV2, func(c *Corim) { c.Classes[0].Vendor = "\xff" }, `classes[0].vendor: expected text, found "\xff"`},
		"model's text":         {DialectV1, func(c *Corim) { c.Classes[0].Model = "\xff" }, `classes[0].model: expected text, found "\xff"`},
		"entity without name":  {DialectV2, func(c *Corim) { c.Entities[1].Name = "" }, `entities[1].name: expected text, found ""`},
		"entity's URI":         {DialectV2, func(c *Corim) { c.Entities[0].RegID = "\xff" }, `entities[0].regid: expected a URI, found "\xff"`},
		"entity without role":  {DialectV2, func(c *Corim) { c.Entities[0].Roles = nil }, `entities[0].roles: none; expected the role manifest-creator (1) or manifest-signer (2)`},
		"entity's role":        {DialectV2, func(c *Corim) { c.Entities[0].Roles[0] = -1 }, `entities[0].roles[0]: expected the role manifest-creator (1) or manifest-signer (2), found Role(-1) (-1), which dialect v2 (Veraison after v0.0.2608) does not have`},
		"signer in dialect v1": {DialectV1, func(c *Corim) { c.Entities[1].Roles[1] = RoleManifestSigner }, `entities[1].roles[1]: expected the role manifest-creator (1), found manifest-signer (2), which dialect v1 (Veraison until v0.0.2602) does not have`},
		"two signers": {DialectV2, func(c *Corim) {
			c.Entities[0].Roles[0], c.Entities[1].Roles[0] = RoleManifestSigner, RoleManifestSigner
		}, `entities[1].roles: a second entity with the role manifest-signer (2); entities[0] has it`},
		"too much, v2": {DialectV2, func(c *Corim) { c.ID = strings.Repeat("x", MaxCorimSize) }, ``},
		"too much":     {DialectV1, func(c *Corim) { c.ID = strings.Repeat("x", MaxCorimSize) }, ``},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := sampleCorims(t)["everything"]
			test.change(c)
			data, err := c.Encode(test.dialect)
			assert.Nil(t, data)
			if test.want == "" {
				assert.ErrorContains(t, err, "bytes; expected at most 1048576")
				return
			}
			require.EqualError(t, err, test.want)
		})
	}
}

// TestMaxCorimSize holds the comment on MaxCorimSize to its word.
func TestMaxCorimSize(t *testing.T) {
	fits := func(c *Corim) bool {
		c.ID = "full"
		data, err := c.Encode(DialectV1)
		if err != nil {
			require.ErrorContains(t, err, "expected at most 1048576")
			return false
		}
		start := time.Now()
		_, err = Decode(data)
		require.NoError(t, err)
		t.Logf("%d bytes, %d anchors, %d states: %v", len(data), len(c.Anchors), len(c.States), time.Since(start))
		return true
	}
	keys := &Corim{}
	for i := range 3500 {
		kid := append(make([]byte, 29), byte(i>>24), byte(i>>16), byte(i>>8), byte(i))
		kid[0] = 1
		keys.Anchors = append(keys.Anchors, mustAnchor(t, classA, kid, pemA))
	}
	assert.True(t, fits(keys))

	states := &Corim{}
	for i := range 250 {
		var values []PCRValue
		for _, bank := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			for index := range 24 {
				values = append(values, value(bank, index, byte(i)))
			}
		}
		states.States = append(states.States, mustState(t, classA, values...))
	}
	assert.True(t, fits(states))
}
