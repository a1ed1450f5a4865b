// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// TestReadPCRs reads more PCRs than a TPM returns at once.
func TestReadPCRs(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		banks := []crypto.Hash{crypto.SHA512, crypto.SHA256, crypto.SHA384}
		for i, bank := range banks {
			for _, pcr := range []int{0, 7, 8, 15, 16} {
				digest := bytes.Repeat([]byte{byte(16*i + pcr)}, bank.Size())
				require.NoError(t, tpmtest.ExtendPCR(t.Context(), tpm, bank, pcr, digest))
			}
		}
		values, err := tpm.ReadPCRs(t.Context(), selection(t, "sha512:all+sha256:all+sha384:all"))
		require.NoError(t, err)
		require.Len(t, values, len(banks))
		for i, bank := range banks {
			require.Len(t, values[bank], 24)
			for pcr, value := range values[bank] {
				// PC Client Platform TPM Profile: PCRs 17 to 22 start as ones,
				// the others as zeros.
				want := make([]byte, bank.Size())
				if pcr >= 17 && pcr <= 22 {
					want = bytes.Repeat([]byte{0xff}, bank.Size())
				}
				switch pcr {
				case 0, 7, 8, 15, 16:
					h := bank.New()
					h.Write(want)
					h.Write(bytes.Repeat([]byte{byte(16*i + pcr)}, bank.Size()))
					want = h.Sum(nil)
				}
				assert.Equal(t, want, value, "%v PCR %d", bank, pcr)
			}
		}

		values, err = tpm.ReadPCRs(t.Context(), attester.Selection{{Bank: crypto.SHA256, PCRs: []int{9, 3}}})
		require.NoError(t, err)
		require.Len(t, values, 1)
		require.Len(t, values[crypto.SHA256], 2)
	})
}

// TestExtendChangesQuote: what the demonstration shows.
func TestExtendChangesQuote(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		sel := selection(t, "sha256:16")
		before, err := tpm.ReadPCRs(t.Context(), sel)
		require.NoError(t, err)
		require.NoError(t, tpmtest.ExtendPCR(t.Context(), tpm, crypto.SHA256, 16, bytes.Repeat([]byte{1}, 32)))
		after, err := tpm.ReadPCRs(t.Context(), sel)
		require.NoError(t, err)
		assert.NotEqual(t, before, after)
		assert.Error(t, tpmtest.ExtendPCR(t.Context(), tpm, crypto.SHA256, 16, []byte{1}))
	})
}

// TestUnallocatedBank: the TPM leaves the bank out and signs the rest, which
// must not pass for what was asked.
func TestUnallocatedBank(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	tpm := p.Open(t)
	require.NoError(t, tpmtest.AllocateBanks(t.Context(), tpm, crypto.SHA1, crypto.SHA256))
	require.NoError(t, tpm.Close())
	require.NoError(t, p.Stop())
	require.NoError(t, p.Start())
	tpm = p.Open(t)
	cfg := config(t, tpm)

	for _, s := range []string{"sha384:0", "sha256:0+sha384:0,1", "sha384:all+sha256:0"} {
		cfg.Selection = selection(t, s)
		for _, ask := range []func() (any, error){
			func() (any, error) { return tpm.Attest(t.Context(), cfg, nonce) },
			func() (any, error) { return tpm.Quote(t.Context(), cfg.AK.Key(), cfg.Selection, nonce) },
			func() (any, error) { return tpm.ReadPCRs(t.Context(), cfg.Selection) },
		} {
			value, err := ask()
			require.ErrorContains(t, err, "the TPM lacks PCRs: asked for ")
			require.ErrorContains(t, err, "allocated are sha1:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23+sha256:0")
			require.NotContains(t, err.Error(), "got sha384")
			require.Zero(t, value)
		}
	}
	cfg.Selection = selection(t, "sha256:0")
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
	requireEmpty(t, tpm)
}

