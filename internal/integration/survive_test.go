// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
)

// TestPluginSurvives: nothing restarts a plugin that died, so nothing that is
// sent may end it. Then the deployment stops, and leaves nothing behind.
func TestPluginSurvives(t *testing.T) {
	d := start(t, ours(t), deployment.Memory)
	plugins, err := d.PluginPIDs()
	require.NoError(t, err)
	require.Len(t, plugins, 3)
	services := d.PIDs()

	m := pretend(t)
	enrol(t, d, m)
	// Of another device: a flipped bit may make another right CoRIM.
	corim := endorse(t, pretend(t), newClass(t))
	random := rand.New(rand.NewPCG(2026, 11)) // the same in every run
	rounds := 400
	if testing.Short() || raceDetector {
		rounds = 100
	}
	attest := func(nonce []byte) []byte {
		m.Nonce = nonce
		return m.Bundle(t)
	}
	for i := range rounds {
		kind := i % len(hostile)
		a, err := submit(t.Context(), d.Client(), nil, bundle.MediaType, func(nonce []byte) []byte {
			return hostile[kind](random, attest(nonce))
		})
		require.NoError(t, err, "evidence %d", i)
		r, err := checkedEAR(d, a)
		require.NoError(t, err, "evidence %d", i)
		// Every change breaks the form, a signature or the name of the key: none
		// gets as far as reference values.
		assert.Equal(t, ear.TrustTierContraindicated, *r.Status, "evidence %d: %x", i, a.evidence)

		bad := hostile[kind](random, bytes.Clone(corim))
		err = d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, bad)
		var failed *deployment.ProvisioningError
		if err != nil {
			require.ErrorAs(t, err, &failed, "CoRIM %d", i)
			assert.NotContains(t, failed.Reason, "internal error")
		}
	}

	after, err := d.PluginPIDs()
	require.NoError(t, err)
	require.Equal(t, plugins, after, "a plugin's process has ended")
	require.Equal(t, services, d.PIDs())
	log := logOf(t, d)
	assert.NotContains(t, log, "panicked")
	assert.NotContains(t, log, "DATA RACE")
	fresh := pretend(t)
	enrol(t, d, fresh)
	a, r := appraise(t, d, func(nonce []byte) []byte {
		fresh.Nonce = nonce
		return fresh.Bundle(t)
	})
	requireAffirmed(t, r, a.evidence, attestedKey(t, a.evidence))

	require.NoError(t, d.Stop())
	for _, pid := range append(plugins, slices.Collect(maps.Values(services))...) {
		assert.Eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }, 5*time.Second, 10*time.Millisecond,
			"process %d is left", pid)
	}
	// Nor anything that they have started themselves: it would have their
	// working directory.
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		assert.False(t, err == nil && strings.HasPrefix(cwd, d.Dir()), "process %s is left", e.Name())
	}
}

// hostile changes right input, or replaces it. It may change its argument.
var hostile = []func(r *rand.Rand, good []byte) []byte{
	// A bit.
	func(r *rand.Rand, b []byte) []byte {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b
	},
	// Several bytes.
	func(r *rand.Rand, b []byte) []byte {
		for range 1 + r.IntN(8) {
			b[r.IntN(len(b))] = byte(1 + r.IntN(255))
		}
		return append(b, 0)
	},
	// The end is missing.
	func(r *rand.Rand, b []byte) []byte { return b[:1+r.IntN(len(b)-1)] },
	// A piece is missing.
	func(r *rand.Rand, b []byte) []byte {
		i := r.IntN(len(b) - 1)
		return slices.Delete(b, i, i+1+r.IntN(min(16, len(b)-i-1)))
	},
	// A piece is there twice.
	func(r *rand.Rand, b []byte) []byte {
		i := r.IntN(len(b) - 1)
		j := i + 1 + r.IntN(min(64, len(b)-i-1))
		return slices.Insert(b, j, bytes.Clone(b[i:j])...)
	},
	// A length is the largest that there is.
	func(r *rand.Rand, b []byte) []byte {
		i := r.IntN(len(b) - 4)
		copy(b[i:], bytes.Repeat([]byte{0xff}, 1+r.IntN(4)))
		return append(b, 0)
	},
	// Nothing but noise, of any size up to 128 KiB.
	func(r *rand.Rand, _ []byte) []byte {
		b := make([]byte, 1+r.IntN(1<<(1+r.IntN(17))))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	},
	// Noise in CBOR's own terms: nested, tagged, with heads that promise much.
	func(r *rand.Rand, _ []byte) []byte {
		heads := []byte{0xa2, 0x82, 0x5b, 0x9b, 0xbb, 0xd8, 0xdb, 0x7f, 0x9f, 0xbf, 0xff, 0xf6, 0xfb, 0x63, 0x40}
		b := make([]byte, 1+r.IntN(4096))
		for i := range b {
			b[i] = heads[r.IntN(len(heads))]
		}
		return b
	},
}
