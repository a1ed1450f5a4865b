// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// signing are the attributes that the AK and the TIK share.
var signing = tpm2.TPMAObject{
	FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, SignEncrypt: true,
}

func attributes(t *testing.T, pubArea []byte) tpm2.TPMAObject {
	t.Helper()
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](pubArea)
	require.NoError(t, err)
	require.Equal(t, pubArea, tpm2.Marshal(public), "the public area has bytes left over")
	return public.ObjectAttributes
}

func TestAttributes(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ak, tik := createAK(t, tpm, p256), createTIK(t, tpm, p256)
		restricted := signing
		restricted.Restricted = true
		assert.Equal(t, restricted, attributes(t, ak.Key().PubArea()))
		assert.Equal(t, signing, attributes(t, tik.PubArea()))
		assert.NotEqual(t, ak.KID(), createAK(t, tpm, p256).KID(), "two keys are the same key")
	})
}

func TestKID(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	ak := createAK(t, tpm, p256)
	block, rest := pem.Decode([]byte(ak.PEM()))
	require.NotNil(t, block)
	require.Empty(t, rest)
	assert.Equal(t, "PUBLIC KEY", block.Type)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	assert.Equal(t, ak.Public(), key)
	sum := sha256.Sum256(block.Bytes)
	assert.Equal(t, append([]byte{1}, sum[:]...), ak.KID())
}

// TestResultsAreCopies: a caller that writes into a result spoils no key.
func TestResultsAreCopies(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	k := createTIK(t, tpm, p256).Key()
	for _, get := range []func() []byte{k.KID, k.PubArea, k.PrivateBlob} {
		b := get()
		b[0] ^= 0xff
		assert.NotEqual(t, b, get())
	}
}

func TestLoadKey(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		tik := createTIK(t, tpm, p256).Key()
		again, err := tpm.LoadKey(t.Context(), nil, tik.PubArea(), tik.PrivateBlob())
		require.NoError(t, err)
		assert.Equal(t, tik.KID(), again.KID())

		ak := createAK(t, tpm, p256).Key()
		k, err := tpm.Certify(t.Context(), ak, again, nonce)
		require.NoError(t, err)
		assert.Equal(t, tik.PubArea(), k.PubArea)

		other := createTIK(t, tpm, p256).Key()
		_, err = tpm.LoadKey(t.Context(), nil, other.PubArea(), tik.PrivateBlob())
		assert.ErrorContains(t, err, "TPM2_Load")
		_, err = tpm.LoadKey(t.Context(), nil, tik.PubArea(), nil)
		assert.ErrorContains(t, err, "TPM2_Load")
		_, err = tpm.LoadKey(t.Context(), nil, tik.PubArea()[:20], tik.PrivateBlob())
		assert.ErrorContains(t, err, "public area")
		_, err = tpm.LoadKey(t.Context(), nil, nil, nil)
		assert.ErrorContains(t, err, "public area")
	})
}

func TestCreateKeyRefused(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		// What go-tpm cannot marshal must not be a panic.
		_, err := tpm.CreateKey(t.Context(), nil, tpm2.TPMTPublic{})
		assert.Error(t, err)

		template, err := p256.Template()
		require.NoError(t, err)
		template.ObjectAttributes.FixedParent = false
		_, err = tpm.CreateKey(t.Context(), nil, template)
		assert.ErrorIs(t, err, tpm2.TPMRCAttributes)

		_, err = tpm.CreateKey(t.Context(), createTIK(t, tpm, p256).Key(), template)
		assert.Error(t, err, "a TIK is no parent")
	})
}

// TestDo: Do hands out the keys that it was asked for, and leaves nothing.
func TestDo(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ak, tik := createAK(t, tpm, p256).Key(), createTIK(t, tpm, p256).Key()
		var kept transport.TPM
		err := tpm.Do(t.Context(), func(raw transport.TPM, keys []tpm2.AuthHandle) error {
			require.Len(t, keys, 2)
			for i, k := range []*attester.Key{ak, tik} {
				rsp, err := tpm2.ReadPublic{ObjectHandle: keys[i].Handle}.Execute(raw)
				require.NoError(t, err)
				assert.Equal(t, k.PubArea(), rsp.OutPublic.Bytes())
			}
			// Left behind on purpose: an object and a session.
			_, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHNull, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(raw)
			require.NoError(t, err)
			_, _, err = tpm2.HMACSession(raw, tpm2.TPMAlgSHA256, 16)
			require.NoError(t, err)
			kept = raw
			return nil
		}, ak, tik)
		require.NoError(t, err)
		requireEmpty(t, tpm)

		_, err = tpm2.GetRandom{BytesRequested: 8}.Execute(kept)
		assert.ErrorContains(t, err, "is over")

		// Nor does it keep the TPM, or something in it, when fn does not return.
		for _, leave := range []func(){runtime.Goexit, func() { panic("a test's") }} {
			var wg sync.WaitGroup
			wg.Go(func() {
				defer func() { recover() }()
				tpm.Do(t.Context(), func(raw transport.TPM, _ []tpm2.AuthHandle) error {
					leave()
					return nil
				}, ak)
			})
			wg.Wait()
			requireEmpty(t, tpm)
		}
		assert.ErrorContains(t, tpm.Do(t.Context(), nil, (*attester.Key)(nil)), "no key given")
	})
}
