// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package scheme_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-tpm/tpm2"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/comid"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/pluginhost"
	"github.com/veraison/attested-tls/pat"
	"github.com/veraison/attested-tls/plugin/internal/config"
	"github.com/veraison/attested-tls/plugin/scheme"
)

const (
	class      = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	otherClass = "d10e4bd6-7e02-4d2c-bf1a-69ae22680478"
)

// connect returns the host's end of a handler.
func connect(t testing.TB, log hclog.Logger, now func() time.Time) pluginhost.Scheme {
	t.Helper()
	return pluginhost.Scheme{Calls: pluginhost.Connect(t, scheme.NewServer(scheme.NewHandler(log, now)))}
}

func anchorOf(t testing.TB, m *evidencetest.TPM, class string) endorsements.TrustAnchor {
	t.Helper()
	pem, err := endorsements.MarshalKeyPEM(m.AK.Public())
	require.NoError(t, err)
	a, err := endorsements.NewTrustAnchor(class, m.KID, pem)
	require.NoError(t, err)
	return a
}

func stateOf(t testing.TB, m *evidencetest.TPM, class string) endorsements.ReferenceState {
	t.Helper()
	var values []endorsements.PCRValue
	for pcr, digest := range m.PCRs {
		h, err := pcr.Alg.Hash()
		require.NoError(t, err)
		values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: h, Index: pcr.Index}, Digest: digest})
	}
	s, err := endorsements.NewReferenceState(class, values)
	require.NoError(t, err)
	return s
}

// material is what a host has in its hands during an appraisal that is right.
type material struct {
	evidence *pluginhost.Evidence
	anchors  []*comid.KeyTriple
	claims   map[string]any
	values   []*comid.ValueTriple
}

func rightMaterial(t testing.TB, s pluginhost.Scheme, m *evidencetest.TPM) material {
	t.Helper()
	key, err := pluginhost.KeyTriple(anchorOf(t, m, class))
	require.NoError(t, err)
	value, err := pluginhost.ValueTriple(stateOf(t, m, class))
	require.NoError(t, err)
	x := material{
		evidence: &pluginhost.Evidence{TenantId: "0", Data: m.Bundle(t), MediaType: bundle.MediaType, Nonce: m.Nonce},
		anchors:  []*comid.KeyTriple{key},
		values:   []*comid.ValueTriple{value},
	}
	x.claims, err = s.ExtractClaims(x.evidence, x.anchors)
	require.NoError(t, err)
	return x
}

func TestDescription(t *testing.T) {
	s := connect(t, nil, nil)
	provisioning := []string{
		`application/rim+cbor; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`,
		`application/rim+cose; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`,
	}
	verification := []string{"application/vnd.parallaxsecond.key-attestation.tpm"}

	name, err := s.Name()
	require.NoError(t, err)
	require.Equal(t, "parsec_tpm-scheme-plugin", name)
	attestationScheme, err := s.AttestationScheme()
	require.NoError(t, err)
	require.Equal(t, "PARSEC_TPM", attestationScheme)
	types, err := s.MediaTypes()
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"provisioning": provisioning, "verification": verification}, types)
	list, err := s.ProvisioningMediaTypes()
	require.NoError(t, err)
	require.Equal(t, provisioning, list)
	list, err = s.VerificationMediaTypes()
	require.NoError(t, err)
	require.Equal(t, verification, list)
}

func TestInit(t *testing.T) {
	s := connect(t, nil, nil)
	for _, none := range [][]byte{nil, {}, []byte("{}"), []byte("null")} {
		require.NoError(t, s.Init(none), "%s", none)
	}
	require.EqualError(t, s.Init([]byte(`{"strict":true}`)), `the plugin has no parameter "strict": `+
		`remove it from the section of PARSEC_TPM under scheme in the configuration`)
	require.ErrorContains(t, s.Init([]byte(`[]`)), "the plugin's parameters are not a JSON object: ")
	require.ErrorContains(t, s.Init([]byte(`{`)), "the plugin's parameters are not a JSON object: ")
}

