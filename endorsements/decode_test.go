// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecode(t *testing.T) {
	c, err := Decode(encodeDoc(t, goodCorim(t)))
	require.NoError(t, err)
	assert.Equal(t, &Corim{
		ID:        "a corim",
		Dialect:   DialectV1,
		Entities:  []Entity{{Name: "ACME Ltd.", RegID: "https://acme.example", Roles: []Role{RoleManifestCreator}}},
		Anchors:   []TrustAnchor{mustAnchor(t, classA, kidA, pemA)},
		NotBefore: time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC),
		NotAfter:  time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC),
		States: []ReferenceState{mustState(t, classA,
			value(crypto.SHA256, 0, 0x10), value(crypto.SHA384, 0, 0x30),
			value(crypto.SHA256, 7, 0x17), value(crypto.SHA512, 7, 0x57))},
	}, c)
	assert.Equal(t, "sha256:0,7+sha384:0+sha512:7", c.States[0].String())

	other, err := Decode(encodeDocIn(t, DialectV2, goodCorim(t)))
	require.NoError(t, err)
	assert.Equal(t, DialectV2, other.Dialect)
	other.Dialect = DialectV1
	assert.Equal(t, c, other)
}

// TestDecodeAccepts has the variations of the good CoRIM that mean the same or
// that the profile leaves open.
func TestDecodeAccepts(t *testing.T) {
	tests := map[string]struct {
		path  l
		value any
		check func(t *testing.T, c *Corim)
	}{
		"id is a UUID": {l{0}, uuidBytes(t, classB), func(t *testing.T, c *Corim) {
			assert.Equal(t, classB, c.ID)
		}},
		"no validity": {l{4}, deletion{}, func(t *testing.T, c *Corim) {
			assert.True(t, c.NotBefore.IsZero() && c.NotAfter.IsZero())
		}},
		"no start of validity": {l{4, 0}, deletion{}, func(t *testing.T, c *Corim) {
			assert.True(t, c.NotBefore.IsZero())
			assert.False(t, c.NotAfter.IsZero())
		}},
		"validity of one second": {l{4, 0}, tag(1, 1800000000), func(t *testing.T, c *Corim) {
			assert.Equal(t, c.NotBefore, c.NotAfter)
		}},
		"validity from 1970":        {l{4, 0}, tag(1, 0), nil},
		"validity to the year 9999": {l{4, 1}, tag(1, 253402300799), nil},
		"no entities in the CoRIM":  {l{5}, deletion{}, nil},
		"no entities in the CoMID":  {l{1, 0, 2}, deletion{}, nil},
		"no language":               {l{1, 0, 0}, deletion{}, nil},
		"no regid":                  {l{5, 0, 1}, deletion{}, nil},
		"CoMID's tag creator":       {l{1, 0, 2, 0, 2}, l{0, 1, 2}, nil},
		"kid as bytes": {under(pathKeyEnv, 1), tag(560, kidA), func(t *testing.T, c *Corim) {
			assert.EqualValues(t, kidA, c.Anchors[0].KID)
		}},
		"kid of 16 random bytes":     {under(pathKeyEnv, 1), tag(550, append([]byte{1}, make([]byte, 16)...)), nil},
		"kid is a MAC address":       {under(pathKeyEnv, 1), tag(550, append([]byte{2}, make([]byte, 6)...)), nil},
		"key ends with a line break": {under(pathKeys, 0), tag(554, pemA+"\n"), nil},
		"last PCR":                   {under(pathMeasurement, 0), 31, nil},
		"one PCR in two measurements": {under(pathMeasurement, 1, 2), l{l{8, digest(crypto.SHA512, 1)}},
			func(t *testing.T, c *Corim) {
				assert.Equal(t, "sha256:0+sha384:0+sha512:7", c.States[0].String())
			}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, d := range []Dialect{DialectV1, DialectV2} {
				doc := goodCorim(t)
				set(t, doc, test.path, test.value)
				c, err := Decode(encodeDocIn(t, d, doc))
				require.NoError(t, err, d)
				require.Equal(t, d, c.Dialect)
				if test.check != nil {
					test.check(t, c)
				}
			}
		})
	}
}

// TestDecodeStates: each triple is a state, and states never mix.
func TestDecodeStates(t *testing.T) {
	doc := goodCorim(t)
	triple := func(class string, fill byte) l {
		return l{m{0: m{0: tag(37, uuidBytes(t, class))}}, l{m{0: 3, 1: m{2: l{l{1, digest(crypto.SHA256, fill)}}}}}}
	}
	set(t, doc, pathValTriples, l{triple(classA, 1), triple(classB, 1), triple(classA, 2), triple(classA, 1)})
	c, err := Decode(encodeDoc(t, doc))
	require.NoError(t, err)
	assert.Equal(t, []ReferenceState{
		mustState(t, classA, value(crypto.SHA256, 3, 1)),
		mustState(t, classB, value(crypto.SHA256, 3, 1)),
		mustState(t, classA, value(crypto.SHA256, 3, 2)),
		// the fourth repeats the first
	}, c.States)
}

