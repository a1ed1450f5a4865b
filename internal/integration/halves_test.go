// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/passport"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
)

// TestAttesterMeetsRelyingParty has the attester's and the relying party's half
// meet, with a real Veraison and with the verifier in this process: a challenge,
// and a passport.
func TestAttesterMeetsRelyingParty(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	a, corim := savedAttester(t, tpm)

	dep := start(t, ours(t), deployment.Memory)
	data, err := corim.Encode(endorsements.DialectV1)
	require.NoError(t, err)
	require.NoError(t, dep.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, data))
	veraisonKey, err := ear.NewKey(dep.PublicKey())
	require.NoError(t, err)
	veraison, err := rp.NewVeraison(dep.VerificationURL(), ear.Pin(veraisonKey), rp.Config{InsecureHTTP: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, veraison.Close()) })

	inProcess, err := embedded.New([]*endorsements.Corim{corim}, embedded.Config{})
	require.NoError(t, err)

	for name, v := range map[string]struct {
		rp.Verifier
		keys ear.KeySource
	}{
		"Veraison":   {veraison, ear.Pin(veraisonKey)},
		"in process": {inProcess, ear.Pin(inProcess.Key())},
	} {
		t.Run(name+", challenge", func(t *testing.T) { challenge(t, v, a) })
		t.Run(name+", passport", func(t *testing.T) { present(t, v, v.keys, a) })
	}
}

// savedAttester keeps its keys in files and takes them up again, as a machine
// does that was switched off.
func savedAttester(t *testing.T, tpm *attester.TPM) (*attester.Attester, *endorsements.Corim) {
	t.Helper()
	d := newDevice(t, tpm, ecdsa256, ecdsa256, usualPCRs)
	akFile, tikFile := filepath.Join(t.TempDir(), "ak.pem"), filepath.Join(t.TempDir(), "tik.pem")
	require.NoError(t, tpm.SaveKey(t.Context(), d.ak, akFile))
	require.NoError(t, tpm.SaveKey(t.Context(), d.tik, tikFile))
	ak, err := tpm.LoadAK(t.Context(), akFile)
	require.NoError(t, err)
	tik, err := tpm.LoadTIK(t.Context(), tikFile)
	require.NoError(t, err)
	a, err := attester.NewAttester(t.Context(), attester.AttestConfig{AK: ak, TIK: tik, Selection: d.sel})
	require.NoError(t, err)
	return a, &endorsements.Corim{ID: "halves", Anchors: []endorsements.TrustAnchor{d.anchor}, States: d.states}
}

// wanted is the policy of a relying party that knows which machine it wants.
func wanted(a *attester.Attester) rp.Policy {
	return policy.Affirming(
		policy.MaxAge(time.Minute),
		policy.TPM.AttestedKeyIs(a.TIK().Public()),
		policy.TPM.Instances(a.AK().KID()),
	)
}

func challenge(t *testing.T, v rp.Verifier, a *attester.Attester) {
	session, err := v.NewSession(t.Context(), nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, session.Close()) }()
	evidence, err := a.Attest(t.Context(), session.Nonce())
	require.NoError(t, err)
	e := rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: evidence}
	r, err := rp.Appraise(t.Context(), session, e, wanted(a))
	require.NoError(t, err)
	assert.Equal(t, session.Nonce(), r.Nonce)

	// The same evidence does not answer another challenge.
	again, err := v.NewSession(t.Context(), nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, again.Close()) }()
	r, err = rp.Appraise(t.Context(), again, e, wanted(a))
	assert.Nil(t, r)
	var refused *rp.PolicyError
	require.ErrorAs(t, err, &refused)

	// Evidence of this machine is not that of another.
	third, err := v.NewSession(t.Context(), nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, third.Close()) }()
	evidence, err = a.Attest(t.Context(), third.Nonce())
	require.NoError(t, err)
	other := append([]byte{1}, make([]byte, 32)...)
	r, err = rp.Appraise(t.Context(), third, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: evidence},
		policy.Affirming(policy.TPM.Instances(other)))
	assert.Nil(t, r)
	require.ErrorAs(t, err, &refused)
}

// present shows a passport to a relying party that asks no verifier.
func present(t *testing.T, v rp.Verifier, keys ear.KeySource, a *attester.Attester) {
	p := newPassport(t, v, a)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	doc, err := p.Wait(ctx)
	require.NoError(t, err)

	r, err := ear.Verify(t.Context(), string(doc.EAR), keys, ear.Expectations{MaxAge: passportValidity})
	require.NoError(t, err)
	require.NoError(t, wanted(a).Check(r))

	// Who presents it has to have its key.
	attested, ok := r.Submods[string(policy.TPM)].AttestedKey.(*ecdsa.PublicKey)
	require.True(t, ok)
	digest := sha256.Sum256([]byte("a challenge of the relying party's"))
	signature, err := doc.Signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	require.NoError(t, err)
	assert.True(t, ecdsa.VerifyASN1(attested, digest[:], signature))
}

// passportValidity is how long relying parties accept a passport.
const passportValidity = time.Minute

// newPassport keeps a passport of the verifier's until the test ends.
func newPassport(t *testing.T, v rp.Verifier, a *attester.Attester) *passport.Passport {
	t.Helper()
	p, err := passport.New(passport.Config{
		Attester: a,
		Appraise: func(ctx context.Context, attest func(context.Context, []byte) ([]byte, error)) (_ passport.Result, err error) {
			session, err := v.NewSession(ctx, nil)
			if err != nil {
				return passport.Result{}, err
			}
			defer func() { err = errors.Join(err, session.Close()) }()
			evidence, err := attest(ctx, session.Nonce())
			if err != nil {
				return passport.Result{}, err
			}
			r, err := rp.Appraise(ctx, session, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: evidence}, policy.Affirming())
			if err != nil {
				return passport.Result{}, err
			}
			return passport.Result{EAR: []byte(r.Token), Expires: r.IssuedAt.Add(passportValidity)}, nil
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	return p
}
