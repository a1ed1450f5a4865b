// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmtest

import (
	"strings"
	"sync"
	"testing"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
)

// simulated is the test that has the process's one simulator. Tests wait for
// each other here; nothing else does.
var simulated = struct {
	turn   sync.Mutex
	mu     sync.Mutex
	holder string
}{}

// Simulator gives t a new TPM simulator until t ends. Tests of a process that
// ask for one take turns. A subtest must use its parent's.
func Simulator(t testing.TB) *attester.TPM {
	t.Helper()
	simulated.mu.Lock()
	holder := simulated.holder
	simulated.mu.Unlock()
	if holder == t.Name() || holder != "" && strings.HasPrefix(t.Name(), holder+"/") {
		t.Fatalf("%s has the TPM simulator already and would wait for itself: use that one", holder)
	}
	simulated.turn.Lock()
	hold(t.Name())
	t.Cleanup(func() {
		hold("")
		simulated.turn.Unlock()
	})

	sim, err := simulator.Open()
	if err != nil {
		t.Fatal(err)
	}
	tpm := attester.New(sim)
	t.Cleanup(func() {
		if err := tpm.Close(); err != nil {
			t.Errorf("closing the TPM simulator: %v", err)
		}
	})
	return tpm
}

func hold(name string) {
	simulated.mu.Lock()
	defer simulated.mu.Unlock()
	simulated.holder = name
}