// TestDecodeAnchorTwice: SQL stores would insert it twice and then refuse the
// device.
func TestDecodeAnchorTwice(t *testing.T) {
	doc := goodCorim(t)
	triple := get(t, doc, pathKeyTriple)
	set(t, doc, pathKeyTriples, l{triple, triple})
	c, err := Decode(encodeDoc(t, doc))
	require.NoError(t, err)
	assert.Len(t, c.Anchors, 1)
}

func TestDecodeSharesNoMemory(t *testing.T) {
	data := encodeDoc(t, goodCorim(t))
	c, err := Decode(data)
	require.NoError(t, err)
	before := asWeRead(c)
	clear(data)
	assert.Equal(t, before, asWeRead(c))
}

// described gives the key's and the reference value's class a vendor (1) or a
// model (2).
func described(field int, key, value string) func(*testing.T, m) {
	return func(t *testing.T, doc m) {
		set(t, doc, under(pathKeyEnv, 0, field), key)
		set(t, doc, under(pathValEnv, 0, field), value)
	}
}

// Vendor and model describe a class, as CoRIMs in the field do; they change
// nothing.
func TestDecodeTakesDescriptions(t *testing.T) {
	doc := goodCorim(t)
	plain, err := Decode(encodeDoc(t, doc))
	require.NoError(t, err)
	set(t, doc, under(pathKeyEnv, 0, 1), "ACME")
	set(t, doc, under(pathKeyEnv, 0, 2), "One")
	set(t, doc, under(pathValEnv, 0, 1), "ACME")
	with, err := Decode(encodeDoc(t, doc))
	require.NoError(t, err)
	assert.Equal(t, []ClassDescription{{Class: classA, Vendor: "ACME", Model: "One"}}, with.Classes)
	with.Classes = nil
	assert.Equal(t, plain, with)
}

