// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
)

// What this project means to reach.
const (
	mostOfBare    = 1.3
	mostOfTheirs  = 0.7
	leastOfTheirs = 1.2 // appraisals per second
	mostAllocs    = 200
)

// report is everything that was measured.
type report struct {
	calls map[string]inProcess
	e2e   map[string]*endToEnd
}

// write prints the table: medians of all rounds. A ratio is the median of the
// rounds' ratios, not the ratio of the medians.
func (r report) write(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	var others series
	rule := strings.Repeat("-", 98)

	line("medians of all rounds; spread is half of what the middle half of the rounds covers")
	line("%s", rule)
	line("%-44s %11s %8s %11s %10s", "five scheme calls, in-process", "CPU ns/op", "spread", "allocs/op", "B/op")
	for _, row := range []struct {
		label string
		*figures
	}{
		{"two bare ECDSA P-256 verifications", r.calls[ours][bare]},
		{"  the same in Veraison's process", r.calls[theirs][bare]},
		{ours, r.calls[ours][fiveCalls]},
		{theirs, r.calls[theirs][fiveCalls]},
	} {
		line("%-44s %11.0f %7.1f%% %11.0f %10.0f", row.label, row.ns.median(), row.ns.spread(), row.allocs.median(), row.bytes.median())
	}

	line("%s", rule)
	line("%-33s %12s %7s   %s", "end to end", "", "", "CPU ms per appraisal")
	line("%-33s %12s %7s %8s %8s %8s %8s %8s", "", "appraisals/s", "spread", cpuClient, "verif.", cpuVTS, cpuPlugin, "all")
	for _, name := range []string{ours, theirs} {
		e := r.e2e[name]
		cpu := ""
		for _, process := range []string{cpuClient, cpuVerification, cpuVTS, cpuPlugin} {
			cpu += milliseconds(e.cpu[process])
		}
		line("%-33s %12.1f %6.1f%%%s%s", name, e.rate.median(), e.rate.spread(), cpu, milliseconds(e.all))
		others = append(others, e.others...)
	}
	if len(others) > 0 {
		line("(other processes took %.0f %% of the CPUs meanwhile)", others.median())
	}

	line("%s", rule)
	line("%-54s %7s  %-15s %-9s", "ratio", "median", "middle half", "target")
	for _, row := range r.ratios() {
		line("%s", row)
	}
	line("%s", rule)
	_, err := io.WriteString(w, b.String())
	return err
}

// ratios returns the last part of the table, with the verdicts.
func (r report) ratios() []string {
	ratio := func(label string, s series) string {
		return fmt.Sprintf("%-54s %7.3f  %6.3f … %6.3f", label, s.median(), s.quantile(0.25), s.quantile(0.75))
	}
	five := func(side string) series { return r.calls[side][fiveCalls].ns }
	yard := func(side string) series { return r.calls[side][bare].ns }

	bareOurs, oursTheirs := five(ours).over(yard(ours)), five(ours).over(five(theirs))
	allocs := r.calls[ours][fiveCalls].allocs.median()
	rate, cpu := r.e2e[ours].rate.over(r.e2e[theirs].rate), r.e2e[ours].all.over(r.e2e[theirs].all)
	rows := []string{
		ratio("five calls: "+ours+" ÷ two bare", bareOurs) + atMost(bareOurs.median(), mostOfBare),
		ratio("five calls: "+theirs+" ÷ two bare", five(theirs).over(yard(theirs))),
		ratio("five calls: "+ours+" ÷ "+theirs, oursTheirs) + atMost(oursTheirs.median(), mostOfTheirs),
		fmt.Sprintf("%-54s %7.0f  %15s", "five calls: allocations of "+ours, allocs, "") + atMost(allocs, mostAllocs),
		ratio("appraisals/s: "+ours+" ÷ "+theirs, rate) + atLeast(rate.median(), leastOfTheirs),
	}
	if len(cpu) > 0 {
		rows = append(rows, ratio("CPU per appraisal: "+ours+" ÷ "+theirs, cpu))
	}
	return rows
}

func milliseconds(s series) string {
	if len(s) == 0 {
		return fmt.Sprintf(" %8s", "-")
	}
	return fmt.Sprintf(" %8.3f", s.median())
}

func atMost(got, want float64) string {
	return fmt.Sprintf(" ≤ %-6g  %s", want, verdict(got <= want))
}

func atLeast(got, want float64) string {
	return fmt.Sprintf(" ≥ %-6g  %s", want, verdict(got >= want))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "NOT MET"
}
