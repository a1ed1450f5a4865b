// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package seedwire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// vector is one of testdata/vectors.txt, which was written by hand after the
// drafts: see there.
type vector struct {
	name  string
	draft Draft
	data  []byte
	bad   string // what the error says; empty if it is good
}

func vectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open("testdata/vectors.txt")
	require.NoError(t, err)
	defer f.Close()
	var all []vector
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		line := scanner.Text()
		if i := strings.Index(line, "#"); i >= 0 {
			line = line[:i]
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		var last *vector
		if len(all) > 0 {
			last = &all[len(all)-1]
		}
		switch key {
		case "":
		case "name":
			all = append(all, vector{name: value})
		case "draft":
			last.draft = map[string]Draft{"-02": Draft02, "-07": Draft07}[value]
		case "hex":
			b, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
			require.NoError(t, err, last.name)
			last.data = append(last.data, b...)
		case "text":
			last.data = append(last.data, value...)
		case "error":
			last.bad = value
		default:
			t.Fatalf("unknown key %q", key)
		}
	}
	require.NoError(t, scanner.Err())
	require.NotEmpty(t, all)
	return all
}

const parsec = "application/vnd.parallaxsecond.key-attestation.tpm"

func media(kind CredentialKind, name string) EvidenceType {
	return EvidenceType{Kind: kind, Encoding: MediaType, MediaType: name}
}

func nonce(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// What the good vectors mean, by name.
var clientHellos = map[string]ClientHello{
	"client -02 request": {EvidenceRequest: &EvidenceRequest{Supported: []EvidenceType{media(0, parsec)}, Nonce: nonce(32)}},
	"client -02 request, content formats and no nonce": {EvidenceRequest: &EvidenceRequest{
		Supported: []EvidenceType{{ContentFormat: 0x1234}, {ContentFormat: 7}}, Nonce: []byte{},
	}},
	"client -02 request and proposal": {
		EvidenceRequest:  &EvidenceRequest{Supported: []EvidenceType{media(0, "a/b")}, Nonce: nonce(8)},
		EvidenceProposal: []EvidenceType{media(0, "c/d"), {ContentFormat: 60}},
	},
	"client -07 all four": {
		EvidenceRequest:  &EvidenceRequest{Supported: []EvidenceType{media(CertAttestation, "a/b"), media(Attestation, "a/b")}, Nonce: nonce(8)},
		EvidenceProposal: []EvidenceType{{Kind: CertAttestation, ContentFormat: 60}},
		ResultsRequest:   []string{"v1", "v2"},
		ResultsProposal:  []string{"w"},
	},
	"client nothing": {},
}

var (
	verifier     = "v1"
	serverHellos = map[string]ServerHello{
		"server -02 request":  {EvidenceRequest: ptr(media(0, "a/b"))},
		"server -02 proposal": {EvidenceProposal: &EvidenceChallenge{Selected: media(0, "a/b"), Nonce: nonce(8)}},
		"server -07 request and proposal": {
			EvidenceRequest:  ptr(media(CertAttestation, "a/b")),
			EvidenceProposal: &EvidenceChallenge{Selected: EvidenceType{ContentFormat: 60}, Nonce: nonce(8)},
		},
		"server -07 results": {ResultsRequest: &verifier, ResultsProposal: &verifier},
		"server unsupported": {Unsupported: &Unsupported{
			Shown: []EvidenceType{media(0, "a/b")}, AcceptedVerifiers: []string{"v1"},
		}},
	}
)

func ptr[T any](v T) *T { return &v }

// Each vector decodes to what it means and back to the same bytes, or is refused
// with the reason that it names.
func TestVectors(t *testing.T) {
	seen := 0
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			if strings.HasPrefix(v.name, "client") {
				got, err := DecodeClientHello(v.draft, v.data)
				if v.bad != "" {
					require.ErrorContains(t, err, v.bad)
					require.Equal(t, ClientHello{}, got)
					return
				}
				require.NoError(t, err)
				want, ok := clientHellos[v.name]
				require.True(t, ok)
				assert.Equal(t, want, normal(got))
				data, err := want.Marshal(v.draft)
				require.NoError(t, err)
				assert.Equal(t, hex.EncodeToString(v.data), hex.EncodeToString(data))
				seen++
				return
			}
			got, err := DecodeServerHello(v.draft, v.data)
			if v.bad != "" {
				require.ErrorContains(t, err, v.bad)
				require.Equal(t, ServerHello{}, got)
				return
			}
			require.NoError(t, err)
			want, ok := serverHellos[v.name]
			require.True(t, ok)
			if got.EvidenceProposal != nil {
				got.EvidenceProposal.Nonce = bytes.Clone(got.EvidenceProposal.Nonce)
			}
			assert.Equal(t, want, got)
			data, err := want.Marshal(v.draft)
			require.NoError(t, err)
			assert.Equal(t, hex.EncodeToString(v.data), hex.EncodeToString(data))
			seen++
		})
	}
	assert.Equal(t, len(clientHellos)+len(serverHellos), seen, "a meaning has no vector")
}

