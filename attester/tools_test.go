// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// TestToolsReadOurKeys: tpm2-tools load our key files and handles, find the
// same key there, and sign with it.
func TestToolsReadOurKeys(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, alg := range []string{"ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsapss-2048-sha256", "rsassa-2048-sha256", "rsa-2048"} {
		tpm := p.Open(t)
		tik := createTIK(t, tpm, keyAlg(t, alg)).Key()
		require.NoError(t, tpm.SaveKey(t.Context(), tik, path(alg+".pem")))
		require.NoError(t, tpm.ReplaceKey(t.Context(), tik, "0x81010042"))
		require.NoError(t, tpm.Close())

		p.Tool(t, dir, "tpm2_load", "-r", alg+".pem", "-c", "key.ctx")
		for _, key := range []string{"key.ctx", "0x81010042"} {
			p.Tool(t, dir, "tpm2_readpublic", "-c", key, "-f", "pem", "-o", "key.pub")
			public, err := os.ReadFile(path("key.pub"))
			require.NoError(t, err)
			assert.Equal(t, tik.PEM(), string(public), alg)

			hash, scheme := "sha256", "ecdsa"
			if strings.HasSuffix(alg, "384") {
				hash = "sha384"
			}
			if strings.HasPrefix(alg, "rsapss") {
				scheme = "rsapss"
			} else if strings.HasPrefix(alg, "rsa") {
				scheme = "rsassa"
			}
			require.NoError(t, os.WriteFile(path("message"), []byte("a message"), 0o600))
			p.Tool(t, dir, "tpm2_sign", "-c", key, "-g", hash, "-s", scheme, "-o", "sig", "message")
			p.Tool(t, dir, "tpm2_verifysignature", "-c", key, "-g", hash, "-m", "message", "-s", "sig")
		}
	}
	// And an AK, by what it is for.
	tpm := p.Open(t)
	require.NoError(t, tpm.SaveKey(t.Context(), createAK(t, tpm, p256).Key(), path("ak.pem")))
	require.NoError(t, tpm.Close())
	p.Tool(t, dir, "tpm2_load", "-r", "ak.pem", "-c", "ak.ctx")
	p.Tool(t, dir, "tpm2_quote", "-c", "ak.ctx", "-l", "sha256:0,1", "-q", hex.EncodeToString(nonce),
		"-m", "quote", "-s", "sig", "-f", "tss")
	p.Tool(t, dir, "tpm2_readpublic", "-c", "ak.ctx", "-f", "pem", "-o", "ak.pub")
	p.Tool(t, dir, "tpm2_checkquote", "-u", "ak.pub", "-m", "quote", "-s", "sig", "-q", hex.EncodeToString(nonce))
}

const (
	akAttributes  = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"
	tikAttributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
	srkAttributes = "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
)

// TestToolsKeys: evidence over keys that tpm2-tools made, as files and at
// persistent handles, is accepted by the verifier's half of this project.
func TestToolsKeys(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	dir := t.TempDir()
	tool := func(name string, args ...string) { t.Helper(); p.Tool(t, dir, name, args...) }
	at := func(where string) string {
		if strings.HasPrefix(where, "0x") {
			return where
		}
		return filepath.Join(dir, where)
	}
	// The parent that the key file format prescribes, and a persistent one.
	tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-a", srkAttributes, "-c", "srk.ctx")
	tool("tpm2_createprimary", "-C", "o", "-G", "rsa2048", "-c", "rsasrk.ctx")
	tool("tpm2_evictcontrol", "-C", "o", "-c", "rsasrk.ctx", "0x81000001")
	create := func(parent, name, alg, attributes string) {
		t.Helper()
		tool("tpm2_create", "-C", parent, "-G", alg, "-a", attributes, "-u", name+".pub", "-r", name+".priv")
		tool("tpm2_encodeobject", "-C", parent, "-u", name+".pub", "-r", name+".priv", "-o", name+".pem")
	}
	create("srk.ctx", "ak-ecc", "ecc256:ecdsa-sha256:null", akAttributes)
	create("srk.ctx", "tik-ecc", "ecc256:ecdsa-sha256:null", tikAttributes)
	create("srk.ctx", "tik-any", "ecc384", tikAttributes)
	create("srk.ctx", "ak-admin", "ecc256:ecdsa-sha256:null", akAttributes+"|adminwithpolicy")
	create("0x81000001", "ak-rsa", "rsa2048:rsassa-sha256:null", akAttributes)
	create("0x81000001", "tik-rsa", "rsa2048:rsapss-sha256:null", tikAttributes)
	// An AK below the endorsement key, as tpm2_createak makes it.
	tool("tpm2_createek", "-c", "0x81010001", "-G", "rsa", "-u", "ek.pub")
	tool("tpm2_createak", "-C", "0x81010001", "-c", "ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-u", "ak.pub")
	tool("tpm2_evictcontrol", "-C", "o", "-c", "ak.ctx", "0x81010002")
	tool("tpm2_load", "-C", "srk.ctx", "-u", "tik-ecc.pub", "-r", "tik-ecc.priv", "-c", "tik.ctx")
	tool("tpm2_evictcontrol", "-C", "o", "-c", "tik.ctx", "0x81010003")

	tpm := p.Open(t)
	for _, test := range []struct{ ak, tik string }{
		{"ak-ecc.pem", "tik-ecc.pem"},
		{"ak-ecc.pem", "tik-any.pem"},
		{"ak-admin.pem", "tik-ecc.pem"},
		{"ak-rsa.pem", "tik-rsa.pem"},
		{"0x81010002", "0x81010003"},
		{"0x81010002", "tik-rsa.pem"},
	} {
		name := test.ak + " " + test.tik
		ak, err := tpm.LoadAK(t.Context(), at(test.ak))
		require.NoError(t, err, name)
		tik, err := tpm.LoadTIK(t.Context(), at(test.tik))
		require.NoError(t, err, name)
		sel := selection(t, "sha256:0,1,7")
		a, err := attester.NewAttester(t.Context(), attester.AttestConfig{AK: ak, TIK: tik, Selection: sel})
		require.NoError(t, err, name)
		evidence, err := a.Bundle(t.Context(), nonce)
		require.NoError(t, err, name)

		result, err := appraisal.Appraise(evidence, nonce, endorse(t, tpm, ak, sel))
		require.NoError(t, err, name)
		assert.Equal(t, "affirming", strings.ToLower(result.Status().String()), "%s: %v", name, result.Problems)

		server, client := handshake(t, certificate(t, tik), 0x0304)
		assert.NoError(t, server, name)
		assert.NoError(t, client, name)
		requireEmpty(t, tpm)
	}
	// Each is refused in the other's place.
	_, err := tpm.LoadTIK(t.Context(), at("ak-ecc.pem"))
	assert.ErrorIs(t, err, attester.ErrNotTIK)
	_, err = tpm.LoadAK(t.Context(), at("0x81010003"))
	assert.ErrorIs(t, err, attester.ErrNotAK)
}

