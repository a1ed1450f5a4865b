// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// table lines up what is shown to a person: a name and what is to be said.
type table struct {
	rows  [][2]string
	width int
}

func newTable() *table { return &table{} }

func (t *table) row(name, value string) {
	t.rows = append(t.rows, [2]string{name, value})
	t.width = max(t.width, len(name))
}

func (t *table) rowf(name, format string, args ...any) {
	t.row(name, fmt.Sprintf(format, args...))
}

func (t *table) print(w io.Writer) {
	for _, r := range t.rows {
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-*s  %s", t.width, r[0], r[1]), " "))
	}
}

// formatTime writes a time the same way everywhere.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}

// parseTime reads RFC 3339, or a date, which is its first second in UTC.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time: want 2026-12-31 or 2026-12-31T23:59:59Z", s)
	}
	return t, nil
}

// paint gives colours to a person's terminal.
type paint struct{ on bool }

// colours says whether w's reader is a person who wants them (no-color.org).
func (a *app) colours(tty bool) paint {
	return paint{on: tty && a.env.Getenv("NO_COLOR") == "" && a.env.Getenv("TERM") != "dumb"}
}

func (p paint) sgr(code, s string) string {
	if !p.on {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) good(s string) string { return p.sgr("32", s) }
func (p paint) warn(s string) string { return p.sgr("33", s) }
func (p paint) bad(s string) string  { return p.sgr("31", s) }