// TestDecodeRefuses changes one thing in the good CoRIM.
func TestDecodeRefuses(t *testing.T) {
	const (
		keys0 = "comid[0]: attester-verification-keys[0]: "
		vals0 = "comid[1]: reference-values[0]: "
		meas1 = vals0 + "measurements[1]"
	)
	twice := func(path l) func(t *testing.T, doc m) {
		return func(t *testing.T, doc m) {
			set(t, doc, path, l{get(t, doc, under(path, 0)), get(t, doc, under(path, 0))})
		}
	}
	to := func(path l, v any) func(t *testing.T, doc m) {
		return func(t *testing.T, doc m) { set(t, doc, path, v) }
	}
	without := func(path l) func(t *testing.T, doc m) { return to(path, deletion{}) }

	tests := map[string]struct {
		change func(t *testing.T, doc m)
		want   string
	}{
		// the CoRIM
		"no id":                {without(l{0}), `corim-id: missing; expected text or a UUID`},
		"empty id":             {to(l{0}, ""), `corim-id: expected text or a UUID of 16 bytes, found an empty text string`},
		"short UUID as id":     {to(l{0}, []byte{1, 2, 3}), `corim-id: expected text or a UUID of 16 bytes, found a byte string (3 bytes)`},
		"tagged UUID as id":    {to(l{0}, tag(37, uuidBytes(t, classA))), `corim-id: expected text or a UUID of 16 bytes, found tag 37`},
		"no tags":              {without(l{1}), `tags: missing; expected at least one CoMID`},
		"empty tags":           {to(l{1}, l{}), `tags: expected an array of CoMIDs, found an empty array`},
		"tags are a map":       {to(l{1}, m{}), `tags: expected an array of CoMIDs, found a map`},
		"CoMID is a map":       {to(l{1, 1}, raw{0xa0}), `tags[1]: expected a byte string that holds a CoMID, found a map`},
		"dependent RIMs":       {to(l{2}, l{m{0: tag(32, "https://acme.example/rim")}}), `dependent-rims: not in the profile; each CoRIM must be complete in itself`},
		"no profile":           {without(l{3}), `profile: missing; expected "tag:github.com/parallaxsecond,2023-03-03:tpm"`},
		"another profile":      {to(l{3}, "https://acme.example"), `profile: expected "tag:github.com/parallaxsecond,2023-03-03:tpm", found "https://acme.example"`},
		"a very long profile":  {to(l{3}, strings.Repeat("x", 1000)), `profile: expected "tag:github.com/parallaxsecond,2023-03-03:tpm", found "` + strings.Repeat("x", 80) + `" and 920 bytes more`},
		"profile is an OID":    {to(l{3}, []byte{0x2b, 6}), `profile: expected a text string, tag:github.com/parallaxsecond,2023-03-03:tpm, found a byte string (2 bytes)`},
		"profiles in an array": {to(l{3}, l{Profile}), `profile: expected a text string, tag:github.com/parallaxsecond,2023-03-03:tpm, found an array (1 elements)`},
		"no end of validity":   {without(l{4, 1}), `validity.not-after: missing; expected seconds since 1970 (tag 1)`},
		"validity ends before it starts": {to(l{4, 1}, tag(1, 1699999999)),
			`validity.not-after: expected 2023-11-14T22:13:20Z or later, found 2023-11-14T22:13:19Z`},
		"untagged time":            {to(l{4, 1}, 1800000000), `validity.not-after: expected whole seconds since 1970 (tag 1), found the number 1800000000`},
		"time as text":             {to(l{4, 1}, tag(0, "2027-01-15T08:00:00Z")), `validity.not-after: expected whole seconds since 1970 (tag 1), found tag 0`},
		"time with a fraction":     {to(l{4, 1}, tag(1, 1.5)), `validity.not-after: expected whole seconds since 1970 (tag 1), found a floating-point number`},
		"time before 1970":         {to(l{4, 0}, tag(1, -62135596800)), `validity.not-before: expected whole seconds since 1970 (tag 1), found a negative number`},
		"time after 9999":          {to(l{4, 1}, tag(1, 253402300800)), `validity.not-after: expected whole seconds since 1970 (tag 1) until the year 9999, found the number 253402300800`},
		"extension of validity":    {to(l{4, 2}, 0), `validity: unknown key 2`},
		"no entities":              {to(l{5}, l{}), `entities: expected an array of entities, found an empty array`},
		"entity without name":      {without(l{5, 0, 0}), `entities[0].name: missing`},
		"entity with empty name":   {to(l{5, 0, 0}, ""), `entities[0].name: expected a text string, found an empty one`},
		"entity with untagged ID":  {to(l{5, 0, 1}, "https://acme.example"), `entities[0].regid: expected a URI (tag 32), found a text string`},
		"entity with empty ID":     {to(l{5, 0, 1}, tag(32, "")), `entities[0].regid: expected a URI (tag 32), found an empty one`},
		"entity without roles":     {without(l{5, 0, 2}), `entities[0].roles: missing`},
		"entity with no role":      {to(l{5, 0, 2}, l{}), `entities[0].roles: expected an array of roles, found an empty array`},
		"entity's role is text":    {to(l{5, 0, 2}, l{"creator"}), `entities[0].roles[0]: expected the role manifest-creator (1), found a text string`},
		"entity's role is 2":       {to(l{5, 0, 2}, l{2}), `entities[0].roles[0]: expected the role manifest-creator (1), found the number 2`},
		"CoMID entity's role is 3": {to(l{1, 0, 2, 0, 2}, l{2, 3}), `comid[0]: entities[0].roles[1]: expected the role tag-creator (0), creator (1) or maintainer (2), found the number 3`},
		"unknown CoRIM key":        {to(l{6}, 0), `unknown key 6`},
		"negative CoRIM key":       {to(l{-1}, 0), `unknown key -1`},
		"text as a CoRIM key":      {to(l{"profile"}, Profile), `unknown key "profile"`},

		// a CoMID
		"CoSWID": {to(l{1, 1}, encodeAny(t, tag(505, m{}))), `comid[1]: expected a CoMID (tag 506), found a CoSWID (tag 505), which is not in the profile`},
		"CoTS":   {to(l{1, 1}, encodeAny(t, tag(507, m{}))), `comid[1]: expected a CoMID (tag 506), found a CoTS (tag 507), which is not in the profile`},
		"CoTL":   {to(l{1, 1}, encodeAny(t, tag(508, m{}))), `comid[1]: expected a CoMID (tag 506), found a CoTL (tag 508), which is not in the profile`},
		"another tag in place of a CoMID": {to(l{1, 1}, encodeAny(t, tag(600, m{}))),
			`comid[1]: expected a CoMID (tag 506), found tag 600`},
		"untagged CoMID":        {to(l{1, 1}, encodeAny(t, m{})), `comid[1]: expected a CoMID (tag 506), found a map`},
		"CoMID is no map":       {to(l{1, 1}, encodeAny(t, tag(506, 0))), `comid[1]: expected a CoMID map, found the number 0`},
		"empty CoMID":           {to(l{1, 1}, []byte{}), `comid[1]: not well-formed CBOR within the limits: EOF`},
		"no tag identity":       {without(l{1, 0, 1}), `comid[0]: tag-identity: missing`},
		"no tag-id":             {without(l{1, 0, 1, 0}), `comid[0]: tag-identity.id: missing; expected text or a UUID`},
		"empty tag-id":          {to(l{1, 0, 1, 0}, ""), `comid[0]: tag-identity.id: expected text or a UUID of 16 bytes, found an empty text string`},
		"tag version is text":   {to(l{1, 0, 1, 1}, "1"), `comid[0]: tag-identity.version: expected a version number, found a text string`},
		"language is a number":  {to(l{1, 0, 0}, 1), `comid[0]: lang: expected a language tag, found the number 1`},
		"faulty CoMID entity":   {without(l{1, 0, 2, 0, 0}), `comid[0]: entities[0].name: missing`},
		"linked tags":           {to(l{1, 0, 3}, l{m{0: "old", 1: 1}}), `comid[0]: linked-tags: not in the profile; a CoMID neither replaces nor supplements another`},
		"unknown CoMID key":     {to(l{1, 0, 5}, 0), `comid[0]: unknown key 5`},
		"no triples":            {without(l{1, 0, 4}), `comid[0]: triples: missing`},
		"empty triples":         {to(l{1, 0, 4}, m{}), `comid[0]: triples: expected reference-values or attester-verification-keys, found an empty map`},
		"endorsed values":       {to(l{1, 0, 4, 1}, l{0}), `comid[0]: endorsed-values: not in the profile; expected reference-values or attester-verification-keys`},
		"device identity keys":  {to(l{1, 0, 4, 2}, l{0}), `comid[0]: dev-identity-keys: not in the profile; expected reference-values or attester-verification-keys`},
		"dependency triples":    {to(l{1, 0, 4, 4}, l{0}), `comid[0]: dependency-triples: not in the profile; expected reference-values or attester-verification-keys`},
		"membership triples":    {to(l{1, 0, 4, 5}, l{0}), `comid[0]: membership-triples: not in the profile; expected reference-values or attester-verification-keys`},
		"CoSWID triples":        {to(l{1, 0, 4, 6}, l{0}), `comid[0]: coswid-triples: not in the profile; expected reference-values or attester-verification-keys`},
		"conditional series":    {to(l{1, 0, 4, 8}, l{0}), `comid[0]: conditional-endorsement-series: not in the profile; expected reference-values or attester-verification-keys`},
		"conditional triples":   {to(l{1, 0, 4, 10}, l{0}), `comid[0]: conditional-endorsements: not in the profile; expected reference-values or attester-verification-keys`},
		"unknown triples":       {to(l{1, 0, 4, 7}, l{0}), `comid[0]: triples: unknown key 7`},
		"keys: no triple":       {to(pathKeyTriples, l{}), `comid[0]: attester-verification-keys: expected an array of triples, found an empty array`},
		"values: no triple":     {to(pathValTriples, l{}), `comid[1]: reference-values: expected an array of triples, found an empty array`},
		"values: one as it is":  {to(pathValTriples, m{}), `comid[1]: reference-values: expected an array of triples, found a map`},
		"values: second triple": {func(t *testing.T, doc m) { twice(pathValTriples)(t, doc); set(t, doc, under(pathValTriples, 1), l{}) }, `comid[1]: reference-values[1]: expected an array of environment and measurements, found an array (0 elements)`},

		// an attester verification key
		"key: condition":           {func(t *testing.T, doc m) { set(t, doc, pathKeyTriple, append(get(t, doc, pathKeyTriple).(l), m{})) }, keys0 + `expected an array of environment and keys, found an array (3 elements)`},
		"key: environment is null": {to(pathKeyEnv, nil), keys0 + `environment: expected an environment map, found null`},
		"key: no class":            {without(under(pathKeyEnv, 0)), keys0 + `environment.class: missing; expected a class with a UUID as its id`},
		"key: no class-id":         {without(under(pathKeyEnv, 0, 0)), keys0 + `environment.class.id: missing; expected a UUID (tag 37)`},
		"key: class-id is an OID":  {to(under(pathKeyEnv, 0, 0), tag(111, []byte{0x2a, 3, 4})), keys0 + `environment.class.id: expected a UUID (tag 37), found tag 111`},
		"key: class-id is no tag":  {to(under(pathKeyEnv, 0, 0), uuidBytes(t, classA)), keys0 + `environment.class.id: expected a UUID (tag 37), found a byte string (16 bytes)`},
		"key: class-id is text":    {to(under(pathKeyEnv, 0, 0), tag(37, classA)), keys0 + `environment.class.id: expected a UUID (tag 37), found a text string`},
		"key: class-id is short":   {to(under(pathKeyEnv, 0, 0), tag(37, make([]byte, 15))), keys0 + `environment.class.id: expected a UUID (tag 37) of 16 bytes, found a byte string (15 bytes)`},
		"key: vendor is bytes":     {to(under(pathKeyEnv, 0, 1), []byte("ACME")), keys0 + `environment.class.vendor: expected the vendor's name, found a byte string (4 bytes)`},
		"key: model is a number":   {to(under(pathKeyEnv, 0, 2), 1), keys0 + `environment.class.model: expected the model's name, found the number 1`},
		"key: layer":               {to(under(pathKeyEnv, 0, 3), 0), keys0 + `environment.class.layer: not in the profile; a class is known by its id alone`},
		"key: index":               {to(under(pathKeyEnv, 0, 4), 0), keys0 + `environment.class.index: not in the profile; a class is known by its id alone`},
		"key: no instance":         {without(under(pathKeyEnv, 1)), keys0 + `environment.instance: missing; expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560)`},
		"key: instance is a UUID":  {to(under(pathKeyEnv, 1), tag(37, uuidBytes(t, classA))), keys0 + `environment.instance: expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560), found tag 37`},
		"key: bytes are no UEID":   {to(under(pathKeyEnv, 1), tag(560, kidA[1:])), keys0 + `environment.instance: expected a UEID (RFC 9711, 4.2.1): invalid UEID type 170`},
		"key: tagged text":         {to(under(pathKeyEnv, 1), tag(560, "key")), keys0 + `environment.instance: expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560), found a text string`},
		"key: instance is no tag":  {to(under(pathKeyEnv, 1), kidA), keys0 + `environment.instance: expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560), found a byte string (33 bytes)`},
		"key: UEID is an array":    {to(under(pathKeyEnv, 1), tag(550, l{1, 2})), keys0 + `environment.instance: expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560), found an array (2 elements)`},
		"key: UEID is empty":       {to(under(pathKeyEnv, 1), tag(550, []byte{})), keys0 + `environment.instance: expected a UEID (RFC 9711, 4.2.1): empty UEID`},
		"key: UEID's type":         {to(under(pathKeyEnv, 1), tag(550, append([]byte{4}, make([]byte, 32)...))), keys0 + `environment.instance: expected a UEID (RFC 9711, 4.2.1): invalid UEID type 4`},
		"key: UEID's length":       {to(under(pathKeyEnv, 1), tag(550, kidA[:32])), keys0 + `environment.instance: expected a UEID (RFC 9711, 4.2.1): RAND length must be exactly 16, 24, or 32 bytes; found 31 bytes`},
		"key: group":               {to(under(pathKeyEnv, 2), tag(37, uuidBytes(t, classA))), keys0 + `environment.group: not in the profile; a key is known by class and instance alone`},
		"key: no key":              {to(pathKeys, l{}), keys0 + `verification-keys: expected an array of exactly one key, found an array (0 elements)`},
		"key: two keys":            {twice(pathKeys), keys0 + `verification-keys: expected an array of exactly one key, found an array (2 elements)`},
		"key: keys is null":        {to(pathKeys, nil), keys0 + `verification-keys: expected an array of exactly one key, found null`},
		"key: key is null":         {to(pathKeys, l{nil}), keys0 + `verification-keys[0]: expected a pkix-base64-key (tag 554), found null`},
		"key: tagged null":         {to(pathKeys, l{tag(554, nil)}), keys0 + `verification-keys[0]: expected a pkix-base64-key (tag 554), found null`},
		"key: certificate":         {to(pathKeys, l{tag(555, pemA)}), keys0 + `verification-keys[0]: expected a pkix-base64-key (tag 554), found tag 555`},
		"key: COSE key":            {to(pathKeys, l{tag(558, []byte{0xa0})}), keys0 + `verification-keys[0]: expected a pkix-base64-key (tag 554), found tag 558`},
		"key: untagged":            {to(pathKeys, l{pemA}), keys0 + `verification-keys[0]: expected a pkix-base64-key (tag 554), found a text string`},
		"key: faulty PEM":          {to(pathKeys, l{tag(554, pemA[:60])}), keys0 + `verification-keys[0]: expected one PEM block PUBLIC KEY, found a malformed block`},
		"key: unsupported": {to(pathKeys, l{tag(554, spkiPEM(t, newKey(t, elliptic.P224())))}),
			keys0 + `verification-keys[0]: expected an ECDSA key on P-256, P-384 or P-521, found one on P-224`},
		"key: Ed25519": {to(pathKeys, l{tag(554, spkiPEM(t, ed25519.PublicKey(make([]byte, 32))))}),
			keys0 + `verification-keys[0]: expected an ECDSA or RSA key, found ed25519.PublicKey`},

		// a reference value
		"value: instance":          {to(under(pathValEnv, 1), tag(550, kidA)), vals0 + `environment.instance: not in the profile; a reference value is for a whole class`},
		"value: group":             {to(under(pathValEnv, 2), tag(37, uuidBytes(t, classA))), vals0 + `environment.group: not in the profile; a reference value is for a whole class`},
		"value: no class":          {without(under(pathValEnv, 0)), vals0 + `environment.class: missing; expected a class with a UUID as its id`},
		"value: second vendor":     {described(1, "ACME", "Other"), vals0 + `environment.class.vendor: "Other", but this CoRIM has said "ACME" of the same class id; a class is known by its id alone`},
		"value: second model":      {described(2, "One", "Two"), vals0 + `environment.class.model: "Two", but this CoRIM has said "One" of the same class id; a class is known by its id alone`},
		"value: unknown env key":   {to(under(pathValEnv, 3), 0), vals0 + `environment: unknown key 3`},
		"value: no measurement":    {to(under(pathValTriple, 1), l{}), vals0 + `measurements: expected an array of measurements, found an empty array`},
		"value: one as it is":      {to(under(pathValTriple, 1), m{}), vals0 + `measurements: expected an array of measurements, found a map`},
		"value: no key":            {without(under(pathMeasurement, 0)), meas1 + `.key: missing; expected the index of a PCR, 0 to 31`},
		"value: key is null":       {to(under(pathMeasurement, 0), nil), meas1 + `.key: expected the index of a PCR, 0 to 31, found null`},
		"value: key is a UUID":     {to(under(pathMeasurement, 0), tag(37, uuidBytes(t, classA))), meas1 + `.key: expected the index of a PCR, 0 to 31, found tag 37`},
		"value: key is tagged":     {to(under(pathMeasurement, 0), tag(551, 3)), meas1 + `.key: expected the index of a PCR, 0 to 31, found tag 551`},
		"value: key is text":       {to(under(pathMeasurement, 0), "0"), meas1 + `.key: expected the index of a PCR, 0 to 31, found a text string`},
		"value: key is negative":   {to(under(pathMeasurement, 0), -1), meas1 + `.key: expected the index of a PCR, 0 to 31, found a negative number`},
		"value: key is 32":         {to(under(pathMeasurement, 0), 32), meas1 + `.key: expected the index of a PCR, 0 to 31, found the number 32`},
		"value: key overflows":     {to(under(pathMeasurement, 0), uint64(1)<<63), meas1 + `.key: expected the index of a PCR, 0 to 31, found the number 9223372036854775808`},
		"value: no value":          {without(under(pathMeasurement, 1)), meas1 + `.value: missing; expected digests`},
		"value: value is null":     {to(pathMval, nil), meas1 + `.value: expected a map with digests, found null`},
		"value: authorized-by":     {to(under(pathMeasurement, 2), tag(554, pemA)), meas1 + `.authorized-by: not in the profile; whoever may provision speaks for every value`},
		"value: version":           {to(under(pathMval, 0), m{0: "1"}), meas1 + `.value.version: not in the profile; only digests are compared`},
		"value: svn":               {to(under(pathMval, 1), tag(552, 2)), meas1 + `.value.svn: not in the profile; only digests are compared`},
		"value: flags":             {to(under(pathMval, 3), m{}), meas1 + `.value.flags: not in the profile; only digests are compared`},
		"value: raw value":         {to(under(pathMval, 4), tag(560, []byte{1})), meas1 + `.value.raw-value: not in the profile; only digests are compared`},
		"value: raw value's mask":  {to(under(pathMval, 5), []byte{1}), meas1 + `.value.raw-value-mask: not in the profile; only digests are compared`},
		"value: MAC address":       {to(under(pathMval, 6), make([]byte, 6)), meas1 + `.value.mac-addr: not in the profile; only digests are compared`},
		"value: IP address":        {to(under(pathMval, 7), make([]byte, 4)), meas1 + `.value.ip-addr: not in the profile; only digests are compared`},
		"value: serial number":     {to(under(pathMval, 8), "1"), meas1 + `.value.serial-number: not in the profile; only digests are compared`},
		"value: UEID":              {to(under(pathMval, 9), kidA), meas1 + `.value.ueid: not in the profile; only digests are compared`},
		"value: UUID":              {to(under(pathMval, 10), uuidBytes(t, classA)), meas1 + `.value.uuid: not in the profile; only digests are compared`},
		"value: name":              {to(under(pathMval, 11), "boot"), meas1 + `.value.name: not in the profile; only digests are compared`},
		"value: crypto keys":       {to(under(pathMval, 13), l{tag(554, pemA)}), meas1 + `.value.cryptokeys: not in the profile; only digests are compared`},
		"value: registers":         {to(under(pathMval, 14), m{}), meas1 + `.value.integrity-registers: not in the profile; only digests are compared`},
		"value: int range":         {to(under(pathMval, 15), 1), meas1 + `.value.int-range: not in the profile; only digests are compared`},
		"value: unknown":           {to(under(pathMval, 12), 1), meas1 + `.value: unknown key 12`},
		"value: extension":         {to(under(pathMval, -70000), 1), meas1 + `.value: unknown key -70000`},
		"value: no digests":        {without(pathDigests), meas1 + `.value.digests: missing; expected at least one digest`},
		"value: empty digests":     {to(pathDigests, l{}), meas1 + `.value.digests: expected an array of digests, found an empty array`},
		"value: digest of three":   {to(under(pathDigests, 0), l{1, digest(crypto.SHA256, 1), 0}), meas1 + `.value.digests[0]: expected an array of algorithm and digest, found an array (3 elements)`},
		"value: digest is text":    {to(under(pathDigests, 0, 1), strings.Repeat("x", 32)), meas1 + `.value.digests[0]: expected a byte string, found a text string`},
		"value: digest is array":   {to(under(pathDigests, 0, 1), make(l, 32)), meas1 + `.value.digests[0]: expected a byte string, found an array (32 elements)`},
		"value: short digest":      {to(under(pathDigests, 0, 1), make([]byte, 31)), meas1 + `.value.digests[0]: expected the 32 bytes of sha256, found a byte string (31 bytes)`},
		"value: long digest":       {to(under(pathDigests, 1, 1), make([]byte, 65)), meas1 + `.value.digests[1]: expected the 64 bytes of sha512, found a byte string (65 bytes)`},
		"value: other bank's":      {to(under(pathDigests, 0, 0), 7), meas1 + `.value.digests[0]: expected the 48 bytes of sha384, found a byte string (32 bytes)`},
		"value: SHA-1 by TPM's":    {to(under(pathDigests, 0), l{4, make([]byte, 20)}), meas1 + `.value.digests[0]: expected sha-256 (1), sha-384 (7) or sha-512 (8), found sha-256-96 (4)`},
		"value: SHA-1 by COSE's":   {to(under(pathDigests, 0), l{-14, make([]byte, 20)}), meas1 + `.value.digests[0]: expected sha-256 (1), sha-384 (7) or sha-512 (8), found COSE's SHA-1 (-14)`},
		"value: SHA-1 by name":     {to(under(pathDigests, 0), l{"sha-1", make([]byte, 20)}), meas1 + `.value.digests[0]: expected sha-256 (1), sha-384 (7) or sha-512 (8) as a number, found "sha-1"`},
		"value: SHA-256 by name":   {to(under(pathDigests, 0, 0), "sha-256"), meas1 + `.value.digests[0]: expected sha-256 (1), sha-384 (7) or sha-512 (8) as a number, found "sha-256"`},
		"value: SHA-3":             {to(under(pathDigests, 0, 0), 10), meas1 + `.value.digests[0]: expected sha-256 (1), sha-384 (7) or sha-512 (8), found sha3-256 (10)`},
		"value: algorithm 0":       {to(under(pathDigests, 0, 0), 0), meas1 + `.value.digests[0]: expected sha-256 (1), sha-384 (7) or sha-512 (8), found the number 0`},
		"value: algorithm is null": {to(under(pathDigests, 0, 0), nil), meas1 + `.value.digests[0]: expected sha-256 (1), sha-384 (7) or sha-512 (8), found null`},
		"value: second digest": {twice(pathDigests), meas1 + `.value.digests[1]: PCR sha256:7 occurs twice in one state; ` +
			`put the values of a second firmware version into a reference value triple of its own`},
		"value: second version": {func(t *testing.T, doc m) {
			set(t, doc, under(pathMeasurement, 0), 0)
			set(t, doc, under(pathDigests, 0, 1), digest(crypto.SHA256, 0xff))
		}, meas1 + `.value.digests[0]: PCR sha256:0 occurs twice in one state; ` +
			`put the values of a second firmware version into a reference value triple of its own`},

		// what is not in order anywhere
		"faulty UTF-8":         {to(l{0}, raw{0x62, 0xc3, 0x28}), `corim-id: expected text or a UUID of 16 bytes, found invalid UTF-8`},
		"long form of a key":   {to(l{1, 1}, mustHex("d901faa1180400")), `comid[1]: 4 is not in its shortest form`},
		"long form of a tag":   {to(l{1, 1}, mustHex("da000001faa0")), `comid[1]: 506 is not in its shortest form`},
		"key is a float":       {to(l{1, 1}, mustHex("d901faa1f9000000")), `comid[1]: unknown key: a floating-point number`},
		"key is a byte string": {to(l{1, 1}, mustHex("d901faa1410000")), `comid[1]: unknown key: a byte string (1 bytes)`},
		"key is very negative": {to(l{1, 1}, mustHex("d901faa13bffffffffffffffff00")), `comid[1]: unknown key: a negative number`},
	}

	// These are about what the dialects differ in.
	framing := map[string]bool{
		"CoMID is a map": true, "profile is an OID": true, "profiles in an array": true, "entity's role is text": true, "entity's role is 2": true,
		"CoSWID": true, "CoTS": true, "CoTL": true, "another tag in place of a CoMID": true, "untagged CoMID": true, "CoMID is no map": true,
		"empty CoMID": true, "long form of a tag": true,
	}
	for name := range framing {
		require.Contains(t, tests, name)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, d := range []Dialect{DialectV1, DialectV2} {
				if d == DialectV2 && framing[name] {
					continue // has its own in TestDecodeRefusesV2
				}
				doc := goodCorim(t)
				test.change(t, doc)
				data := encodeDocIn(t, d, doc)
				c, err := Decode(data)
				assert.Nil(t, c)
				require.EqualError(t, err, test.want, d)
				var e *Error
				assert.ErrorAs(t, err, &e)
				converted, err := Convert(data, DialectV1)
				assert.Nil(t, converted)
				require.EqualError(t, err, test.want, d)
			}
		})
	}
}

