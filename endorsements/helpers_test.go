// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/comid"
	"github.com/veraison/corim/corim"
)

const (
	classA = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	classB = "d10e4bd6-7e02-4d2c-bf1a-69ae22680478"

	// pemA is the key in Veraison's own vectors.
	pemA = "-----BEGIN PUBLIC KEY-----\n" +
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETKRFE/RwSXooI8DdatPOYg/uiKm2XrtT/uEMEvqQZrwJHHcfw0c3WVzGoqL3Y/Q6xkHFfdUVqS2WWkPdKO03uw==\n" +
		"-----END PUBLIC KEY-----"
	// pemB is another one on P-256.
	pemB = "-----BEGIN PUBLIC KEY-----\n" +
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2lB1xtcIWePIt/Wwt+s8Ybp+5ji8\n" +
		"t2pzGDKSOG7xTGK5gOYkcLCHz4i4L/yGzyEmBO1mZFZNuJz14X0J24+XQQ==\n" +
		"-----END PUBLIC KEY-----"
)

var (
	kidA = append([]byte{1}, bytes.Repeat([]byte{0xaa}, 32)...)
	kidB = append([]byte{1}, bytes.Repeat([]byte{0xbb}, 32)...)
)

// digest returns a digest of the bank's length that is full of one byte.
func digest(bank crypto.Hash, fill byte) []byte {
	return bytes.Repeat([]byte{fill}, bank.Size())
}

func value(bank crypto.Hash, index int, fill byte) PCRValue {
	return PCRValue{PCR{bank, index}, digest(bank, fill)}
}

func mustAnchor(t testing.TB, class string, kid []byte, pem string) TrustAnchor {
	t.Helper()
	a, err := NewTrustAnchor(class, kid, pem)
	require.NoError(t, err)
	return a
}

func mustState(t testing.TB, class string, values ...PCRValue) ReferenceState {
	t.Helper()
	s, err := NewReferenceState(class, values)
	require.NoError(t, err)
	return s
}

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return &key.PublicKey
}

// spkiPEM writes any key that crypto/x509 can write.
func spkiPEM(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func newRSAKey(t testing.TB, bits int) *rsa.PublicKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return &key.PublicKey
}

// What follows builds CoRIMs that Encode would not write, from maps and lists.
type (
	m = map[any]any
	l = []any
	// raw is CBOR that goes in as it is.
	raw = cbor.RawMessage
)

func tag(number uint64, content any) cbor.Tag {
	return cbor.Tag{Number: number, Content: content}
}

func uuidBytes(t testing.TB, s string) []byte {
	t.Helper()
	id, ok := parseUUID(s)
	require.True(t, ok)
	return id[:]
}

// goodCorim is a CoRIM with everything that the profile reads. Its first CoMID
// has an anchor, its second a state. The entries of key 1 are wrapped by
// encodeDoc.
func goodCorim(t testing.TB) m {
	entities := func() l {
		return l{m{0: "ACME Ltd.", 1: tag(32, "https://acme.example"), 2: l{1}}}
	}
	return m{
		0: "a corim",
		1: l{
			m{
				0: "en-GB",
				1: m{0: "keys", 1: 7},
				2: entities(),
				4: m{3: l{
					l{m{0: m{0: tag(37, uuidBytes(t, classA))}, 1: tag(550, kidA)}, l{tag(554, pemA)}},
				}},
			},
			m{
				1: m{0: uuidBytes(t, classB)},
				4: m{0: l{
					l{m{0: m{0: tag(37, uuidBytes(t, classA))}}, l{
						m{0: 0, 1: m{2: l{l{1, digest(crypto.SHA256, 0x10)}, l{7, digest(crypto.SHA384, 0x30)}}}},
						m{0: 7, 1: m{2: l{l{1, digest(crypto.SHA256, 0x17)}, l{8, digest(crypto.SHA512, 0x57)}}}},
					}},
				}},
			},
		},
		3: Profile,
		4: m{0: tag(1, 1700000000), 1: tag(1, 1800000000)},
		5: entities(),
	}
}

// Paths to what most tests change.
var (
	pathKeyTriples  = l{1, 0, 4, 3}
	pathKeyTriple   = l{1, 0, 4, 3, 0}
	pathKeyEnv      = l{1, 0, 4, 3, 0, 0}
	pathKeys        = l{1, 0, 4, 3, 0, 1}
	pathValTriples  = l{1, 1, 4, 0}
	pathValTriple   = l{1, 1, 4, 0, 0}
	pathValEnv      = l{1, 1, 4, 0, 0, 0}
	pathMeasurement = l{1, 1, 4, 0, 0, 1, 1}
	pathMval        = l{1, 1, 4, 0, 0, 1, 1, 1}
	pathDigests     = l{1, 1, 4, 0, 0, 1, 1, 1, 2}
)

func under(path l, more ...any) l { return append(append(l{}, path...), more...) }

type deletion struct{}

// set replaces or, with deletion{}, removes what is at a path.
func set(t testing.TB, root any, path l, v any) {
	t.Helper()
	last := path[len(path)-1]
	switch n := get(t, root, path[:len(path)-1]).(type) {
	case m:
		if _, ok := v.(deletion); ok {
			require.Contains(t, n, last)
			delete(n, last)
			return
		}
		n[last] = v
	case l:
		n[last.(int)] = v
	default:
		t.Fatalf("nothing at %v", path)
	}
}

func get(t testing.TB, root any, path l) any {
	t.Helper()
	for _, step := range path {
		switch n := root.(type) {
		case m:
			require.Contains(t, n, step)
			root = n[step]
		case l:
			root = n[step.(int)]
		default:
			t.Fatalf("nothing at %v", path)
		}
	}
	return root
}

