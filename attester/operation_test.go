// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// scriptedTPM is a TPM of which a test replaces answers.
type scriptedTPM struct {
	transport.TPMCloser
	busy atomic.Bool
	// script answers a command, or returns nil to let the TPM do it.
	script func(cc tpm2.TPMCC, command []byte) []byte
	// fail, when it returns an error, stands for a connection that breaks
	// before the TPM has the command.
	fail func() error
	sent int
}

func (s *scriptedTPM) Send(command []byte) ([]byte, error) {
	if !s.busy.CompareAndSwap(false, true) {
		return nil, errors.New("two commands at once")
	}
	defer s.busy.Store(false)
	s.sent++
	cc := tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return nil, err
		}
	}
	if s.script != nil {
		if response := s.script(cc, command); response != nil {
			return response, nil
		}
	}
	return s.TPMCloser.Send(command)
}

// openSimulator is for tests that stand between the simulator and the package.
func openSimulator(t *testing.T) transport.TPMCloser {
	t.Helper()
	sim, err := simulator.Open()
	require.NoError(t, err)
	t.Cleanup(func() { sim.Close() })
	return sim
}

// success is a response without sessions.
func success(body []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
	b = binary.BigEndian.AppendUint32(b, uint32(10+len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(tpm2.TPMRCSuccess))
	return append(b, body...)
}

func failure(rc tpm2.TPMRC) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
	b = binary.BigEndian.AppendUint32(b, 10)
	return binary.BigEndian.AppendUint32(b, uint32(rc))
}

// TestRetry: a busy TPM is asked again.
func TestRetry(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	for _, rc := range []tpm2.TPMRC{tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting} {
		asked := map[tpm2.TPMCC]int{}
		fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
			if asked[cc]++; asked[cc]%4 != 0 {
				return failure(rc)
			}
			return nil
		}
		cfg := config(t, tpm)
		_, err := tpm.Attest(t.Context(), cfg, nonce)
		require.NoError(t, err)
		fake.script = nil
		requireEmpty(t, tpm)
	}
}

// TestBusyForEver: the caller's time is the limit, and what the operation
// loaded is flushed all the same.
func TestBusyForEver(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	cfg := config(t, tpm)
	fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
		if cc == tpm2.TPMCCQuote {
			return failure(tpm2.TPMRCRetry)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := tpm.Attest(ctx, cfg, nonce)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	// Wait for the operation's end before the script is changed under it.
	require.NoError(t, tpm.Do(t.Context(), func(transport.TPM, []tpm2.AuthHandle) error { return nil }))
	fake.script = nil
	requireEmpty(t, tpm)
}

// TestOtherResponsesAreNotRetried: everything else is the caller's to see.
func TestOtherResponsesAreNotRetried(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	cfg := config(t, tpm)
	for _, rc := range []tpm2.TPMRC{tpm2.TPMRCLockout, tpm2.TPMRCFailure, tpm2.TPMRCObjectMemory, tpm2.TPMRCNVRate, tpm2.TPMRCAuthFail + 0x900} {
		asked := 0
		fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
			if cc == tpm2.TPMCCCertify {
				asked++
				return failure(rc)
			}
			return nil
		}
		_, err := tpm.Attest(t.Context(), cfg, nonce)
		require.ErrorIs(t, err, rc)
		require.ErrorContains(t, err, "TPM2_Certify")
		require.Equal(t, 1, asked)
		fake.script = nil
		requireEmpty(t, tpm)
	}
}

