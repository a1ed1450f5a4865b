// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package simulator runs Microsoft's TPM 2.0 reference implementation in this
// process, for demonstrations and tests:
//
//	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
//
// Its keys protect nothing: they are in this process's memory, and its state
// is gone when it closes. The package is apart from package attester because
// it needs cgo and OpenSSL's headers (libssl-dev on Debian).
package simulator

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/simulator"

	"github.com/veraison/attested-tls/attester"
)

// ErrOpen is the error of opening a second simulator.
var ErrOpen = errors.New("a TPM simulator is open in this process already: it has room for one")

// opened is whether a simulator is open. The simulator is one set of C
// variables in the process, which go-tpm guards by a lock that a second
// caller would wait for without end.
var opened atomic.Bool

// Opener lets attester.Open open "simulator:".
func Opener() attester.Opener {
	return attester.Opener{Scheme: "simulator", Open: func(address string) (transport.TPMCloser, error) {
		if address != "" {
			return nil, fmt.Errorf("the TPM simulator has no address: want simulator:, not simulator:%s", address)
		}
		return Open()
	}}
}

// Open starts a new TPM, with no keys and with its PCRs in their reset state.
// Only one can be open in a process at a time. It is not safe for concurrent
// use; attester.New makes it so.
func Open() (transport.TPMCloser, error) {
	if !opened.CompareAndSwap(false, true) {
		return nil, ErrOpen
	}
	sim, err := simulator.OpenSimulator()
	if err != nil {
		opened.Store(false)
		return nil, fmt.Errorf("starting the TPM simulator: %w", err)
	}
	return &tpm{TPMCloser: sim, close: sync.OnceValue(func() error {
		defer opened.Store(false)
		return sim.Close()
	})}, nil
}

// tpm lets another be opened when it is closed.
type tpm struct {
	transport.TPMCloser
	close func() error
}

func (t *tpm) Close() error { return t.close() }
