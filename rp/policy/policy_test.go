// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/rptest"
	"github.com/veraison/attested-tls/rp/policy"
)

type object = rptest.Object

var nonce = []byte("a nonce of mine")

// verified makes a result of claims.
func verified(t testing.TB, claims object) *rp.AttestationResult {
	t.Helper()
	key := rptest.Key(t)
	r, err := ear.Verify(t.Context(), rptest.Sign(t, key, claims), ear.Pin(rptest.Public(t, key)), ear.Expectations{Nonce: nonce})
	require.NoError(t, err)
	return r
}

func akpub(t testing.TB, key *ecdsa.PublicKey) object {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return object{"akpub": base64.RawURLEncoding.EncodeToString(der)}
}

const format = "tag:github.com/veraison/attested-tls,2026:tpm-claims-1"

func TestPolicies(t *testing.T) {
	key, other := rptest.Key(t), rptest.Key(t)
	kid := []byte{1, 2, 3, 0xff}
	good := rptest.WithSubmod(rptest.Claims(nonce), object{
		"ear.veraison.key-attestation":    akpub(t, &key.PublicKey),
		"ear.veraison.annotated-evidence": object{"format": format, "kid": base64.StdEncoding.EncodeToString(kid)},
	})
	warning := rptest.WithSubmod(rptest.Claims(nonce), object{
		"ear.status": "warning", "ear.trustworthiness-vector": object{"executables": 33, "hardware": 2},
		"ear.veraison.policy-claims": object{"problem": "the quoted PCR values match no reference state"},
	})
	const why = "the quoted PCR values match no reference state"
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)

	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	again, err := x509.ParsePKIXPublicKey(der)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		policy rp.Policy
		claims object
		want   *rp.PolicyError // nil: accepted
	}{
		"affirming":          {policy.Affirming(), good, nil},
		"affirming, warning": {policy.Affirming(), warning, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "ear.status", Got: "warning", Want: "affirming", Reason: why}},
		"affirming, no status": {policy.Affirming(), rptest.WithSubmod(good, object{"ear.status": "none"}),
			&rp.PolicyError{Submod: "PARSEC_TPM", Claim: "ear.status", Got: "none", Want: "affirming"}},
		"affirming, another submodule": {policy.Affirming(), rptest.With(good, object{"submods": object{"OTHER": rptest.Submod()}}),
			&rp.PolicyError{Submod: "PARSEC_TPM", Claim: "submodule", Got: "absent", Want: "present"}},
		"affirming, a second submodule that does not": {policy.Affirming(), rptest.With(good, object{"submods": object{"PARSEC_TPM": rptest.Submod(), "OTHER": object{"ear.status": "contraindicated"}}}),
			&rp.PolicyError{Submod: "OTHER", Claim: "ear.status", Got: "contraindicated", Want: "affirming"}},
		"affirming, overall status worse": {policy.Affirming(), rptest.With(good, object{"ear.status": "warning"}),
			&rp.PolicyError{Claim: "ear.status", Got: "warning", Want: "affirming"}},

		"a warning will do":             {policy.All(policy.Status(ear.TierWarning)), warning, nil},
		"a warning will do, not no one": {policy.All(policy.TPM.Status(ear.TierNone)), good, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "ear.status", Got: "affirming", Want: "none or better"}},

		"claim":          {policy.Affirming(policy.TPM.Claim(ear.Executables, ear.TierAffirming)), good, nil},
		"claim too bad":  {policy.TPM.Claim(ear.Executables, ear.TierAffirming), warning, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "executables", Got: "33 (warning)", Want: "affirming", Reason: why}},
		"claim not made": {policy.TPM.Claim(ear.FileSystem, ear.TierWarning), good, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "file-system", Got: "absent", Want: "warning or better"}},
		"claim none":     {policy.TPM.Claim(ear.Executables, ear.TierContraindicated), rptest.WithSubmod(good, object{"ear.trustworthiness-vector": object{"executables": 1}}), &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "executables", Got: "1 (none)", Want: "contraindicated or better"}},

		"young enough": {policy.MaxAge(time.Minute), good, nil},
		"too old":      {policy.MaxAge(20 * time.Second), rptest.With(good, object{"iat": time.Now().Add(-30 * time.Second).Unix()}), &rp.PolicyError{Claim: "iat"}},

		"key":            {policy.TPM.AttestedKey(), good, nil},
		"no key":         {policy.TPM.AttestedKey(), warning, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "attested key", Got: "absent", Want: "present", Reason: why}},
		"this key":       {policy.TPM.AttestedKeyIs(&other.PublicKey, again), good, nil},
		"another key":    {policy.TPM.AttestedKeyIs(&other.PublicKey, edPublic), good, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "attested key"}},
		"this key, none": {policy.TPM.AttestedKeyIs(&key.PublicKey), warning, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "attested key", Reason: why}},

		"instance":         {policy.TPM.Instances([]byte{9}, kid), good, nil},
		"another instance": {policy.TPM.Instances([]byte{9}, []byte{8}), good, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "instance (kid)", Got: "010203ff", Want: "one of 09, 08"}},
		"no instance":      {policy.TPM.Instances(kid), warning, &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "instance (kid)", Got: "absent", Want: "010203ff", Reason: why}},
		"instance of another format": {policy.TPM.Instances(kid), rptest.WithSubmod(good, object{"ear.veraison.annotated-evidence": object{"kid": "AQID/w=="}}),
			&rp.PolicyError{Submod: "PARSEC_TPM", Claim: "instance (kid)", Got: "absent", Want: "010203ff"}},
		"instance not base64": {policy.TPM.Instances(kid), rptest.WithSubmod(good, object{"ear.veraison.annotated-evidence": object{"format": format, "kid": "?"}}),
			&rp.PolicyError{Submod: "PARSEC_TPM", Claim: "instance (kid)", Got: "unreadable", Want: "010203ff"}},

		"verifier":          {policy.Verifier(ear.VerifierID{Developer: "Veraison Project", Build: "v0.0.2501"}), good, nil},
		"another build":     {policy.Verifier(ear.VerifierID{Build: "v1"}), good, &rp.PolicyError{Claim: "ear.verifier-id.build", Got: "v0.0.2501", Want: "v1"}},
		"another developer": {policy.Verifier(ear.VerifierID{Developer: "x"}), good, &rp.PolicyError{Claim: "ear.verifier-id.developer", Got: "Veraison Project", Want: "x"}},

		"the last of many": {policy.Affirming(policy.MaxAge(time.Minute), policy.TPM.AttestedKey(), policy.TPM.Instances([]byte{9})), good,
			&rp.PolicyError{Submod: "PARSEC_TPM", Claim: "instance (kid)", Got: "010203ff", Want: "09"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.policy.Check(verified(t, c.claims))
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			var refused *rp.PolicyError
			require.ErrorAs(t, err, &refused)
			if c.want.Got == "" { // fingerprints, ages
				c.want.Got, c.want.Want = refused.Got, refused.Want
			}
			assert.Equal(t, c.want, refused)
		})
	}
	assert.EqualError(t, policy.Affirming().Check(verified(t, warning)),
		"refused by policy: PARSEC_TPM: ear.status is warning, want affirming (the verifier says: "+why+")")
}

