// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// The sides of every comparison.
const (
	ours   = "attested-tls"
	theirs = "Veraison parsec-tpm"
)

// benchedBy is what deploy/build.sh calls the program that measures Veraison's
// scheme.
const benchedBy = "parsec-tpm-bench"

// figures is one measurement, in every round, per iteration.
type figures struct{ ns, allocs, bytes series }

func (f *figures) add(m measurement) {
	n := float64(m.Iterations)
	f.ns = append(f.ns, float64(m.Time.Nanoseconds())/n)
	f.allocs = append(f.allocs, float64(m.Allocs)/n)
	f.bytes = append(f.bytes, float64(m.Bytes)/n)
}

// inProcess holds the figures of one process by what was measured.
type inProcess map[string]*figures

// turnsPerRound is how often each measurement has its turn in a round: turns
// are short, so that what else this machine does hits all of them alike.
const turnsPerRound = 36

// measureInProcess measures both schemes and, in both processes, bare
// verification, turn by turn.
func measureInProcess(ctx context.Context, progress io.Writer, in inputs, binDir string, rounds int, turn time.Duration) (_ map[string]inProcess, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("looking for this program: %w", err)
	}
	workers := map[string]*worker{}
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.stop())
		}
	}()
	// A process of its own for this side too: here the TPM simulator and its
	// garbage would be measured with it.
	if workers[ours], err = startWorker(ctx, ours, in, self, workerCommand); err != nil {
		delete(workers, ours)
		return nil, err
	}
	if workers[theirs], err = startWorker(ctx, theirs, in, filepath.Join(binDir, benchedBy)); err != nil {
		delete(workers, theirs)
		return nil, fmt.Errorf("%w (it is built by make veraison)", err)
	}

	type step struct{ side, what string }
	steps := []step{{ours, bare}, {ours, fiveCalls}, {theirs, fiveCalls}, {theirs, bare}}
	each := map[step]time.Duration{}
	results := map[string]inProcess{ours: {}, theirs: {}}
	for _, s := range steps {
		results[s.side][s.what] = &figures{}
		// Warms up, and tells how many iterations fill a turn.
		m, err := workers[s.side].run(s.what, 100, 1)
		if err != nil {
			return nil, err
		}
		each[s] = m.Time / time.Duration(m.Iterations)
	}
	for round := range rounds {
		for range turnsPerRound {
			for _, s := range steps {
				m, err := workers[s.side].run(s.what, turn, each[s])
				if err != nil {
					return nil, err
				}
				results[s.side][s.what].add(m)
			}
			slices.Reverse(steps) // nobody is always first
		}
		recent := func(side, what string) float64 {
			ns := results[side][what].ns
			return ns[len(ns)-turnsPerRound:].median() / 1e3
		}
		fmt.Fprintf(progress, "  round %d of %d: %s %.0f µs, %s %.0f µs, two bare verifications %.0f and %.0f µs\n", round+1, rounds,
			ours, recent(ours, fiveCalls), theirs, recent(theirs, fiveCalls), recent(ours, bare), recent(theirs, bare))
	}
	return results, nil
}
