// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
)

// This file and threadtime*.go are the same in the root module's internal/bench
// and in deploy/cmd/bench, which cannot share a package; a test holds them
// together. Both sides are measured by the same code in a process of their own.

// inputs is what both schemes work on.
type inputs struct {
	Evidence []byte `json:"evidence"`
	Nonce    []byte `json:"nonce"`
	Corim    []byte `json:"corim"`
	// Key is the attestation key, as DER SubjectPublicKeyInfo.
	Key []byte `json:"key"`
	// Signed is what it has signed in the evidence.
	Signed []signed `json:"signed"`
}

// signed is a message and its signature by ECDSA with SHA-256, in DER.
type signed struct {
	Message   []byte `json:"message"`
	Signature []byte `json:"signature"`
}

// What is measured.
const (
	fiveCalls = "five calls"        // one appraisal
	bare      = "bare verification" // of all that is signed in the evidence
)

// request asks for a measurement.
type request struct {
	Run        string `json:"run"`
	Iterations int    `json:"iterations"`
}

// measurement is what all iterations took.
type measurement struct {
	Iterations int `json:"iterations"`
	// Time is as threadTime has it.
	Time   time.Duration `json:"time_ns"`
	Allocs uint64        `json:"allocs"`
	Bytes  uint64        `json:"bytes"`
}

// serve reads inputs and then requests until in ends, and answers each.
func serve(in io.Reader, out io.Writer, newFiveCalls func(inputs) (func() error, error)) error {
	dec, enc := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	var given inputs
	if err := dec.Decode(&given); err != nil {
		return fmt.Errorf("reading inputs: %w", err)
	}
	five, err := newFiveCalls(given)
	if err != nil {
		return err
	}
	verify, err := newVerification(given)
	if err != nil {
		return err
	}
	once := map[string]func() error{fiveCalls: five, bare: verify}
	if err := enc.Encode(measurement{}); err != nil {
		return fmt.Errorf("saying that it is ready: %w", err)
	}
	for {
		var r request
		switch err := dec.Decode(&r); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading a request: %w", err)
		}
		f, ok := once[r.Run]
		if !ok {
			return fmt.Errorf("no such measurement: %q", r.Run)
		}
		m, err := measure(f, r.Iterations)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Run, err)
		}
		if err := enc.Encode(m); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

// newVerification verifies the evidence's signatures and nothing more.
func newVerification(in inputs) (func() error, error) {
	parsed, err := x509.ParsePKIXPublicKey(in.Key)
	if err != nil {
		return nil, fmt.Errorf("decoding the attestation key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the attestation key is a %T, want an ECDSA key", parsed)
	}
	return func() error {
		for _, s := range in.Signed {
			sum := sha256.Sum256(s.Message)
			if !ecdsa.VerifyASN1(key, sum[:], s.Signature) {
				return errors.New("a signature does not verify")
			}
		}
		return nil
	}, nil
}

// measure is testing.B's way, with iterations that the caller chooses so that
// turns can alternate. It does not collect garbage first: over many turns
// everybody pays for their own.
func measure(f func() error, iterations int) (measurement, error) {
	runtime.LockOSThread() // for threadTime
	defer runtime.UnlockOSThread()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, err := threadTime()
	if err != nil {
		return measurement{}, err
	}
	for range iterations {
		if err := f(); err != nil {
			return measurement{}, err
		}
	}
	end, err := threadTime()
	if err != nil {
		return measurement{}, err
	}
	runtime.ReadMemStats(&after)
	return measurement{
		Iterations: iterations,
		Time:       end - start,
		Allocs:     after.Mallocs - before.Mallocs,
		Bytes:      after.TotalAlloc - before.TotalAlloc,
	}, nil
}
