// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package testvectors_test

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/proto"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
)

// Veraison's parsec-tpm scheme has vectors of its own, in the module that this
// one is pinned to. What they are good for is in the tests beside them, so each
// row below is one call of those tests, made on this project's handlers
// instead: with the same files, the same tenant and, as there, no nonce.

const (
	evidenceTest    = "evidence_handler_test.go"
	storeTest       = "store_handler_test.go"
	endorsementTest = "endorsement_handler_test.go"

	accepted = ""
)

// comparison is a call of Veraison's tests.
type comparison struct {
	// source and test are where Veraison makes the call.
	source, test string
	// files are what it is made with.
	files []string
	// theirs is the error that Veraison's test expects, as it is written there,
	// ours the one of this project. Either is accepted.
	theirs, ours string
	// why is the reason where one accepts and the other refuses.
	why  string
	call func(*scheme) error
}

// scheme is the folder of Veraison's scheme and the handlers to try on it.
type scheme struct {
	t        *testing.T
	dir      string
	evidence *evidence.Handler
	store    *evidence.StoreHandler
	corim    *endorsement.Handler
}

func newScheme(t *testing.T) *scheme {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/veraison/services").Output()
	require.NoError(t, err)
	dir := strings.TrimSpace(string(out))
	require.NotEmpty(t, dir, "run go mod download first")
	return &scheme{
		t: t, dir: filepath.Join(dir, "scheme", "parsec-tpm"),
		evidence: evidence.NewHandler(nil), store: evidence.NewStoreHandler(nil), corim: endorsement.NewHandler(nil, nil),
	}
}

func (s *scheme) read(file string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "test", filepath.FromSlash(file)))
	require.NoError(s.t, err)
	return b
}

func (s *scheme) token(tenant, file string) *proto.AttestationToken {
	return &proto.AttestationToken{TenantId: tenant, Data: s.read(file)}
}

func (s *scheme) entries(file string) []string {
	s.t.Helper()
	var list []string
	require.NoError(s.t, json.Unmarshal(s.read(file), &list))
	return list
}

func (s *scheme) entry(file string) *handler.Endorsement {
	s.t.Helper()
	var e handler.Endorsement
	require.NoError(s.t, json.Unmarshal(s.read(file), &e))
	return &e
}