// TestUnknownBank: a TPM that does not even know the hash.
func TestUnknownBank(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	ak := createAK(t, tpm, p256)
	fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
		if cc == tpm2.TPMCCQuote || cc == tpm2.TPMCCPCRRead {
			return failure(tpm2.TPMRCHash + 0x100)
		}
		return nil
	}
	_, err := tpm.Quote(t.Context(), ak.Key(), selection(t, "sha512:0"), nonce)
	assert.ErrorIs(t, err, tpm2.TPMRCHash)
	assert.ErrorContains(t, err, "asked for sha512:0, got none, allocated are sha1:0")
	_, err = tpm.ReadPCRs(t.Context(), selection(t, "sha512:0"))
	assert.ErrorIs(t, err, tpm2.TPMRCHash)
	assert.ErrorContains(t, err, "asked for sha512:0, got none, allocated are sha1:0")
	fake.script = nil
	requireEmpty(t, tpm)
}

// TestPCRsChangeWhileRead: values of different moments are never mixed.
func TestPCRsChangeWhileRead(t *testing.T) {
	sim := openSimulator(t)
	fake := &scriptedTPM{TPMCloser: sim}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	extendBehind := func() {
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: 0, Name: tpm2.HandleName(0), Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
		}.Execute(sim)
		require.NoError(t, err)
	}
	reads := 0
	fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
		if cc == tpm2.TPMCCPCRRead {
			if reads++; reads == 3 {
				extendBehind()
			}
		}
		return nil
	}
	values, err := tpm.ReadPCRs(t.Context(), selection(t, "sha256:all"))
	require.NoError(t, err)
	require.Equal(t, 3+3, reads, "24 PCRs are three reads, and three again after the change")
	h := crypto.SHA256.New()
	h.Write(make([]byte, 64))
	require.Equal(t, h.Sum(nil), values[crypto.SHA256][0])

	fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
		if cc == tpm2.TPMCCPCRRead {
			extendBehind()
		}
		return nil
	}
	values, err = tpm.ReadPCRs(t.Context(), selection(t, "sha256:all"))
	require.ErrorContains(t, err, "the PCRs change while they are read")
	require.Nil(t, values)
}

// TestPCRReadNonsense: a TPM whose answer is at odds with itself gives an
// error and no endless loop.
func TestPCRReadNonsense(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	answer := func(selection []tpm2.TPMSPCRSelection, digests ...[]byte) []byte {
		body := binary.BigEndian.AppendUint32(nil, 1)
		body = append(body, tpm2.Marshal(tpm2.TPMLPCRSelection{PCRSelections: selection})...)
		var list tpm2.TPMLDigest
		for _, d := range digests {
			list.Digests = append(list.Digests, tpm2.TPM2BDigest{Buffer: d})
		}
		return success(append(body, tpm2.Marshal(list)...))
	}
	sha256 := func(mask byte) []tpm2.TPMSPCRSelection {
		return []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{mask, 0, 0}}}
	}
	for name, response := range map[string][]byte{
		"digest without PCR":  answer(sha256(0), make([]byte, 32)),
		"no selection at all": answer(nil, make([]byte, 32)),
		"another PCR":         answer(sha256(2), make([]byte, 32)),
		"PCR without digest":  answer(sha256(3), make([]byte, 32)),
		"digest too long":     answer(sha256(1), make([]byte, 33)),
		"another bank":        answer([]tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA384, PCRSelect: []byte{1, 0, 0}}}, make([]byte, 48)),
		"unknown bank":        answer([]tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSM3256, PCRSelect: []byte{1, 0, 0}}}, make([]byte, 32)),
		"nothing":             answer(sha256(0)),
	} {
		fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
			if cc == tpm2.TPMCCPCRRead {
				return response
			}
			return nil
		}
		values, err := tpm.ReadPCRs(t.Context(), selection(t, "sha256:0"))
		assert.Error(t, err, name)
		assert.Nil(t, values, name)
	}
}

var _ transport.TPMCloser = (*scriptedTPM)(nil)