// TestEveryCommandFails has each command of an attestation fail, in each way,
// and looks at what is left in the TPM.
func TestEveryCommandFails(t *testing.T) {
	broken := errors.New("broken on purpose")
	for _, test := range []struct {
		name string
		run  func(t *testing.T, fake *scriptedTPM, n int) (count *int)
	}{
		{"the TPM refuses", func(_ *testing.T, fake *scriptedTPM, n int) *int {
			count := 0
			fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
				if count++; count == n && cc != tpm2.TPMCCFlushContext {
					return failure(tpm2.TPMRCFailure)
				}
				return nil
			}
			return &count
		}},
		{"the command is lost", func(_ *testing.T, fake *scriptedTPM, n int) *int {
			count := 0
			fake.fail = func() error {
				if count++; count == n {
					return broken
				}
				return nil
			}
			return &count
		}},
		{"the connection breaks and stays broken for a while", func(_ *testing.T, fake *scriptedTPM, n int) *int {
			count := 0
			fake.fail = func() error {
				if count++; count >= n && count < n+2 {
					return broken
				}
				return nil
			}
			return &count
		}},
		{"the answer is cut off", func(t *testing.T, fake *scriptedTPM, n int) *int {
			count := 0
			fake.script = func(cc tpm2.TPMCC, command []byte) []byte {
				if count++; count != n {
					return nil
				}
				response, err := fake.TPMCloser.Send(command)
				require.NoError(t, err)
				// Whole enough to carry a handle.
				return response[:min(len(response), 14)]
			}
			return &count
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := &scriptedTPM{TPMCloser: openSimulator(t)}
			tpm := attester.New(fake)
			t.Cleanup(func() { tpm.Close() })
			failed := 0
			for n := 1; ; n++ {
				fake.script, fake.fail = nil, nil
				cfg := config(t, tpm)
				require.NoError(t, attester.Forget(t.Context(), tpm, cfg.AK.Key(), cfg.TIK.Key()))
				count := test.run(t, fake, n)
				_, err := tpm.Attest(t.Context(), cfg, nonce)
				done := *count < n
				fake.script, fake.fail = nil, nil
				requireEmpty(t, tpm)
				if err != nil {
					failed++
				}
				if done {
					require.NoError(t, err, "command %d", n)
					break
				}
				require.Less(t, n, 50)
			}
			require.Greater(t, failed, 5)
		})
	}
}

// TestCancelledAtEveryCommand ends the context while the TPM executes each of
// an operation's commands.
func TestCancelledAtEveryCommand(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	for n := 1; ; n++ {
		cfg := config(t, tpm)
		require.NoError(t, attester.Forget(t.Context(), tpm, cfg.AK.Key(), cfg.TIK.Key()))
		ctx, cancel := context.WithCancel(t.Context())
		count := 0
		fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
			if ctx.Err() != nil && (cc == tpm2.TPMCCFlushContext || cc == tpm2.TPMCCReadPublic) {
				return nil // the tidying up
			}
			if count++; count == n {
				cancel()
			}
			return nil
		}
		_, err := tpm.Attest(ctx, cfg, nonce)
		// The operation's end, before the script is changed under it.
		require.NoError(t, tpm.Do(t.Context(), func(transport.TPM, []tpm2.AuthHandle) error { return nil }))
		fake.script = nil
		requireEmpty(t, tpm)
		require.LessOrEqual(t, count, n, "a command was sent after the context's end")
		if count < n {
			cancel()
			require.NoError(t, err)
			require.Greater(t, n, 8)
			break
		}
		// The last commands may have made the evidence whole.
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
}

