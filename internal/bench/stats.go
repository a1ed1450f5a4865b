// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
)

// series is one value for each round.
type series []float64

// quantile interpolates between the values; NaN for an empty series.
func (s series) quantile(q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func (s series) median() float64 { return s.quantile(0.5) }

// spread is half of what the middle half of the rounds covers, in percent of
// the median.
func (s series) spread() float64 {
	return 100 * (s.quantile(0.75) - s.quantile(0.25)) / 2 / s.median()
}

// over divides round by round, so that what slowed down a whole round does not
// count.
func (s series) over(t series) series {
	ratio := make(series, min(len(s), len(t)))
	for i := range ratio {
		ratio[i] = s[i] / t[i]
	}
	return ratio
}