func TestAppraisal(t *testing.T) {
	s := connect(t, nil, nil)
	m := evidencetest.New(t)
	x := rightMaterial(t, s, m)

	ids, err := s.TrustAnchorIDs(x.evidence)
	require.NoError(t, err)
	require.Len(t, ids, 1)
	require.Nil(t, ids[0].Class)
	require.Equal(t, comid.BytesType, ids[0].Instance.Type())
	require.Equal(t, m.KID, ids[0].Instance.Bytes())

	ids, err = s.ReferenceValueIDs(x.anchors, x.claims)
	require.NoError(t, err)
	require.Len(t, ids, 1)
	require.Nil(t, ids[0].Instance)
	require.Equal(t, class, ids[0].Class.ClassID.String())

	require.NoError(t, s.ValidateEvidenceIntegrity(x.evidence, x.anchors, x.values))
	// Which states there are is no question yet.
	require.NoError(t, s.ValidateEvidenceIntegrity(x.evidence, x.anchors, nil))

	result, err := s.AppraiseClaims(x.claims, x.values)
	require.NoError(t, err)
	a := result.Submods["PARSEC_TPM"]
	require.Equal(t, ear.TrustTierAffirming, *a.Status)
	require.Equal(t, ear.TrustVector{
		Hardware: ear.GenuineHardwareClaim, InstanceIdentity: ear.TrustworthyInstanceClaim,
		Executables: ear.ApprovedRuntimeClaim, StorageOpaque: ear.HwKeysEncryptedSecretsClaim,
	}, *a.TrustVector)
	require.Equal(t, &x.claims, a.VeraisonAnnotatedEvidence)
	require.NotNil(t, a.VeraisonKeyAttestation)
	require.Nil(t, a.VeraisonPolicyClaims)
	require.Nil(t, result.Nonce, "it is the host's to add")
}

func TestSeveralStates(t *testing.T) {
	s := connect(t, nil, nil)
	m := evidencetest.New(t)
	m.SetBank(tpm2.TPMAlgSHA384, 0, 1, 2, 3, 4, 5, 6, 7)
	x := rightMaterial(t, s, m)

	// Another version of the firmware.
	m.PCRs[evidencetest.PCR{Alg: tpm2.TPMAlgSHA256, Index: 0}] = bytes.Repeat([]byte{1}, 32)
	other, err := pluginhost.ValueTriple(stateOf(t, m, class))
	require.NoError(t, err)
	executables := func(values ...*comid.ValueTriple) ear.TrustClaim {
		t.Helper()
		result, err := s.AppraiseClaims(x.claims, values)
		require.NoError(t, err)
		return result.Submods["PARSEC_TPM"].TrustVector.Executables
	}
	require.Equal(t, ear.ApprovedRuntimeClaim, executables(x.values[0]))
	require.Equal(t, ear.ApprovedRuntimeClaim, executables(other, x.values[0]))
	require.Equal(t, ear.ApprovedRuntimeClaim, executables(x.values[0], x.values[0]))
	require.Equal(t, ear.UnrecognizedRuntimeClaim, executables(other))
	require.Equal(t, ear.UnrecognizedRuntimeClaim, executables())

	// Either bank is enough, with the digests of both provisioned.
	m = evidencetest.New(t)
	m.SetBank(tpm2.TPMAlgSHA384, 0, 1, 2, 3, 4, 5, 6, 7)
	for _, alg := range []tpm2.TPMAlgID{tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA384} {
		m.Quoted = []evidencetest.Bank{{Alg: alg, PCRs: []int{0, 1, 2, 3, 4, 5, 6, 7}}}
		x = rightMaterial(t, s, m)
		require.Equal(t, ear.ApprovedRuntimeClaim, executables(x.values...))
	}
}

