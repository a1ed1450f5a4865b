// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package apihttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/veraison/attested-tls/internal/apihttp"
)

func TestParseBase(t *testing.T) {
	for text, want := range map[string]string{
		"https://v.example":       "https://v.example",
		"https://v.example/":      "https://v.example",
		"https://v.example/below": "https://v.example/below",
		"https://v.example:8443/": "https://v.example:8443",
		// One deployment has one spelling.
		"HTTPS://V.Example":         "https://v.example",
		"https://v.example:443":     "https://v.example",
		"https://v.example:":        "https://v.example",
		"https://v.example:443/A/":  "https://v.example/A",
		"https://v.example:80":      "https://v.example:80",
		"https://v.example:4430":    "https://v.example:4430",
		"https://[::FF]:443":        "https://[::ff]",
		"https://[::443]":           "https://[::443]",
		"https://[fe80::1%25Eth0]/": "https://[fe80::1%25Eth0]",
		"http://v.example:80":       "http://v.example",
		"http://v.example:443":      "http://v.example:443",
	} {
		u, err := apihttp.ParseBase("service", text, strings.HasPrefix(text, "http:"))
		require.NoError(t, err)
		require.Equal(t, want, u.String())
	}
	u, err := apihttp.ParseBase("service", "http://127.0.0.1:8888", true)
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:8888/a?b=c", apihttp.Endpoint(u, "/a", "b=c").String())
	for _, text := range []string{
		"", "v.example", "//v.example", "ftp://v.example", "https:v.example", "https://", "https://a:b@v.example",
		"https://v.example?x=y", "https://v.example#x", "http://v.example", "https://a:b@%zz",
	} {
		u, err := apihttp.ParseBase("service", text, false)
		require.ErrorContains(t, err, "service's URL", text)
		require.NotContains(t, err.Error(), "a:b")
		require.Nil(t, u)
	}
}

// A Location stays with the origin.
func TestResolve(t *testing.T) {
	base, err := url.Parse("https://v.example/below")
	require.NoError(t, err)
	from := apihttp.Endpoint(base, "/submit", "")
	for location, want := range map[string]string{
		"session/1":                   "https://v.example/below/session/1",
		"/session/1":                  "https://v.example/session/1",
		"https://V.example:443/x?y#z": "https://V.example:443/x?y",
	} {
		u, err := apihttp.Resolve("service", base, from, location)
		require.NoError(t, err)
		require.Equal(t, want, u.String())
	}
	for _, location := range []string{
		"", "http://v.example/x", "https://v.example:8443/x", "https://w.example/x", "//w.example/x",
		"https://a@v.example/x", "https:x", "%zz",
	} {
		u, err := apihttp.Resolve("service", base, from, location)
		require.Error(t, err, location)
		require.Nil(t, u)
	}
}

func TestReadAll(t *testing.T) {
	for _, length := range []int64{-1, 5} {
		got, err := apihttp.ReadAll(strings.NewReader("12345"), length, 5)
		require.NoError(t, err)
		require.Equal(t, "12345", string(got))
		_, err = apihttp.ReadAll(strings.NewReader("123456"), length, 5)
		require.ErrorIs(t, err, apihttp.ErrTooLong)
	}
	got, err := apihttp.ReadAll(nil, 0, 5)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "99999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, apihttp.ParseRetryAfter(text, now), text)
	}
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "a b c", apihttp.Printable(" a\n\tb\x1b\x00 c"))
	require.Equal(t, "?", apihttp.Printable("\xff"))
	require.Len(t, apihttp.Printable(strings.Repeat("x", 1000)), 500+len("…"))
}

func TestBackoff(t *testing.T) {
	for attempt, longest := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 100: 2 * time.Second} {
		for range 100 {
			wait := apihttp.Backoff(attempt, 0)
			require.GreaterOrEqual(t, wait, longest/2)
			require.LessOrEqual(t, wait, longest)
		}
	}
	require.Equal(t, 5*time.Second, apihttp.Backoff(1, 5*time.Second))
}

func TestSleep(t *testing.T) {
	require.NoError(t, apihttp.Sleep(t.Context(), 0))
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	require.ErrorIs(t, apihttp.Sleep(ctx, time.Hour), cause)
}

// source gives a token each time it is let.
type source struct {
	asked   atomic.Int32
	release chan error
	life    time.Duration
}

func (s *source) Token() (*oauth2.Token, error) {
	n := s.asked.Add(1)
	if err := <-s.release; err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: fmt.Sprint(n), Expiry: time.Now().Add(s.life)}, nil
}

func TestTokenCache(t *testing.T) {
	require.Nil(t, apihttp.NewTokenCache(nil))
	s := &source{release: make(chan error), life: time.Hour}
	c := apihttp.NewTokenCache(s)

	// One is asked for at a time, and who waits can give up.
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := c.Get(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			token, err := c.Get(t.Context())
			if err != nil || token.AccessToken != "1" {
				t.Errorf("got %v, %v", token, err)
			}
		})
	}
	s.release <- nil
	all.Wait()
	require.EqualValues(t, 1, s.asked.Load())

	// It is kept until it is dropped. An error is not.
	c.Drop()
	close(s.release)
	token, err := c.Get(t.Context())
	require.NoError(t, err)
	require.Equal(t, "2", token.AccessToken)
}

func TestTokenErrors(t *testing.T) {
	refused := errors.New("invalid_client")
	s := &source{release: make(chan error, 1), life: time.Hour}
	s.release <- refused
	_, err := apihttp.NewTokenCache(s).Get(t.Context())
	require.ErrorIs(t, err, refused)
	require.EqualError(t, err, "getting access token: invalid_client")

	s = &source{release: make(chan error, 1), life: -time.Hour}
	s.release <- nil
	_, err = apihttp.NewTokenCache(s).Get(t.Context())
	require.ErrorContains(t, err, "has expired")
}
