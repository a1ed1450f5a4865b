// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// timeline is what both ends of a connection did, and when.
type timeline struct {
	start time.Time

	mu    sync.Mutex
	steps []step
}

type step struct {
	side     string
	name     tlsbinding.Step
	from, to time.Duration // since the start
}

func newTimeline() *timeline { return &timeline{start: time.Now()} }

func (l *timeline) trace(side string) *tlsbinding.Trace {
	return &tlsbinding.Trace{StepDone: func(name tlsbinding.Step, start time.Time, took time.Duration, _ error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		from := start.Sub(l.start)
		l.steps = append(l.steps, step{side, name, from, from + took})
	}}
}

func (l *timeline) print(p *printer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.steps, func(a, b step) int { return cmp.Compare(a.from, b.from) })
	p.line("time, in ms:                                     from     to   took")
	for _, s := range l.steps {
		p.line("  %s %-38s %6.1f %6.1f %6.1f", s.side, s.name, ms(s.from), ms(s.to), ms(s.to-s.from))
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