// A class may be described, in the trust anchor and in the states. What the
// host's store compares of it has changed.
func TestDescribedClass(t *testing.T) {
	m := evidencetest.New(t)
	c := endorsements.Corim{
		ID: "test", Anchors: []endorsements.TrustAnchor{anchorOf(t, m, class)}, States: []endorsements.ReferenceState{stateOf(t, m, class)},
		Classes: []endorsements.ClassDescription{{Class: class, Vendor: "ACME", Model: "R1"}},
	}
	for _, dialect := range []endorsements.Dialect{endorsements.DialectV2, endorsements.DialectV2Text} {
		data, err := c.Encode(dialect)
		require.NoError(t, err)
		for _, whole := range []bool{true, false} {
			host := &pluginhost.Since2603{Scheme: connect(t, nil, nil), WholeClass: whole}
			require.NoError(t, host.Submit(data))
			result, err := host.Attest(&pluginhost.Evidence{Data: m.Bundle(t), MediaType: bundle.MediaType, Nonce: m.Nonce})
			require.NoError(t, err)
			require.Equal(t, ear.TrustTierAffirming, *result.Submods["PARSEC_TPM"].Status)
		}
	}
}

// A store that was provisioned twice holds two of the same.
func TestDuplicateTrustAnchors(t *testing.T) {
	s := connect(t, nil, nil)
	m := evidencetest.New(t)
	x := rightMaterial(t, s, m)
	x.anchors = append(x.anchors, x.anchors[0])
	ids, err := s.ReferenceValueIDs(x.anchors, x.claims)
	require.NoError(t, err)
	require.Len(t, ids, 1)
	require.NoError(t, s.ValidateEvidenceIntegrity(x.evidence, x.anchors, x.values))
}