// encodeDoc encodes a CoRIM in DialectV1.
func encodeDoc(t testing.TB, doc m) []byte {
	t.Helper()
	return encodeDocIn(t, DialectV1, doc)
}

// encodeDocIn encodes a CoRIM. What is a map among its tags is framed as a CoMID
// of the dialect, and the profile as the dialect has it; anything else goes in
// as it is.
func encodeDocIn(t testing.TB, d Dialect, doc m) []byte {
	t.Helper()
	out := m{}
	for k, v := range doc {
		out[k] = v
	}
	if tags, ok := doc[1].(l); ok {
		framed := l{}
		for _, c := range tags {
			switch c := c.(type) {
			case m:
				if d == DialectV1 {
					framed = append(framed, encodeAny(t, tag(506, c)))
				} else {
					framed = append(framed, tag(506, encodeAny(t, c)))
				}
			case []byte: // 506(…) as DialectV1 has it
				if content, ok := bytes.CutPrefix(c, mustHex("d901fa")); ok && d == DialectV2 {
					framed = append(framed, tag(506, content))
					continue
				}
				framed = append(framed, c)
			default:
				framed = append(framed, c)
			}
		}
		out[1] = framed
	}
	if d == DialectV1 {
		return encodeAny(t, out)
	}
	if profile, ok := out[3].(string); ok {
		out[3] = tag(32, profile)
	}
	return encodeAny(t, tag(501, out))
}

func encodeAny(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	require.NoError(t, err)
	data, err := mode.Marshal(v)
	require.NoError(t, err)
	return data
}

// servicesDir is the folder of the pinned Veraison services module.
func servicesDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/veraison/services").Output()
	require.NoError(t, err)
	dir := strings.TrimSpace(string(out))
	require.NotEmpty(t, dir, "run go mod download first")
	return dir
}

// asVeraisonReads decodes with the corim module alone, in the steps of
// Veraison v0.0.2501's decoder of unsigned CoRIMs, and lists what is in it.
func asVeraisonReads(data []byte) ([]string, error) {
	var uc corim.UnsignedCorim
	if err := uc.FromCBOR(data); err != nil {
		return nil, err
	}
	if err := uc.Valid(); err != nil {
		return nil, err
	}
	profile, err := uc.Profile.Get()
	if err != nil {
		return nil, err
	}
	found := []string{"id " + uc.GetID(), "profile " + profile}
	if v := uc.RimValidity; v != nil {
		if v.NotBefore != nil {
			found = append(found, fmt.Sprintf("not before %d", v.NotBefore.Unix()))
		}
		found = append(found, fmt.Sprintf("not after %d", v.NotAfter.Unix()))
	}
	var states []string
	for i, tag := range uc.Tags {
		content, ok := bytes.CutPrefix(tag, corim.ComidTag)
		if !ok {
			return nil, fmt.Errorf("tag %d: no CoMID", i)
		}
		var c comid.Comid
		if err := c.FromCBOR(content); err != nil {
			return nil, err
		}
		if err := c.Valid(); err != nil {
			return nil, err
		}
		if c.Triples.AttestVerifKeys != nil {
			for _, k := range *c.Triples.AttestVerifKeys {
				kid, err := k.Environment.Instance.GetUEID()
				if err != nil {
					return nil, err
				}
				found = append(found, fmt.Sprintf("anchor %s %x %s", k.Environment.Class.ClassID, []byte(kid), k.VerifKeys[0]))
			}
		}
		if c.Triples.ReferenceValues != nil {
			for _, rv := range c.Triples.ReferenceValues.Values {
				values := map[PCR][]byte{}
				for _, mm := range rv.Measurements.Values {
					index, err := mm.Key.GetKeyUint()
					if err != nil {
						return nil, err
					}
					for _, d := range *mm.Val.Digests {
						bank := map[uint64]crypto.Hash{1: crypto.SHA256, 7: crypto.SHA384, 8: crypto.SHA512}[d.HashAlgID]
						values[PCR{bank, int(index)}] = d.HashValue
					}
				}
				states = append(states, listState(rv.Environment.Class.ClassID.String(), values))
			}
		}
	}
	return append(found, states...), nil
}

// asWeRead lists a CoRIM in the same way.
func asWeRead(c *Corim) []string {
	found := []string{"id " + c.ID, "profile " + Profile}
	if !c.NotBefore.IsZero() {
		found = append(found, fmt.Sprintf("not before %d", c.NotBefore.Unix()))
	}
	if !c.NotAfter.IsZero() {
		found = append(found, fmt.Sprintf("not after %d", c.NotAfter.Unix()))
	}
	for _, a := range c.Anchors {
		found = append(found, fmt.Sprintf("anchor %s %x %s", a.Class, []byte(a.KID), a.PEM))
	}
	for _, s := range c.States {
		values := map[PCR][]byte{}
		for _, v := range s.Values() {
			values[v.PCR] = v.Digest
		}
		found = append(found, listState(s.Class(), values))
	}
	return found
}

func listState(class string, values map[PCR][]byte) string {
	var b strings.Builder
	b.WriteString("state " + class)
	for _, bank := range []crypto.Hash{0, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for index := range 32 {
			if d, ok := values[PCR{bank, index}]; ok {
				fmt.Fprintf(&b, " %s=%x", PCR{bank, index}, d)
			}
		}
	}
	return b.String()
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func itoa(n int) string { return strconv.Itoa(n) }