// What is not given refuses, and so does what was not verified.
func TestZeroValuesRefuse(t *testing.T) {
	good := verified(t, rptest.Claims(nonce))
	for name, p := range map[string]rp.Policy{
		"nil":            nil,
		"all of nothing": policy.All(),
		"all of nil":     policy.All(nil),
		"affirming, nil": policy.Affirming(nil),
		"no instances":   policy.TPM.Instances(),
		"no keys":        policy.TPM.AttestedKeyIs(),
		"no verifier":    policy.Verifier(ear.VerifierID{}),
		"no check":       policy.TPM.Check(nil),
		"no keys, among": policy.Affirming(policy.TPM.AttestedKeyIs()),
	} {
		assert.ErrorIs(t, p.Check(good), rp.ErrNoPolicy, name)
	}
	accept := rp.Policy(func(*rp.AttestationResult) error { return nil })
	require.NoError(t, accept.Check(good))
	for _, r := range []*rp.AttestationResult{nil, {}, {Status: ear.TierAffirming, Submods: good.Submods}} {
		assert.ErrorIs(t, accept.Check(r), rp.ErrNotVerified)
		assert.ErrorIs(t, policy.Affirming().Check(r), rp.ErrNotVerified)
	}
	assert.Error(t, policy.Submod("").Status(ear.TierContraindicated).Check(good))
	assert.Error(t, policy.MaxAge(0).Check(verified(t, rptest.With(rptest.Claims(nonce), object{"iat": time.Now().Add(-time.Second).Unix()}))))
}

// One's own.
func TestOwnPolicy(t *testing.T) {
	failed := errors.New("it is raining")
	good := verified(t, rptest.Claims(nonce))
	require.ErrorIs(t, policy.Affirming(func(*rp.AttestationResult) error { return failed }).Check(good), failed)
	require.ErrorIs(t, policy.Affirming(policy.TPM.Check(func(*ear.Appraisal) error { return failed })).Check(good), failed)
}

// The caller's slices are the caller's.
func TestArgumentsAreCopied(t *testing.T) {
	key, other := rptest.Key(t), rptest.Key(t)
	policies := []rp.Policy{policy.TPM.AttestedKey()}
	all := policy.All(policies...)
	policies[0] = func(*rp.AttestationResult) error { return nil }
	assert.Error(t, all.Check(verified(t, rptest.Claims(nonce))))
	kid := []byte{1}
	instances := policy.TPM.Instances(kid)
	kid[0] = 2
	evidence := rptest.WithSubmod(rptest.Claims(nonce), object{"ear.veraison.annotated-evidence": object{"format": format, "kid": "Ag=="}, "ear.veraison.key-attestation": akpub(t, &key.PublicKey)})
	assert.Error(t, instances.Check(verified(t, evidence)))
	assert.Error(t, policy.TPM.AttestedKeyIs(&other.PublicKey).Check(verified(t, evidence)))
}