// One defect each. Bad evidence is for the sender to mend, anything else for
// the verifier's operator.
func TestRefuses(t *testing.T) {
	const notOurs = "the claims are not those of this scheme's ExtractClaims: "
	ambiguous := "trust anchors from the host's store: attester-verification-keys[1]: environment.instance: kid " +
		hex.EncodeToString(evidencetest.New(t).KID)
	type call = func(t *testing.T, s pluginhost.Scheme, x material) error
	trustAnchorIDs := func(_ *testing.T, s pluginhost.Scheme, x material) error {
		_, err := s.TrustAnchorIDs(x.evidence)
		return err
	}
	extract := func(_ *testing.T, s pluginhost.Scheme, x material) error {
		_, err := s.ExtractClaims(x.evidence, x.anchors)
		return err
	}
	referenceValueIDs := func(_ *testing.T, s pluginhost.Scheme, x material) error {
		_, err := s.ReferenceValueIDs(x.anchors, x.claims)
		return err
	}
	validate := func(_ *testing.T, s pluginhost.Scheme, x material) error {
		return s.ValidateEvidenceIntegrity(x.evidence, x.anchors, x.values)
	}
	appraise := func(_ *testing.T, s pluginhost.Scheme, x material) error {
		_, err := s.AppraiseClaims(x.claims, x.values)
		return err
	}
	second := func(t *testing.T, change func(*evidencetest.TPM), class string) func(*material) {
		m := evidencetest.New(t)
		change(m)
		triple, err := pluginhost.KeyTriple(anchorOf(t, m, class))
		require.NoError(t, err)
		return func(x *material) { x.anchors = append(x.anchors, triple) }
	}
	nothing := func(*evidencetest.TPM) {}

	for name, tt := range map[string]struct {
		tpm    func(*evidencetest.TPM)
		defect func(*material)
		call   call
		bad    bool
		want   string
	}{
		"evidence: cut": {
			defect: func(x *material) { x.evidence.Data = x.evidence.Data[:40] }, call: trustAnchorIDs,
			bad: true, want: "malformed: ",
		},
		"evidence: tpmVer": {
			tpm: func(m *evidencetest.TPM) { m.OnPAT = func(p *pat.Token) { p.TPMVer = "1.2" } }, call: trustAnchorIDs,
			bad: true, want: `pat: version: tpmVer is "1.2", want "2.0"`,
		},
		"evidence: media type": {
			defect: func(x *material) { x.evidence.MediaType = "application/cmw+cbor" }, call: trustAnchorIDs,
			bad: true, want: `its media type is "application/cmw+cbor", want "application/vnd.parallaxsecond.key-attestation.tpm"`,
		},
		"evidence: media type of claims": {
			defect: func(x *material) { x.evidence.MediaType = "" }, call: extract,
			bad: true, want: `its media type is "", want `,
		},
		"evidence: media type of the integrity": {
			defect: func(x *material) { x.evidence.MediaType += "; v=2" }, call: validate,
			bad: true, want: `its media type is "application/vnd.parallaxsecond.key-attestation.tpm; v=2"`,
		},
		"evidence: cut, of claims": {
			defect: func(x *material) { x.evidence.Data = x.evidence.Data[:40] }, call: extract,
			bad: true, want: "malformed: ",
		},

		"integrity: another nonce": {
			defect: func(x *material) { x.evidence.Nonce = bytes.Repeat([]byte{0x18}, 32) }, call: validate,
			bad: true, want: "kat: stale: extraData is not this session's nonce",
		},
		"integrity: no nonce": {
			defect: func(x *material) { x.evidence.Nonce = nil }, call: validate,
			bad: true, want: "kat: stale: the session's nonce has 0 bytes, want 8 to 64",
		},
		"integrity: stale PAT": {
			tpm: func(m *evidencetest.TPM) {
				m.OnQuote = func(a *tpm2.TPMSAttest) { a.ExtraData.Buffer = bytes.Repeat([]byte{9}, 32) }
			},
			call: validate, bad: true, want: "pat: stale: extraData is not this session's nonce",
		},
		"integrity: signature": {
			tpm: func(m *evidencetest.TPM) {
				m.OnPAT = func(p *pat.Token) { p.AttestInfo[len(p.AttestInfo)-1] ^= 1 }
			},
			call: validate, bad: true, want: "pat: signature: ",
		},
		"integrity: no trust anchor": {
			defect: func(x *material) { x.anchors = nil }, call: validate,
			bad: true, want: "unknown-ak: no trust anchor is provisioned for kid 01a5",
		},
		"integrity: another's trust anchor": {
			defect: func(x *material) {
				second(t, func(m *evidencetest.TPM) { m.KID[1] ^= 1 }, class)(x)
				x.anchors = x.anchors[1:]
			},
			call: validate, bad: true, want: "unknown-ak: no trust anchor is provisioned for kid 01a5",
		},
		"integrity: two keys under one kid": {
			defect: second(t, nothing, class), call: validate,
			want: ambiguous + " is provisioned with two different keys",
		},

		"class: two keys under one kid": {
			defect: second(t, nothing, class), call: referenceValueIDs, want: ambiguous + " is provisioned with two different keys",
		},
		"class: one key in two classes": {
			defect: func(x *material) {
				again := *x.anchors[0]
				again.Environment.Class = comid.NewClassUUID(comid.UUID{0xd1, 0x0e, 0x4b, 0xd6, 0x7e, 0x02, 0x4d, 0x2c, 0xbf, 0x1a, 0x69, 0xae, 0x22, 0x68, 0x04, 0x78})
				x.anchors = append(x.anchors, &again)
			},
			call: referenceValueIDs, want: ambiguous + " is provisioned in two classes, " + class + " and " + otherClass,
		},
		"class: no trust anchor": {
			defect: func(x *material) { x.anchors = nil }, call: referenceValueIDs,
			want: "none of the 0 trust anchors that the host found is for kid 01a5",
		},
		"class: another's trust anchor": {
			defect: func(x *material) {
				second(t, func(m *evidencetest.TPM) { m.KID[1] ^= 1 }, class)(x)
				x.anchors = x.anchors[1:]
			},
			call: referenceValueIDs, want: "none of the 1 trust anchors that the host found is for kid 01a5",
		},
		"class: not our claims": {
			defect: func(x *material) { x.claims = map[string]any{"kat": map[string]any{}} }, call: referenceValueIDs,
			want: notOurs + "format is missing",
		},

		"claims: none":       {defect: func(x *material) { x.claims = nil }, call: appraise, want: notOurs + "there are none"},
		"claims: empty":      {defect: func(x *material) { x.claims = map[string]any{} }, call: appraise, want: notOurs + "format is missing"},
		"claims: no format":  {defect: func(x *material) { delete(x.claims, "format") }, call: appraise, want: notOurs + "format is missing"},
		"claims: one more":   {defect: func(x *material) { x.claims["more"] = 1 }, call: appraise, want: notOurs + "16 claims, want 15"},
		"claims: one less":   {defect: func(x *material) { delete(x.claims, "pcrs") }, call: appraise, want: notOurs + "pcrs is missing"},
		"claims: of a type":  {defect: func(x *material) { x.claims["clock-safe"] = "true" }, call: appraise, want: notOurs + "clock-safe is a string, want a bool"},
		"claims: a tag":      {defect: func(x *material) { x.claims["clock"] = cbor.Tag{Number: 1, Content: 1} }, call: appraise, want: notOurs + "decoding CBOR: "},
		"claims: nested":     {defect: func(x *material) { x.claims["more"] = []any{[]any{[]any{[]any{1}}}} }, call: appraise, want: notOurs + "decoding CBOR: "},
		"claims: very large": {defect: func(x *material) { x.claims["more"] = strings.Repeat("x", 1<<16) }, call: appraise, want: notOurs + "66"},

		"values: of two classes": {
			defect: func(x *material) {
				again := *x.values[0]
				again.Environment.Class = comid.NewClassUUID(comid.UUID{0xd1, 0x0e, 0x4b, 0xd6, 0x7e, 0x02, 0x4d, 0x2c, 0xbf, 0x1a, 0x69, 0xae, 0x22, 0x68, 0x04, 0x78})
				x.values = append(x.values, &again)
			},
			call: appraise, want: "reference values from the host's store: they are of two classes, " + class + " and " + otherClass,
		},
		"values: for an instance": {
			defect: func(x *material) { x.values[0].Environment.Instance = x.anchors[0].Environment.Instance }, call: appraise,
			want: "reference values from the host's store: reference-values[0]: environment.instance: not in the profile; a reference value is for a whole class",
		},
		"no evidence, of trust anchors": {defect: func(x *material) { x.evidence = nil }, call: extract, want: "the host has sent no evidence"},
		"no evidence, of the integrity": {defect: func(x *material) { x.evidence = nil }, call: validate, want: "the host has sent no evidence"},
	} {
		t.Run(name, func(t *testing.T) {
			s := connect(t, nil, nil)
			m := evidencetest.New(t)
			x := rightMaterial(t, s, m)
			require.NoError(t, tt.call(t, s, x), "before there is a defect")
			if tt.tpm != nil {
				tt.tpm(m)
				x.evidence.Data = m.Bundle(t)
			}
			if tt.defect != nil {
				tt.defect(&x)
			}
			err := tt.call(t, s, x)
			require.Error(t, err)
			require.Equal(t, tt.bad, errors.Is(err, handler.BadEvidenceError{}), err.Error())
			var bad handler.BadEvidenceError
			text := err.Error()
			if errors.As(err, &bad) {
				text = bad.Detail.(string)
			}
			require.True(t, strings.HasPrefix(text, tt.want), text)
		})
	}
}