// TestDecodeRefusesBytes has defects that a map cannot have.
func TestDecodeRefusesBytes(t *testing.T) {
	good := encodeDoc(t, goodCorim(t))
	comid := func(content string) []byte {
		doc := goodCorim(t)
		set(t, doc, l{1, 1}, append(mustHex("d901fa"), mustHex(content)...))
		return encodeDoc(t, doc)
	}
	const cborError = "not well-formed CBOR within the limits: "
	deep := strings.Repeat("81", 17) + "00"

	tests := map[string]struct {
		data []byte
		want string
	}{
		"nothing":                 {nil, `no data; expected a CoRIM`},
		"too much":                {make([]byte, MaxCorimSize+1), `1048577 bytes; expected at most 1048576`},
		"bytes after the end":     {append(bytes.Clone(good), 0), cborError + `cbor: 1 bytes of extraneous data starting at index ` + itoa(len(good))},
		"end is missing":          {good[:len(good)-1], cborError + `unexpected EOF`},
		"a tag and nothing":       {mustHex("d825"), cborError + `unexpected EOF`},
		"a map of 4 billion":      {mustHex("baffffffff"), cborError + `cbor: exceeded max number of key-value pairs 64 for CBOR map`},
		"indefinite map":          {append(append([]byte{0xbf}, good[1:]...), 0xff), cborError + `cbor: indefinite-length map isn't allowed`},
		"text":                    {[]byte("invalid CBOR"), cborError + `cbor: 2 bytes of extraneous data starting at index 10`},
		"null":                    {mustHex("f6"), `expected a CoRIM map, found null`},
		"an array":                {mustHex("80"), `expected a CoRIM map, found an array (0 elements)`},
		"a tag of no dialect":     {mustHex("d9d9f7a0"), `expected a CoRIM, a map (dialect v1) or tag 501 (dialect v2), found tag 55799`},
		"key twice":               {append(append([]byte{0xa6}, good[1:]...), mustHex("036161")...), `profile: there twice`},
		"CoMID: bytes after":      {comid("a000"), `comid[1]: ` + cborError + `cbor: 1 bytes of extraneous data starting at index 4`},
		"CoMID: indefinite map":   {comid("bfff"), `comid[1]: ` + cborError + `cbor: indefinite-length map isn't allowed`},
		"CoMID: key twice":        {comid("a2006161006162"), `comid[1]: lang: there twice`},
		"CoMID: too deep":         {comid(deep), `comid[1]: ` + cborError + `cbor: exceeded max nested level 16`},
		"CoMID: a map of 4 bn":    {comid("baffffffff"), `comid[1]: ` + cborError + `cbor: exceeded max number of key-value pairs 64 for CBOR map`},
		"CoMID: indefinite text":  {comid("a1007f6161ff"), `comid[1]: ` + cborError + `cbor: indefinite-length UTF-8 text string isn't allowed`},
		"CoMID: indefinite array": {comid("a1029fff"), `comid[1]: ` + cborError + `cbor: indefinite-length array isn't allowed`},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Decode(test.data)
			assert.Nil(t, c)
			require.EqualError(t, err, test.want)
		})
	}
}