// TestConcurrent has many callers of which some give up at any moment.
func TestConcurrent(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		cfg := config(t, tpm)
		const callers, rounds = 16, 25
		var made, abandoned atomic.Int32
		var wg sync.WaitGroup
		for caller := range callers {
			random := rand.New(rand.NewPCG(1, uint64(caller)))
			wg.Go(func() {
				for range rounds {
					ctx, cancel := context.WithCancel(t.Context())
					if random.IntN(2) == 0 {
						time.AfterFunc(time.Duration(random.IntN(80_000))*time.Microsecond, cancel)
					}
					var err error
					switch random.IntN(8) {
					case 0:
						_, err = tpm.CreateTIK(ctx, p256)
					case 1:
						_, err = tpm.ReadPCRs(ctx, cfg.Selection)
					case 2:
						err = tpm.Do(ctx, func(raw transport.TPM, _ []tpm2.AuthHandle) error {
							_, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHNull, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(raw)
							return err
						}, cfg.AK.Key())
					default:
						var evidence []byte
						if evidence, err = tpm.Attest(ctx, cfg, nonce); err == nil {
							assert.NoError(t, verifyEvidence(evidence, cfg.AK, nonce))
						}
					}
					switch {
					case err == nil:
						made.Add(1)
					case ctx.Err() != nil && errors.Is(err, context.Canceled):
						abandoned.Add(1)
					default:
						assert.NoError(t, err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		t.Logf("%d done, %d abandoned", made.Load(), abandoned.Load())
		require.Positive(t, made.Load())
		require.Positive(t, abandoned.Load())
		requireEmpty(t, tpm)
		_, err := tpm.Attest(t.Context(), cfg, nonce)
		require.NoError(t, err)
	})
}

func TestCancelledBefore(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	cfg := config(t, tpm)
	sent := fake.sent
	why := errors.New("a test's reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for _, ask := range []func() (any, error){
		func() (any, error) { return tpm.Attest(ctx, cfg, nonce) },
		func() (any, error) { return tpm.CreateAK(ctx, p256) },
		func() (any, error) { return tpm.ReadPCRs(ctx, cfg.Selection) },
		func() (any, error) { return nil, tpm.Do(ctx, nil) },
	} {
		value, err := ask()
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
		require.Zero(t, value)
	}
	require.Equal(t, sent, fake.sent, "the TPM was asked")
}

// TestCancelledWhileWaiting: who waits gives up alone, the others keep their
// turn.
func TestCancelledWhileWaiting(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		cfg := config(t, tpm)
		holding, release := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			assert.NoError(t, tpm.Do(t.Context(), func(transport.TPM, []tpm2.AuthHandle) error {
				close(holding)
				<-release
				return nil
			}))
		})
		<-holding
		wg.Go(func() {
			_, err := tpm.Attest(t.Context(), cfg, nonce)
			assert.NoError(t, err)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := tpm.Attest(ctx, cfg, nonce)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "waiting for the TPM")
		close(release)
		wg.Wait()
	})
}

// TestTurns: operations run in the order of their arrival.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tpm := attester.New(transportFunc(nil))
		defer tpm.Close()
		var order []int
		release := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				assert.NoError(t, tpm.Do(t.Context(), func(transport.TPM, []tpm2.AuthHandle) error {
					<-release
					order = append(order, i)
					return nil
				}))
			})
			synctest.Wait() // the first has the TPM, the others wait for it
		}
		close(release)
		wg.Wait()
		require.Len(t, order, 20)
		require.IsIncreasing(t, order)
	})
}

// transportFunc is a TPM that is not there.
type transportFunc func(cc tpm2.TPMCC, command []byte) []byte

func (f transportFunc) Send(command []byte) ([]byte, error) {
	return f(tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])), command), nil
}
func (transportFunc) Close() error { return nil }

// TestBusyWhileFlushing: what a busy TPM did not flush the next operation
// flushes.
func TestBusyWhileFlushing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const handle = 0x80000002
		busy := true
		var flushed []uint32
		tpm := attester.New(transportFunc(func(cc tpm2.TPMCC, command []byte) []byte {
			switch {
			case cc != tpm2.TPMCCFlushContext:
				return success(binary.BigEndian.AppendUint32(nil, handle))
			case busy:
				return failure(tpm2.TPMRCRetry)
			default:
				flushed = append(flushed, binary.BigEndian.Uint32(command[10:]))
				return success(nil)
			}
		}))
		defer tpm.Close()
		load := binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 10}, uint32(tpm2.TPMCCContextLoad))
		begin := time.Now()
		err := tpm.Do(t.Context(), func(raw transport.TPM, _ []tpm2.AuthHandle) error {
			_, err := raw.Send(load)
			return err
		})
		require.ErrorContains(t, err, "the TPM is busy (TPM_RC_RETRY")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(begin), time.Minute)
		require.Empty(t, flushed)
		busy = false
		require.NoError(t, tpm.Do(t.Context(), func(transport.TPM, []tpm2.AuthHandle) error { return nil }))
		require.Equal(t, []uint32{handle}, flushed)
	})
}

