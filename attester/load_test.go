// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"context"
	"crypto"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// counter counts the commands that pass.
type counter struct {
	transport.TPMCloser
	commands map[tpm2.TPMCC]int
}

func (c *counter) Send(command []byte) ([]byte, error) {
	c.commands[tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))]++
	return c.TPMCloser.Send(command)
}

// TestKeysStayLoaded: an attestation is two commands, a signature is one.
func TestKeysStayLoaded(t *testing.T) {
	fake := &counter{TPMCloser: openSimulator(t)}
	fake.commands = map[tpm2.TPMCC]int{}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	cfg := config(t, tpm)
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
	clear(fake.commands)
	for range 10 {
		_, err = tpm.Attest(t.Context(), cfg, nonce)
		require.NoError(t, err)
		_, err = cfg.TIK.Signer().Sign(nil, make([]byte, 32), crypto.SHA256)
		require.NoError(t, err)
	}
	require.Equal(t, map[tpm2.TPMCC]int{tpm2.TPMCCCertify: 10, tpm2.TPMCCQuote: 10, tpm2.TPMCCSign: 10}, fake.commands)
}

// TestNothingStaysAfterClose, and at most two keys before.
func TestNothingStaysAfterClose(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	tpm := p.Open(t)
	cfg := config(t, tpm)
	for range 4 {
		createTIK(t, tpm, p256)
	}
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
	require.NoError(t, tpm.Close())
	require.Empty(t, strangers(t, p))
}

// strangers are the transient objects in a TPM that nobody has open.
func strangers(t *testing.T, p *tpmtest.Process) []tpm2.TPMHandle {
	t.Helper()
	conn, err := net.Dial("unix", p.Socket())
	require.NoError(t, err)
	raw := transport.FromReadWriteCloser(conn)
	defer raw.Close()
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(tpm2.TPMHTTransient) << 24, PropertyCount: 16}.Execute(raw)
	require.NoError(t, err)
	list, err := rsp.CapabilityData.Data.Handles()
	require.NoError(t, err)
	return list.Handle
}

// TestRoomIsGiven: whoever needs the room gets it, and the keys come back.
func TestRoomIsGiven(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		cfg := config(t, tpm)
		attest := func() {
			t.Helper()
			evidence, err := tpm.Attest(t.Context(), cfg, nonce)
			require.NoError(t, err)
			require.NoError(t, verifyEvidence(evidence, cfg.AK, nonce))
		}
		attest()
		createTIK(t, tpm, p256) // needs three places
		attest()
		require.NoError(t, tpm.Do(t.Context(), func(raw transport.TPM, _ []tpm2.AuthHandle) error {
			for range 3 {
				if _, err := (tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHNull, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}).Execute(raw); err != nil {
					return err
				}
			}
			return nil
		}))
		attest()
		// A caller that keeps the AK and has two places.
		require.NoError(t, tpm.Do(t.Context(), func(raw transport.TPM, _ []tpm2.AuthHandle) error {
			for range 2 {
				if _, err := (tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHNull, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}).Execute(raw); err != nil {
					return err
				}
			}
			return nil
		}, cfg.AK.Key()))
		attest()
		// One that flushes the key itself.
		require.NoError(t, tpm.Do(t.Context(), func(raw transport.TPM, keys []tpm2.AuthHandle) error {
			_, err := tpm2.FlushContext{FlushHandle: keys[0].Handle}.Execute(raw)
			return err
		}, cfg.AK.Key()))
		attest()
	})
}

