// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestContexts(t *testing.T) {
	var c Contexts
	ours, err := c.New()
	require.NoError(t, err)
	require.Len(t, ours, ContextSize)
	again, err := c.New()
	require.NoError(t, err)
	require.NotEqual(t, ours, again)

	// One answer to each request.
	require.NoError(t, c.Done(ours))
	require.ErrorIs(t, c.Done(ours), ErrReused)
	require.NoError(t, c.Done(again))
	require.ErrorIs(t, c.Done(bytes.Repeat([]byte{1}, 32)), ErrContext)
	require.ErrorIs(t, c.Done(nil), ErrContext)

	// The peer's requests.
	theirs := bytes.Repeat([]byte{2}, 32)
	require.NoError(t, c.Take(theirs))
	require.ErrorIs(t, c.Take(theirs), ErrReused)
	require.ErrorIs(t, c.Done(theirs), ErrContext)

	// Ours come back, answered or not.
	require.EqualError(t, c.Take(ours), "certificate_request_context used before on this connection: by this end")
	open, err := c.New()
	require.NoError(t, err)
	require.ErrorIs(t, c.Take(open), ErrReused)
	require.NoError(t, c.Done(open))

	for _, n := range []int{0, 31, 256} {
		require.ErrorIs(t, c.Take(make([]byte, n)), ErrContext, "%d bytes", n)
	}
	for _, n := range []int{32, 33, 255} {
		require.NoError(t, c.Take(make([]byte, n)), "%d bytes", n)
	}
}

func TestContextsAreBounded(t *testing.T) {
	var c Contexts
	for i := range uint32(MaxContexts) {
		_, err := c.New()
		require.NoError(t, err)
		require.NoError(t, c.Take(binary.BigEndian.AppendUint32(make([]byte, 32), i)))
	}
	_, err := c.New()
	require.ErrorIs(t, err, ErrTooManyContexts)
	require.ErrorIs(t, c.Take(bytes.Repeat([]byte{1}, 32)), ErrTooManyContexts)
	// What is remembered stays so.
	require.ErrorIs(t, c.Take(make([]byte, 36)), ErrReused)
}

// Of many at a time, one has its way.
func TestContextsConcurrently(t *testing.T) {
	var (
		c           Contexts
		taken, done atomic.Int32
		wg          sync.WaitGroup
	)
	theirs := bytes.Repeat([]byte{2}, 32)
	ours, err := c.New()
	require.NoError(t, err)
	for range 16 {
		wg.Go(func() {
			if c.Take(theirs) == nil {
				taken.Add(1)
			}
			if c.Done(ours) == nil {
				done.Add(1)
			}
			_, _ = c.New()
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, taken.Load())
	require.EqualValues(t, 1, done.Load())
}