func comparisons() []comparison {
	const (
		good    = "evidence/evidence.cbor"
		anchor  = "evidence/ta_endorsements.json"
		private = "the claims are what one plugin's ExtractClaims hands to its own AppraiseEvidence; " +
			"the same evidence and values are appraised whole in TestVeraisonEvidence"
	)
	extract := func(file string) func(*scheme) error {
		return func(s *scheme) error {
			_, err := s.evidence.ExtractClaims(s.token("0", file), []string{string(s.read(anchor))})
			return err
		}
	}
	validate := func(file, anchor string) func(*scheme) error {
		return func(s *scheme) error {
			return s.evidence.ValidateEvidenceIntegrity(s.token("1", file), []string{string(s.read(anchor))}, nil)
		}
	}
	appraise := func(claims, values string) func(*scheme) error {
		return func(s *scheme) error {
			var ec proto.EvidenceContext
			require.NoError(s.t, json.Unmarshal(s.read(claims), &ec))
			_, err := s.evidence.AppraiseEvidence(&ec, s.entries(values))
			return err
		}
	}
	// key makes of a store key that is not the expected one an error.
	key := func(want string, call func(*scheme) ([]string, error)) func(*scheme) error {
		return func(s *scheme) error {
			keys, err := call(s)
			if err == nil && !slices.Equal(keys, []string{want}) {
				err = errors.New("the keys are " + strings.Join(keys, ", "))
			}
			return err
		}
	}
	const (
		foreignClaims = "the claims are not those of this scheme's ExtractClaims: format is missing"
		notUUID       = `stored trust anchor 0: class: expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found "YWNtZS1pbXBsZW1lbnRhdGlvbi1pZC0wMDAwMDAwMDE="`
		unknownKey    = "malformed: evidence is not a CBOR map of kat and pat: cbor: found unknown field at map element index 1"
	)
	rows := []comparison{
		{
			source: storeTest, test: "Test_GetTrustAnchorIDs_ok", files: []string{good},
			theirs: accepted, ours: accepted,
			call: key("PARSEC_TPM://1/AYiFVFnuuemzSkbrSMs58vaqadoEUioybRI9XFAfziEM", func(s *scheme) ([]string, error) {
				return s.store.GetTrustAnchorIDs(s.token("1", good))
			}),
		},
		{
			source: storeTest, test: "Test_GetRefValueIDs_ok", files: []string{anchor, "evidence/extracted.json"},
			theirs: accepted, ours: accepted,
			call: key("PARSEC_TPM://1/cd1f0e55-26f9-460d-b9d8-f7fde171787c", func(s *scheme) ([]string, error) {
				var extracted struct{ Evidence map[string]any }
				require.NoError(s.t, json.Unmarshal(s.read("evidence/extracted.json"), &extracted))
				return s.store.GetRefValueIDs("1", []string{string(s.read(anchor))}, extracted.Evidence)
			}),
		},
		{
			source: storeTest, test: "Test_SynthKeysFromTrustAnchor_ok", files: []string{anchor},
			theirs: accepted, ours: accepted,
			call: key("PARSEC_TPM://1/AagIEsUMYDNxd1p5UuAACkxJGfJf9rcUZ/oyRFHDcAxn", func(s *scheme) ([]string, error) {
				return s.store.SynthKeysFromTrustAnchor("1", s.entry(anchor))
			}),
		},
		{
			source: storeTest, test: "Test_SynthKeysFromRefValue_ok", files: []string{"evidence/refval-endorsements.json"},
			theirs: accepted, ours: accepted,
			call: key("PARSEC_TPM://1/cd1f0e55-26f9-460d-b9d8-f7fde171787c", func(s *scheme) ([]string, error) {
				return s.store.SynthKeysFromRefValue("1", s.entry("evidence/refval-endorsements.json"))
			}),
		},
		{
			source: evidenceTest, test: "Test_GetRefValueIDs_nok_bad_endorsement", files: []string{"evidence/bad_ta_endorsements.json"},
			theirs: "could not decode endorsement: json: cannot unmarshal number into Go struct field TaAttr.attributes.parsec-tpm.class-id of type string",
			ours:   `stored trust anchor 0: decoding JSON: "attributes.parsec-tpm.class-id" is a number where another type belongs`,
			call: func(s *scheme) error {
				_, err := s.store.GetRefValueIDs("0", []string{string(s.read("evidence/bad_ta_endorsements.json"))}, map[string]any{})
				return err
			},
		},
		{
			source: evidenceTest, test: "Test_ExtractClaims_ok", files: []string{good, anchor},
			theirs: accepted, ours: accepted, call: extract(good),
		},
		{
			source: evidenceTest, test: "Test_ExtractClaims_nok_bad_evidence", files: []string{"evidence/bad_evidence.cbor", anchor},
			theirs: "CBOR decoding of Parsec TPM attestation failed cbor: invalid additional information 28 for type byte string",
			ours:   "malformed: evidence is not a CBOR map of kat and pat: cbor: CBOR tag isn't allowed",
			call:   extract("evidence/bad_evidence.cbor"),
		},
		{
			source: evidenceTest, test: "Test_ValidateEvidenceIntegrity_ok", files: []string{good, anchor},
			theirs: accepted,
			ours:   "unknown-ak: no trust anchor is provisioned for kid 0188855459eeb9e9b34a46eb48cb39f2f6aa69da04522a326d123d5c501fce210c",
			why: "the anchor is of another kid than the evidence's, which Veraison does not compare; " +
				"nor does it compare the nonce, of which the test has none: see TestVeraisonEvidence",
			call: validate(good, anchor),
		},
		{
			source: evidenceTest, test: "Test_ValidateEvidenceIntegrity_nok", files: []string{"evidence/evidence1.cbor", anchor},
			theirs: "failed to verify signature on key attestation token: failed to verify signature: Verification failed",
			ours:   unknownKey,
			// Both refuse; ours before it looks at the signature, for the field alg
			// that Parsec's format once had.
			call: validate("evidence/evidence1.cbor", anchor),
		},
		{
			source: evidenceTest, test: "Test_ValidateEvidenceIntegrity_BadKey", files: []string{good, "evidence/bad_key_endorsements.json"},
			theirs: "could not get public key from trust anchor: unable to parse public key: asn1: structure error: tags don't match",
			ours: "stored trust anchor 0: key: expected a SubjectPublicKeyInfo: asn1: structure error: tags don't match (16 vs " +
				"{class:0 tag:2 length:1 isCompound:false}) {optional:false explicit:false application:false private:false defaultValue:<nil> " +
				"tag:<nil> stringType:0 timeType:0 set:false omitEmpty:false} AlgorithmIdentifier @2",
			call: validate(good, "evidence/bad_key_endorsements.json"),
		},
		{
			source: evidenceTest, test: "Test_ValidateEvidenceIntegrity_BadKey", files: []string{good, "evidence/bad_key_header_endorsements.json"},
			theirs: "could not get public key from trust anchor: could not extract trust anchor PEM block",
			ours:   notUUID,
			call:   validate(good, "evidence/bad_key_header_endorsements.json"),
		},
		{
			source: evidenceTest, test: "Test_ValidateEvidenceIntegrity_BadKey", files: []string{good, "evidence/bad_key_private_key.json"},
			theirs: "could not get public key from trust anchor: unsupported key type: ",
			ours:   notUUID,
			call:   validate(good, "evidence/bad_key_private_key.json"),
		},
		{
			source: evidenceTest, test: "Test_AppraiseEvidence_ok",
			files:  []string{"evidence/matched_extracted.json", "evidence/match_pcr_digest_endorsements.json"},
			theirs: accepted, ours: foreignClaims, why: private,
			call: appraise("evidence/matched_extracted.json", "evidence/match_pcr_digest_endorsements.json"),
		},
		{
			source: evidenceTest, test: "Test_AppraiseEvidence_nok",
			files:  []string{"evidence/extracted.json", "evidence/unmatch_pcr_endorsements.json"},
			theirs: "match PCR failed: unmatched pcr value: 1 at index: 0", ours: foreignClaims,
			call: appraise("evidence/extracted.json", "evidence/unmatch_pcr_endorsements.json"),
		},
		{
			source: evidenceTest, test: "Test_AppraiseEvidence_nok",
			files:  []string{"evidence/extracted.json", "evidence/unmatch_pcr_digest_endorsements.json"},
			theirs: "match failed for PCR Digest: PCR Digest and Endorsement Digest match failed", ours: foreignClaims,
			call: appraise("evidence/extracted.json", "evidence/unmatch_pcr_digest_endorsements.json"),
		},
	}
	// Decoding CoRIMs. Both accept and refuse the same files.
	const (
		badKey   = "bad key in CoMID at index 0: "
		badValue = "bad software component in CoMID at index 0: "
		ourKey   = "comid[0]: attester-verification-keys[0]: "
		ourValue = "comid[0]: reference-values[0]: "
	)
	for _, c := range []struct{ name, theirs, ours string }{
		{"KeyGood", accepted, accepted},
		{"PcrsGood", accepted, accepted},
		{"KeyNoInstance", badKey + "failed to create trust anchor raw public key: instance not found in ID",
			ourKey + "environment.instance: missing; expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560)"},
		{"KeyUnknownInstanceType", badKey + "could not extract id from AVK environment: could not extract instance-id (UEID) from instance: instance-id type is: *comid.TaggedUUID",
			ourKey + "environment.instance: expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560), found tag 37"},
		{"KeyNoClass", badKey + "could not extract id from AVK environment: class not found in environment",
			ourKey + "environment.class: missing; expected a class with a UUID as its id"},
		{"KeyNoClassId", badKey + "could not extract id from AVK environment: class-id not found in class",
			ourKey + "environment.class.id: missing; expected a UUID (tag 37)"},
		{"KeyUnknownClassIdType", badKey + "could not extract id from AVK environment: class-id not in UUID format",
			ourKey + "environment.class.id: expected a UUID (tag 37), found tag 111"},
		{"KeyManyKeys", badKey + "expecting exactly one AK public key",
			ourKey + "verification-keys: expected an array of exactly one key, found an array (2 elements)"},
		{"PcrsNoClass", badValue + "could not extract id from ref-val environment: class not found in environment",
			ourValue + "environment.instance: not in the profile; a reference value is for a whole class"},
		{"PcrsNoPCR", badValue + "could not extract PCR: measurement key is not present",
			ourValue + "measurements[0].key: missing; expected the index of a PCR, 0 to 31"},
		{"PcrsUnknownPCRType", badValue + "could not extract PCR: measurement key is not uint: measurement-key type is: *comid.TaggedUUID",
			ourValue + "measurements[0].key: expected the index of a PCR, 0 to 31, found tag 37"},
		{"PcrsNoDigests", badValue + "measurement[0]: measurement value does not contain digests",
			ourValue + "measurements[0].value.serial-number: not in the profile; only digests are compared"},
	} {
		test := "TestDecoder_Decode_negative_tests"
		if c.theirs == accepted {
			test = "TestDecoder_Decode_OK"
		}
		file := corimPrefix + c.name + ".cbor"
		rows = append(rows, comparison{
			source: endorsementTest, test: test, files: []string{file}, theirs: c.theirs, ours: c.ours,
			call: func(s *scheme) error {
				_, err := s.corim.Decode(s.read(file))
				return err
			},
		})
	}
	return rows
}