// What is authentic but not endorsed has a result that says so.
func TestDoesNotAffirm(t *testing.T) {
	s := connect(t, nil, nil)
	m := evidencetest.New(t)
	x := rightMaterial(t, s, m)
	m.PCRs[evidencetest.PCR{Alg: tpm2.TPMAlgSHA256, Index: 7}] = make([]byte, 32)
	changed, err := s.ExtractClaims(&pluginhost.Evidence{Data: m.Bundle(t), MediaType: bundle.MediaType}, nil)
	require.NoError(t, err)
	m = evidencetest.New(t)
	m.TIK.ObjectAttributes.FixedTPM = false
	loose, err := s.ExtractClaims(&pluginhost.Evidence{Data: m.Bundle(t), MediaType: bundle.MediaType}, nil)
	require.NoError(t, err)

	for name, tt := range map[string]struct {
		claims  map[string]any
		values  []*comid.ValueTriple
		problem string
		err     error
	}{
		"PCRs":            {changed, x.values, "executables", appraisal.ErrPCRDigest},
		"no states":       {x.claims, nil, "executables", appraisal.ErrNoReferenceState},
		"key may leave":   {loose, x.values, "storage-opaque", nil},
		"claims, altered": {with(x.claims, "pcrs", "sha256:0,1"), x.values, "executables", appraisal.ErrPCRSelection},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := s.AppraiseClaims(tt.claims, tt.values)
			require.NoError(t, err)
			a := result.Submods["PARSEC_TPM"]
			require.NotEqual(t, ear.TrustTierAffirming, *a.Status)
			problem := (*a.VeraisonPolicyClaims)["problem"].(string)
			require.True(t, strings.HasPrefix(problem, tt.problem+": "), problem)
			if tt.err != nil {
				require.Contains(t, problem, tt.err.Error())
			}
		})
	}
}