// TestDecodeRefusesKeyTwice: at every level, a second key of the same number.
func TestDecodeRefusesKeyTwice(t *testing.T) {
	env := "a100a100d82550cd1f0e5526f9460db9d8f7fde171787c"
	measurement := "a2000001a10281820158" + "20" + strings.Repeat("00", 32)
	tests := map[string]struct{ comid, want string }{
		"triples":     {"a201a100616104a2008182" + env + "81" + measurement + "0080", `comid[0]: triples.reference-values: there twice`},
		"environment": {"a201a100616104a1008182" + "a200a100d82550cd1f0e5526f9460db9d8f7fde171787c00a0" + "81" + measurement, `comid[0]: reference-values[0]: environment.class: there twice`},
		"class":       {"a201a100616104a1008182" + "a100a200d82550cd1f0e5526f9460db9d8f7fde171787c00d82550cd1f0e5526f9460db9d8f7fde171787d" + "81" + measurement, `comid[0]: reference-values[0]: environment.class.id: there twice`},
		"measurement": {"a201a100616104a1008182" + env + "81" + "a30000" + measurement[2:], `comid[0]: reference-values[0]: measurements[0].key: there twice`},
		"identity":    {"a201a20061610061620400", `comid[0]: tag-identity.id: there twice`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			doc := goodCorim(t)
			set(t, doc, l{1}, l{append(mustHex("d901fa"), mustHex(test.comid)...)})
			_, err := Decode(encodeDoc(t, doc))
			require.EqualError(t, err, test.want)
		})
	}
}