const corimPrefix = "corim/unsignedCorimMiniComidParsecTpm"

// TestVeraisonVectors: each call gives what the table says, and so does
// Veraison's own test according to its source.
func TestVeraisonVectors(t *testing.T) {
	s := newScheme(t)
	for _, c := range comparisons() {
		t.Run(c.test+" "+path.Base(c.files[len(c.files)-1]), func(t *testing.T) {
			s.t = t
			err := c.call(s)
			switch {
			case c.ours == accepted:
				assert.NoError(t, err)
			case errors.Is(err, handler.BadEvidenceError{}):
				assert.Equal(t, c.ours, detail(t, err))
			default:
				assert.EqualError(t, err, c.ours)
			}

			source, err := os.ReadFile(filepath.Join(s.dir, c.source))
			require.NoError(t, err)
			assert.Contains(t, string(source), "func "+c.test+"(")
			assert.Contains(t, string(source), c.theirs)
			for _, file := range c.files {
				if rest, ok := strings.CutPrefix(file, corimPrefix); ok {
					// The source has the name of an embedding variable.
					file = "unsignedCorimComidParsecTpm" + strings.TrimSuffix(rest, ".cbor")
				}
				assert.Contains(t, string(source), file)
			}

			assert.Equal(t, (c.theirs == accepted) != (c.ours == accepted), c.why != "",
				"there must be a reason if and only if one accepts what the other refuses")
		})
	}
}