func with(claims map[string]any, key string, value any) map[string]any {
	c := maps.Clone(claims)
	c[key] = value
	return c
}

// Arrays of triples that a real host has sent.
func TestRecorded(t *testing.T) {
	s := connect(t, nil, nil)
	anchors, err := hex.DecodeString(pluginhost.RecordedTrustAnchors)
	require.NoError(t, err)
	values, err := hex.DecodeString(pluginhost.RecordedEndorsements)
	require.NoError(t, err)
	decoded, _, err := endorsements.DecodeKeyTriples(anchors)
	require.NoError(t, err)

	m := evidencetest.New(t)
	m.KID = decoded[0].KID
	m.PCRs = map[evidencetest.PCR][]byte{
		{Alg: tpm2.TPMAlgSHA256, Index: 0}: make([]byte, 32),
		{Alg: tpm2.TPMAlgSHA256, Index: 1}: make([]byte, 32),
	}
	m.Quoted = []evidencetest.Bank{{Alg: tpm2.TPMAlgSHA256, PCRs: []int{0, 1}}}
	x := rightMaterial(t, s, m)

	handle := scheme.NewServer(scheme.NewHandler(nil, nil))
	token := &scheme.Token{Data: x.evidence.Data, MediaType: bundle.MediaType, Nonce: m.Nonce}
	var claims, ids, result []byte
	require.NoError(t, handle.ExtractClaims(&scheme.ExtractClaimsArgs{Evidence: token, TrustAnchors: anchors}, &claims))
	require.NoError(t, handle.GetReferenceValueIDs(&scheme.GetReferenceValueIDsArgs{TrustAnchors: anchors, Claims: claims}, &ids))
	require.Equal(t, "81a100a100d82550cd1f0e5526f9460db9d8f7fde171787c", hex.EncodeToString(ids))
	require.NoError(t, handle.GetTrustAnchorIDs(token, &ids))
	require.Equal(t, "81a101d90230582101"+hex.EncodeToString(m.KID[1:]), hex.EncodeToString(ids))
	// The private key of the recorded AK is not here.
	err = handle.ValidateEvidenceIntegrity(&scheme.ValidateEvidenceIntegrityArgs{
		Evidence: token, TrustAnchors: anchors, Endorsements: values,
	}, new([]byte))
	require.ErrorContains(t, err, "bad evidence: kat: signature: ")
	require.NoError(t, handle.AppraiseClaims(&scheme.AppraiseClaimsArgs{Claims: claims, Endorsements: values}, &result))
	require.Contains(t, string(result), `"ear.status":"affirming"`)
}