// TestEvictedBehindOurBack: another program flushed the keys, and put an
// object of its own in the place of one.
func TestEvictedBehindOurBack(t *testing.T) {
	signing, err := p256.Template()
	require.NoError(t, err)
	storage := tpm2.ECCSRKTemplate
	restricted := signing
	restricted.ObjectAttributes.Restricted = true
	sim := openSimulator(t)
	flush := func(h tpm2.TPMHandle) { tpm2.FlushContext{FlushHandle: h}.Execute(sim) }
	const first, second, third = 0x80000000, 0x80000001, 0x80000002
	for name, template := range map[string]*tpm2.TPMTPublic{
		"nothing": nil, "a signing key": &signing, "an attestation key": &restricted, "a storage key": &storage,
	} {
		for _, place := range []tpm2.TPMHandle{first, second} {
			tpm := attester.New(keepOpen{sim})
			cfg := config(t, tpm)
			attest := func() {
				t.Helper()
				evidence, err := tpm.Attest(t.Context(), cfg, nonce)
				require.NoError(t, err, name)
				require.NoError(t, verifyEvidence(evidence, cfg.AK, nonce), name)
			}
			sign := func() {
				t.Helper()
				_, err := cfg.TIK.Signer().Sign(nil, make([]byte, 32), crypto.SHA256)
				require.NoError(t, err, name)
			}
			for _, use := range []func(){attest, sign} {
				attest()
				flush(first)
				flush(second)
				flush(third)
				var theirs *tpm2.CreatePrimaryResponse
				if template != nil {
					for h := tpm2.TPMHandle(first); h <= place; h++ {
						theirs, err = tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(*template)}.Execute(sim)
						require.NoError(t, err)
						require.Equal(t, h, theirs.ObjectHandle)
					}
					if place == second {
						flush(first)
					}
				}
				use()
				if theirs != nil {
					rsp, err := tpm2.ReadPublic{ObjectHandle: place}.Execute(sim)
					require.NoError(t, err, name)
					require.Equal(t, theirs.Name, rsp.Name, "%s: what is not ours was flushed", name)
					flush(place)
				}
			}
			require.NoError(t, tpm.Close())
		}
	}
	for h := tpm2.TPMHandle(first); h <= third; h++ {
		_, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(sim)
		require.Error(t, err, "something is left after Close")
	}
}

// keepOpen survives the TPM that uses it.
type keepOpen struct{ transport.TPM }

func (keepOpen) Close() error { return nil }

// TestLockout: an error of its own, and not asked again.
func TestLockout(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	cfg := config(t, tpm)
	asked := 0
	fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
		asked++
		if cc == tpm2.TPMCCCertify || cc == tpm2.TPMCCSign {
			return failure(tpm2.TPMRCLockout)
		}
		return nil
	}
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.ErrorIs(t, err, attester.ErrLockout)
	require.ErrorIs(t, err, tpm2.TPMRCLockout)
	asked = 0
	_, err = tpm.Attest(t.Context(), cfg, nonce)
	require.ErrorIs(t, err, attester.ErrLockout)
	_, err = cfg.TIK.Signer().Sign(nil, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, attester.ErrLockout)
	require.Equal(t, 2, asked, "a TPM in lockout was asked again")
	fake.script = nil
	requireEmpty(t, tpm)
}

// TestManyAttestations: 10,000 of them, from many callers of which some give
// up at any moment, leave nothing in the TPM but the two keys, and nothing
// after Close. With the race detector there are 2,000, with -short 500.
func TestManyAttestations(t *testing.T) {
	total := int64(10_000)
	switch {
	case testing.Short():
		total = 500
	case raceDetector:
		total = 2_000
	}
	sim := openSimulator(t)
	tpm := attester.New(sim)
	cfg := config(t, tpm)
	const callers = 8
	var left, made, abandoned atomic.Int64
	left.Store(total)
	var wg sync.WaitGroup
	for caller := range callers {
		random := rand.New(rand.NewPCG(2, uint64(caller)))
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				ctx, cancel := context.WithCancel(t.Context())
				stop := func() bool { return true }
				if random.IntN(3) == 0 {
					// About as long as the wait for a turn and the attestation.
					stop = time.AfterFunc(time.Duration(random.IntN(12_000))*time.Microsecond, cancel).Stop
				}
				evidence, err := tpm.Attest(ctx, cfg, nonce)
				switch {
				case err == nil:
					if made.Add(1)%100 == 0 {
						assert.NoError(t, verifyEvidence(evidence, cfg.AK, nonce))
					}
				case errors.Is(err, context.Canceled):
					abandoned.Add(1)
				default:
					assert.NoError(t, err)
				}
				stop()
				cancel()
			}
		})
	}
	wg.Wait()
	t.Logf("%d made, %d abandoned", made.Load(), abandoned.Load())
	require.Equal(t, total, made.Load()+abandoned.Load())
	require.Greater(t, abandoned.Load(), total/50)
	// What Do finds when it has flushed the keys that stay is what leaked.
	requireEmpty(t, tpm)
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
	require.NoError(t, tpm.Close())
}