// TestAbandoned: the caller does not wait for a command that takes long, and
// the next operation finds the TPM empty.
func TestAbandoned(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	cfg := config(t, tpm)
	begun, finish := make(chan struct{}), make(chan struct{})
	var certified, quoted atomic.Int32
	fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
		switch cc {
		case tpm2.TPMCCCertify:
			certified.Add(1)
			close(begun)
			<-finish
		case tpm2.TPMCCQuote:
			quoted.Add(1)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := tpm.Attest(ctx, cfg, nonce)
		result <- err
	}()
	<-begun
	cancel()
	err := <-result // while the command is still under way
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "abandoned")
	close(finish)
	requireEmpty(t, tpm)
	require.EqualValues(t, 1, certified.Load())
	require.Zero(t, quoted.Load(), "the abandoned operation went on")
}

func TestClose(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	cfg := config(t, tpm)
	begun, finish := make(chan struct{}), make(chan struct{})
	fake.script = func(cc tpm2.TPMCC, _ []byte) []byte {
		if cc == tpm2.TPMCCCertify {
			close(begun)
			<-finish
		}
		return nil
	}
	var wg sync.WaitGroup
	attest := func() {
		_, err := tpm.Attest(t.Context(), cfg, nonce)
		assert.ErrorIs(t, err, attester.ErrClosed)
	}
	wg.Go(attest)
	<-begun
	wg.Go(attest) // waits for its turn
	closed := make(chan error, 2)
	for range cap(closed) {
		go func() { closed <- tpm.Close() }()
	}
	wg.Wait() // although the command is under way
	select {
	case <-closed:
		t.Fatal("closed under a command")
	case <-time.After(20 * time.Millisecond):
	}
	close(finish)
	for range cap(closed) {
		require.NoError(t, <-closed)
	}
	attest()
	require.ErrorIs(t, tpm.Do(t.Context(), nil), attester.ErrClosed)
	require.NoError(t, tpm.Close())

	sim, err := simulator.Open() // the TPM has closed its transport
	require.NoError(t, err)
	require.NoError(t, sim.Close())
}

func TestOneSimulator(t *testing.T) {
	sim := openSimulator(t)
	_, err := simulator.Open()
	require.ErrorIs(t, err, simulator.ErrOpen)
	require.NoError(t, sim.Close())
	again := openSimulator(t)
	require.NoError(t, sim.Close(), "a second time")
	_, err = simulator.Open()
	require.ErrorIs(t, err, simulator.ErrOpen, "the first one's Close let go of the second")
	require.NoError(t, again.Close())
	require.NotNil(t, tpmtest.Simulator(t))
}

// TestResponseTooShort: a transport that returns less than a header.
func TestResponseTooShort(t *testing.T) {
	fake := &scriptedTPM{TPMCloser: openSimulator(t)}
	tpm := attester.New(fake)
	t.Cleanup(func() { tpm.Close() })
	fake.script = func(tpm2.TPMCC, []byte) []byte { return []byte{0x80, 0x01, 0, 0} }
	_, err := tpm.CreateAK(t.Context(), p256)
	require.ErrorContains(t, err, "want 10 or more")
	fake.script = func(tpm2.TPMCC, []byte) []byte { return success([]byte{1, 2, 3})[:12] }
	_, err = tpm.CreateAK(t.Context(), p256)
	require.ErrorContains(t, err, "has 12 bytes and says 13")
	fake.script = nil
}
