// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCPUTimes(t *testing.T) {
	runtime.LockOSThread() // for threadTime
	defer runtime.UnlockOSThread()
	self := map[string][]int{"self": {os.Getpid()}}
	before, err := cpuTimes(self)
	require.NoError(t, err)
	start, err := threadTime()
	require.NoError(t, err)
	for {
		now, err := threadTime()
		require.NoError(t, err)
		if now-start > 5*tick {
			break
		}
	}
	after, err := cpuTimes(self)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, after.of["self"]-before.of["self"], 4*tick)
	assert.GreaterOrEqual(t, after.busy-before.busy, 3*tick)
	assert.GreaterOrEqual(t, after.total, after.busy)
	assert.Less(t, after.of["self"], time.Hour)

	_, err = cpuTimes(map[string][]int{"nobody": {-1}})
	assert.ErrorContains(t, err, "nobody")
	none, err := cpuTimes(nil)
	require.NoError(t, err)
	assert.Empty(t, none.of)
}