// TestErrorFields: a caller can tell the place without reading the text.
func TestErrorFields(t *testing.T) {
	doc := goodCorim(t)
	set(t, doc, under(pathDigests, 1, 1), []byte{1})
	_, err := Decode(encodeDoc(t, doc))
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 1, e.Comid)
	assert.Equal(t, "reference-values", e.Triple)
	assert.Equal(t, 0, e.Index)
	assert.Equal(t, "measurements[1].value.digests[1]", e.Field)
	assert.EqualError(t, errors.Unwrap(e), "expected the 64 bytes of sha512, found a byte string (1 bytes)")

	_, err = Decode(nil)
	require.ErrorAs(t, err, &e)
	assert.Equal(t, -1, e.Comid)
	assert.Empty(t, e.Triple)
	assert.Equal(t, -1, e.Index)
	assert.Empty(t, e.Field)
}

// TestDecodeAmbiguousKey: the second key under a kid is refused where it is
// provisioned.
func TestDecodeAmbiguousKey(t *testing.T) {
	doc := goodCorim(t)
	first := get(t, doc, pathKeyTriple).(l)
	set(t, doc, pathKeyTriples, l{first, l{first[0], l{tag(554, pemB)}}})
	_, err := Decode(encodeDoc(t, doc))
	var ambiguous *AmbiguousKeyError
	require.ErrorAs(t, err, &ambiguous)
	assert.Equal(t, kidA, []byte(ambiguous.KID))
	assert.Equal(t, pemA, ambiguous.First.PEM)
	assert.Equal(t, pemB, ambiguous.Second.PEM)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 1, e.Index)
	assert.EqualError(t, err, "comid[0]: attester-verification-keys[1]: environment.instance: "+
		"kid 01"+strings.Repeat("aa", 32)+" is provisioned with two different keys")
}

func TestCheckValidity(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	both := &Corim{NotBefore: at(100), NotAfter: at(200)}
	tests := map[string]struct {
		corim *Corim
		now   time.Time
		want  error
	}{
		"no bounds":    {&Corim{}, at(0), nil},
		"first second": {both, at(100), nil},
		"last second":  {both, at(200), nil},
		"too early":    {both, at(100).Add(-1), ErrNotYetValid},
		"too late":     {both, at(200).Add(1), ErrExpired},
		"no start":     {&Corim{NotAfter: at(200)}, at(-5), nil},
		"no clock":     {both, time.Time{}, ErrNotYetValid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			assert.ErrorIs(t, test.corim.CheckValidity(test.now), test.want)
		})
	}
	assert.EqualError(t, both.CheckValidity(at(201)), "the CoRIM has expired: not after 1970-01-01T00:03:20Z")
	assert.EqualError(t, both.CheckValidity(at(1)), "the CoRIM is not valid yet: not before 1970-01-01T00:01:40Z")
}