// TestVeraisonFiles: there is no file that the table does not know, and none
// that it knows is gone.
func TestVeraisonFiles(t *testing.T) {
	known := map[string]bool{
		// What the CoRIMs were made from.
		"corim/build-test-vectors.sh": true,
		"corim/src/corimMini.json":    true,
	}
	for _, c := range comparisons() {
		for _, file := range c.files {
			known[file] = true
			if rest, ok := strings.CutPrefix(file, corimPrefix); ok {
				known["corim/src/ComidParsecTpm"+strings.TrimSuffix(rest, ".cbor")+".json"] = true
			}
		}
	}
	var found []string
	err := fs.WalkDir(os.DirFS(filepath.Join(newScheme(t).dir, "test")), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, name)
		}
		return err
	})
	require.NoError(t, err)
	assert.ElementsMatch(t, slices.Collect(maps.Keys(known)), found)
}

// TestVeraisonEvidence appraises the evidence that Veraison's tests accept, in
// steps from what they give to what an appraisal needs.
func TestVeraisonEvidence(t *testing.T) {
	s := newScheme(t)
	raw := s.read("evidence/evidence.cbor")
	kid, err := appraisal.KeyID(raw)
	require.NoError(t, err)
	// The nonce that was signed: extraData of both tokens.
	nonce, err := hex.DecodeString("deadbeefdeadbeef")
	require.NoError(t, err)

	var ta struct {
		Attributes struct {
			Key   string `json:"parsec-tpm.ak-pub"`
			Class string `json:"parsec-tpm.class-id"`
			KID   []byte `json:"parsec-tpm.instance-id"`
		}
	}
	require.NoError(t, json.Unmarshal(s.read("evidence/ta_endorsements.json"), &ta))
	anchor := func(kid []byte) endorsements.TrustAnchor {
		a, err := endorsements.NewTrustAnchor(ta.Attributes.Class, kid, ta.Attributes.Key)
		require.NoError(t, err)
		return a
	}
	// state reads a file of Veraison's entries, one for each PCR, as a state of
	// the anchor's class. Their own class is no UUID.
	state := func(file string) []endorsements.ReferenceState {
		var values []endorsements.PCRValue
		for _, entry := range s.entries(file) {
			var e struct {
				Attributes struct {
					Alg    uint64 `json:"parsec-tpm.alg-id"`
					Digest []byte `json:"parsec-tpm.digest"`
					PCR    int    `json:"parsec-tpm.pcr"`
				}
			}
			require.NoError(t, json.Unmarshal([]byte(entry), &e))
			require.Equal(t, uint64(1), e.Attributes.Alg, "sha-256")
			values = append(values, endorsements.PCRValue{
				PCR: endorsements.PCR{Bank: crypto.SHA256, Index: e.Attributes.PCR}, Digest: e.Attributes.Digest,
			})
		}
		r, err := endorsements.NewReferenceState(ta.Attributes.Class, values)
		require.NoError(t, err)
		return []endorsements.ReferenceState{r}
	}
	good := appraisal.Vector{InstanceIdentity: 2, Executables: 2, Hardware: 2, StorageOpaque: 2}
	warned := good
	warned.Executables = appraisal.UnrecognizedRuntime

	for _, tt := range []struct {
		name   string
		anchor endorsements.TrustAnchor
		nonce  []byte
		states []endorsements.ReferenceState
		err    string // or
		vector appraisal.Vector
		cause  error
	}{
		{
			name: "anchor as Veraison's tests have it", anchor: anchor(ta.Attributes.KID), nonce: nonce,
			err: "unknown-ak: no trust anchor is provisioned for kid " + hex.EncodeToString(kid),
		},
		{
			name: "no nonce, as in Veraison's tests", anchor: anchor(kid),
			err: "kat: stale: the session's nonce has 0 bytes, want 8 to 64: nothing shows that the evidence is fresh",
		},
		{
			name: "another nonce", anchor: anchor(kid), nonce: make([]byte, 8),
			err: "kat: stale: extraData is not this session's nonce: the evidence is stale or was made for another session",
		},
		{
			name: "the signed nonce, no reference values", anchor: anchor(kid), nonce: nonce,
			vector: warned, cause: appraisal.ErrNoReferenceState,
		},
		{
			// HTTP 500 with Veraison's own plugin.
			name: "PCR 0 alone is endorsed", anchor: anchor(kid), nonce: nonce,
			states: state("evidence/unmatch_pcr_endorsements.json"), vector: warned, cause: appraisal.ErrPCRSelection,
		},
		{
			// HTTP 500 with Veraison's own plugin.
			name: "PCRs 1 to 3 are endorsed", anchor: anchor(kid), nonce: nonce,
			states: state("evidence/unmatch_pcr_digest_endorsements.json"), vector: warned, cause: appraisal.ErrPCRSelection,
		},
		{
			name: "the quoted PCRs are endorsed", anchor: anchor(kid), nonce: nonce,
			states: state("evidence/match_pcr_digest_endorsements.json"), vector: good,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			known, err := endorsements.NewSet(&endorsements.Corim{Anchors: []endorsements.TrustAnchor{tt.anchor}, States: tt.states})
			require.NoError(t, err)
			r, err := appraisal.Appraise(raw, tt.nonce, known)
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.vector, r.Vector)
			assert.NotNil(t, r.Key)
			if tt.cause == nil {
				assert.Empty(t, r.Problems)
			} else if assert.Len(t, r.Problems, 1) {
				assert.ErrorIs(t, r.Problems[0].Err, tt.cause)
			}
		})
	}
}
