// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package apihttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// ErrTooLong is ReadAll's error for a body beyond the limit.
var ErrTooLong = errors.New("too long")

// ReadAll reads a body to its end, which lets the connection be used again, or
// to the limit. The length is that of the header, negative if it does not say.
func ReadAll(body io.Reader, length int64, limit int) ([]byte, error) {
	if length == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	if length > 0 {
		b.Grow(int(length) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(body, int64(limit)+1)); err != nil {
		return nil, err
	}
	if b.Len() > limit {
		return nil, ErrTooLong
	}
	return b.Bytes(), nil
}

// ParseRetryAfter reads a Retry-After (RFC 9110, section 10.2.3); zero if there
// is none.
func ParseRetryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

// maxText is how much of a stranger's words is repeated, in bytes.
const maxText = 500

// MaxText is how much of a body is worth giving to Printable.
const MaxText = maxText + 1

// Problem is the title and the detail of an answer that refuses: those of its
// problem document (RFC 9457) or, if it is none, the status and the body, fit for
// a message.
func Problem(status int, body []byte) (title, detail string) {
	var document struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		document.Detail = string(body[:min(len(body), MaxText)])
	}
	title, detail = Printable(document.Title), Printable(document.Detail)
	if title == "" {
		title = http.StatusText(status)
	}
	return title, detail
}

// Printable makes a stranger's text fit for one line of a log.
func Printable(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	return strings.Join(strings.Fields(s), " ")
}