// normal has the nonce as plain bytes.
func normal(h ClientHello) ClientHello {
	if h.EvidenceRequest != nil {
		h.EvidenceRequest.Nonce = append([]byte{}, h.EvidenceRequest.Nonce...)
	}
	return h
}

// What cannot be written is refused, with its place.
func TestMarshalRefuses(t *testing.T) {
	request := func(types ...EvidenceType) *ClientHello {
		return &ClientHello{EvidenceRequest: &EvidenceRequest{Supported: types, Nonce: nonce(8)}}
	}
	long := media(0, strings.Repeat("x", 128))
	for name, test := range map[string]struct {
		hello interface{ Marshal(Draft) ([]byte, error) }
		draft Draft
		want  string
	}{
		"draft":         {&ClientHello{}, 3, "draft -03 is not known"},
		"kind in -02":   {request(media(CertAttestation, "a/b")), Draft02, "no credential kind"},
		"unknown kind":  {request(media(2, "a/b")), Draft07, "credential kind 2"},
		"encoding":      {request(EvidenceType{Encoding: 2}), Draft07, "unknown encoding 2"},
		"both":          {request(EvidenceType{Encoding: MediaType, MediaType: "a/b", ContentFormat: 1}), Draft07, "not both"},
		"empty list":    {request(), Draft07, "evidence_request: the list is empty"},
		"long list":     {request(long, long), Draft07, "want at most 255"},
		"short nonce":   {&ClientHello{EvidenceRequest: &EvidenceRequest{Supported: []EvidenceType{long}, Nonce: nonce(7)}}, Draft07, "7 bytes"},
		"long nonce":    {&ClientHello{EvidenceRequest: &EvidenceRequest{Supported: []EvidenceType{long}, Nonce: nonce(256)}}, Draft07, "evidence_request"},
		"passports":     {&ClientHello{ResultsRequest: []string{"v"}}, Draft02, "no passports"},
		"no verifiers":  {&ClientHello{ResultsProposal: []string{}}, Draft07, "results_proposal: the list is empty"},
		"no proposals":  {&ClientHello{EvidenceProposal: []EvidenceType{}}, Draft07, "evidence_proposal: the list is empty"},
		"not alone":     {&ServerHello{Unsupported: &Unsupported{}, ResultsRequest: &verifier}, Draft07, "beside"},
		"server's kind": {&ServerHello{EvidenceRequest: ptr(media(9, "a/b"))}, Draft07, "evidence_request: unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.hello.Marshal(test.draft)
			require.ErrorContains(t, err, test.want)
		})
	}
	_, err := DecodeClientHello(0, nil)
	require.ErrorContains(t, err, "draft -00 is not known")
	_, err = DecodeServerHello(3, nil)
	require.ErrorContains(t, err, "draft -03 is not known")
}

func seeds(f *testing.F) {
	n := 0
	for _, v := range vectors(f) {
		f.Add(v.draft == Draft02, v.data)
		n++
	}
	if n == 0 {
		f.Fatal("no seeds")
	}
}

func draftOf(old bool) Draft {
	if old {
		return Draft02
	}
	return Draft07
}

// What decodes encodes to the same bytes.
func FuzzClientHello(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, old bool, data []byte) {
		before := slices.Clone(data)
		h, err := DecodeClientHello(draftOf(old), data)
		require.Equal(t, before, data)
		if err != nil {
			return
		}
		again, err := h.Marshal(draftOf(old))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, again), "%x\n%x", data, again)
	})
}

func FuzzServerHello(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, old bool, data []byte) {
		h, err := DecodeServerHello(draftOf(old), data)
		if err != nil {
			return
		}
		again, err := h.Marshal(draftOf(old))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, again), "%x\n%x", data, again)
	})
}