func TestValidateCorim(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	m := evidencetest.New(t)
	corim := endorsements.Corim{
		ID:      "test",
		Anchors: []endorsements.TrustAnchor{anchorOf(t, m, class)},
		States:  []endorsements.ReferenceState{stateOf(t, m, class)},
	}
	encode := func(d endorsements.Dialect, change func(*endorsements.Corim)) []byte {
		t.Helper()
		c := corim
		change(&c)
		data, err := c.Encode(d)
		require.NoError(t, err)
		return data
	}
	right := func(*endorsements.Corim) {}
	v2 := encode(endorsements.DialectV2, right)
	// A class of its own, and a digest that is one byte short.
	state, err := endorsements.NewReferenceState(otherClass, []endorsements.PCRValue{
		{PCR: endorsements.PCR{Bank: crypto.SHA256, Index: 3}, Digest: bytes.Repeat([]byte{0xee}, 32)},
	})
	require.NoError(t, err)
	marked := encode(endorsements.DialectV2, func(c *endorsements.Corim) { c.States = append(c.States, state) })
	sha3 := bytes.Replace(marked, append([]byte{0x82, 0x01, 0x58, 0x20}, bytes.Repeat([]byte{0xee}, 32)...),
		append([]byte{0x82, 0x0a, 0x58, 0x20}, bytes.Repeat([]byte{0xee}, 32)...), 1)
	require.NotEqual(t, marked, sha3)

	for name, tt := range map[string]struct {
		corim []byte
		want  string // of a CoRIM that is refused
	}{
		"this generation's dialect": {corim: v2},
		"the older dialect":         {corim: encode(endorsements.DialectV1, right)},
		"valid today": {corim: encode(endorsements.DialectV2, func(c *endorsements.Corim) {
			c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
		})},
		"expired": {
			corim: encode(endorsements.DialectV2, func(c *endorsements.Corim) { c.NotAfter = now.Add(-time.Hour) }),
			want:  "the CoRIM has expired: not after 2026-11-21T11:00:00Z",
		},
		"not valid yet": {
			corim: encode(endorsements.DialectV2, func(c *endorsements.Corim) {
				c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour)
			}),
			want: "the CoRIM is not valid yet: not before 2026-11-21T13:00:00Z",
		},
		"another bank": {
			corim: sha3,
			want: "comid[1]: reference-values[1]: measurements[0].value.digests[0]: " +
				"expected sha-256 (1), sha-384 (7) or sha-512 (8), found sha3-256 (10)",
		},
		"nothing": {corim: nil, want: "no data; expected a CoRIM"},
		"cut":     {corim: v2[:len(v2)-1], want: "not well-formed CBOR within the limits: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := connect(t, nil, func() time.Time { return now })
			verdict, err := s.ValidateCorim(tt.corim)
			require.NoError(t, err)
			require.Equal(t, tt.want == "", verdict.IsValid, verdict.Message)
			if tt.want == "" {
				require.Equal(t, "1 trust anchors, 1 reference states", verdict.Message)
			} else {
				require.True(t, strings.HasPrefix(verdict.Message, tt.want), verdict.Message)
			}
		})
	}
}