// endorse makes a verifier know the AK and the PCRs as they are.
func endorse(t *testing.T, tpm *attester.TPM, ak *attester.AK, sel attester.Selection) *endorsements.Set {
	t.Helper()
	const class = "7d9e2c1a-5b0f-4f6e-9c1d-0a6b54d3e2f1"
	anchor, err := endorsements.NewTrustAnchor(class, ak.KID(), ak.PEM())
	require.NoError(t, err)
	pcrs, err := tpm.ReadPCRs(t.Context(), sel)
	require.NoError(t, err)
	var values []endorsements.PCRValue
	for bank, digests := range pcrs {
		for index, digest := range digests {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	state, err := endorsements.NewReferenceState(class, values)
	require.NoError(t, err)
	known, err := endorsements.NewSet(&endorsements.Corim{
		ID: "test", Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state},
	})
	require.NoError(t, err)
	return known
}

// TestToolsPassword: keys that need a password or a policy say so at the start.
func TestToolsPassword(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	dir := t.TempDir()
	tool := func(name string, args ...string) { t.Helper(); p.Tool(t, dir, name, args...) }
	tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-a", srkAttributes, "-c", "srk.ctx")
	tool("tpm2_startauthsession", "-S", "session")
	tool("tpm2_policycommandcode", "-S", "session", "-L", "policy", "TPM2_CC_Sign")
	tool("tpm2_flushcontext", "session")
	create := func(name string, args ...string) {
		t.Helper()
		args = append([]string{"-C", "srk.ctx", "-G", "ecc256:ecdsa-sha256:null", "-u", name + ".pub", "-r", name + ".priv"}, args...)
		tool("tpm2_create", args...)
		tool("tpm2_encodeobject", "-C", "srk.ctx", "-u", name+".pub", "-r", name+".priv", "-o", name+".pem")
	}
	const policyOnly = "fixedtpm|fixedparent|sensitivedataorigin|sign"
	create("ak-password", "-a", akAttributes+"|noda", "-p", "secret")
	create("tik-password", "-a", tikAttributes+"|noda", "-p", "secret")
	create("tik-password-da", "-a", tikAttributes, "-p", "secret")
	create("ak-policy", "-a", policyOnly+"|restricted", "-L", "policy")
	create("tik-policy", "-a", policyOnly, "-L", "policy")
	create("tik-admin", "-a", tikAttributes+"|adminwithpolicy", "-L", "policy")

	tpm := p.Open(t)
	load := func(name string) error {
		where := filepath.Join(dir, name+".pem")
		if strings.HasPrefix(name, "ak") {
			ak, err := tpm.LoadAK(t.Context(), where)
			assert.Nil(t, ak, name)
			return err
		}
		tik, err := tpm.LoadTIK(t.Context(), where)
		assert.Nil(t, tik, name)
		return err
	}
	for name, want := range map[string]error{
		"ak-password":     attester.ErrPassword,
		"tik-password":    attester.ErrPassword,
		"tik-password-da": attester.ErrPassword,
		"ak-policy":       attester.ErrPolicy,
		"tik-policy":      attester.ErrPolicy,
		"tik-admin":       attester.ErrPolicy,
	} {
		err := load(name)
		assert.ErrorIs(t, err, want, name)
		assert.ErrorContains(t, err, name+".pem")
	}

	// Guessing ends in lockout, which has an error of its own. Loading is one
	// guess: that above was the first of two.
	require.NoError(t, tpm.Close())
	tool("tpm2_dictionarylockout", "--setup-parameters", "--max-tries=2", "--recovery-time=1000", "--lockout-recovery-time=1000")
	tpm = p.Open(t)
	assert.ErrorIs(t, load("tik-password-da"), attester.ErrPassword)
	err := load("tik-password-da")
	assert.ErrorIs(t, err, attester.ErrLockout)
	assert.ErrorIs(t, err, tpm2.TPMRCLockout)
	requireEmpty(t, tpm)
}