// The configuration counts as far as a plugin has a say.
func TestConfiguration(t *testing.T) {
	m := evidencetest.New(t)
	c := endorsements.Corim{
		ID: "test", Anchors: []endorsements.TrustAnchor{anchorOf(t, m, class)}, States: []endorsements.ReferenceState{stateOf(t, m, class)},
	}
	data, err := c.Encode(endorsements.DialectV2)
	require.NoError(t, err)
	const signed = `application/rim+cose; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`
	for name, tt := range map[string]struct {
		change func(*config.Config)
		types  int
		want   string
	}{
		"as it is":         {func(*config.Config) {}, 2, ""},
		"signed ones only": {func(c *config.Config) { c.AcceptUnsigned, c.HostVerifies = false, true }, 1, ""},
		"signers that the host does not ask for": {
			func(c *config.Config) { c.Roots = x509.NewCertPool() }, 0, config.ErrHostDecides.Error(),
		},
		"and the operator knows": {func(c *config.Config) { c.Roots, c.HostVerifies = x509.NewCertPool(), true }, 2, ""},
		"just large enough": {func(c *config.Config) {
			c.MaxCorimSize, c.MaxTrustAnchors, c.MaxReferenceStates = len(data), 1, 1
		}, 2, ""},
		"size": {
			func(c *config.Config) { c.MaxCorimSize = len(data) - 1 }, 2,
			fmt.Sprintf("%d bytes; expected at most %d", len(data), len(data)-1),
		},
		"trust anchors": {
			func(c *config.Config) { c.MaxTrustAnchors = 0 }, 2,
			"1 trust anchors; the plugin's configuration accepts at most 0 in a CoRIM",
		},
		"reference states": {
			func(c *config.Config) { c.MaxReferenceStates = 0 }, 2,
			"1 reference states; the plugin's configuration accepts at most 0 in a CoRIM",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			tt.change(&cfg)
			s := pluginhost.Scheme{Calls: pluginhost.Connect(t, scheme.NewServer(scheme.NewHandlerWith(cfg, nil, nil)))}
			types, err := s.ProvisioningMediaTypes()
			require.NoError(t, err)
			require.Len(t, types, tt.types)
			if tt.types > 0 {
				require.Equal(t, signed, types[len(types)-1])
			}
			verdict, err := s.ValidateCorim(data)
			require.NoError(t, err)
			require.Equal(t, tt.want == "", verdict.IsValid)
			if tt.want != "" {
				require.Equal(t, tt.want, verdict.Message)
			}
		})
	}
}

// An AK may be provisioned with a UEID. The operator is told that this
// generation's store does not find it.
func TestValidateCorimWarnsOfUEID(t *testing.T) {
	m := evidencetest.New(t)
	c := endorsements.Corim{ID: "test", Anchors: []endorsements.TrustAnchor{anchorOf(t, m, class)}}
	data, err := c.Encode(endorsements.DialectV2)
	require.NoError(t, err)
	ueid := bytes.Replace(data, []byte{0xd9, 0x02, 0x30, 0x58, 0x21}, []byte{0xd9, 0x02, 0x26, 0x58, 0x21}, 1)
	require.NotEqual(t, data, ueid)
	for _, tt := range []struct {
		corim []byte
		warns bool
	}{{data, false}, {ueid, true}} {
		var text bytes.Buffer
		s := connect(t, hclog.New(&hclog.LoggerOptions{Output: &text}), nil)
		verdict, err := s.ValidateCorim(tt.corim)
		require.NoError(t, err)
		require.True(t, verdict.IsValid, verdict.Message)
		require.Equal(t, tt.warns, strings.Contains(text.String(), "by a UEID (tag 550)"), text.String())
	}
}

// A panic is one call's error, and the process's log.
func TestPanicIsCaught(t *testing.T) {
	m := evidencetest.New(t)
	c := endorsements.Corim{ID: "test", Anchors: []endorsements.TrustAnchor{anchorOf(t, m, class)}}
	data, err := c.Encode(endorsements.DialectV2)
	require.NoError(t, err)
	s := connect(t, nil, func() time.Time { panic("no clock") })
	_, err = s.ValidateCorim(data)
	require.EqualError(t, err, "ValidateCorim: internal error, see the plugin's log")
	_, err = s.Name()
	require.NoError(t, err)
}

// Keys of every kind that is accepted.
func TestCurves(t *testing.T) {
	s := connect(t, nil, nil)
	for curve, hash := range map[elliptic.Curve]crypto.Hash{elliptic.P384(): crypto.SHA384, elliptic.P521(): crypto.SHA512} {
		m := evidencetest.New(t)
		m.AK, m.Hash = evidencetest.ECKey(t, curve), hash
		x := rightMaterial(t, s, m)
		require.NoError(t, s.ValidateEvidenceIntegrity(x.evidence, x.anchors, x.values))
		result, err := s.AppraiseClaims(x.claims, x.values)
		require.NoError(t, err)
		require.Equal(t, ear.TrustTierAffirming, *result.Submods["PARSEC_TPM"].Status)
	}
}
