// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
	"github.com/veraison/services/proto"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/pluginhost"
)

// A host of either generation asks a plugin for what it does not have, and goes
// on.
func TestUnknownHandler(t *testing.T) {
	_, err := pluginhost.Start(t, filepath.Join(ours(t), pluginName), "coserv-proxy-handler")
	require.ErrorContains(t, err, "unknown plugin")
}

// The host logs what Init says, and goes on without the plugin.
func TestInitOfProcess(t *testing.T) {
	s, _ := schemeHandler(t)
	require.NoError(t, s.Init(nil))
	require.NoError(t, s.Init([]byte("{}")))
	require.ErrorContains(t, s.Init([]byte(`{"strict":true}`)), `the plugin has no parameter "strict"`)
	name, err := s.Name()
	require.NoError(t, err)
	require.Equal(t, "parsec_tpm-scheme-plugin", name)
}

// TestHostileArguments: nothing that is in an argument of any method ends a
// process, and what is right is affirmed afterwards as before.
func TestHostileArguments(t *testing.T) {
	before, processes := olderHandlers(t)
	scheme, process := schemeHandler(t)
	since := &pluginhost.Since2603{Scheme: scheme}
	calls := map[string]*pluginhost.Process{
		"evidence-handler": processes[0], "store-handler": processes[1], "endorsement-handler": processes[2], "scheme-handler": process,
	}

	m := pretend(t)
	corim := endorse(t, m, newClass(t))
	converted, err := endorsements.Convert(corim, endorsements.DialectV2)
	require.NoError(t, err)
	require.NoError(t, before.Submit(corim))
	require.NoError(t, since.Submit(converted))
	evidence := &pluginhost.Evidence{TenantId: "0", MediaType: bundle.MediaType, Data: m.Bundle(t), Nonce: m.Nonce}
	affirmed := func() {
		t.Helper()
		for _, host := range []vts{before, since} {
			result, err := host.Attest(evidence)
			require.NoError(t, err)
			require.Equal(t, ear.TrustTierAffirming, *result.Submods["PARSEC_TPM"].Status)
		}
	}
	affirmed()

	claims, err := scheme.ExtractClaims(evidence, nil)
	require.NoError(t, err)
	claimsCBOR, err := cbor.Marshal(claims)
	require.NoError(t, err)
	claimsJSON, err := json.Marshal(claims)
	require.NoError(t, err)
	token, err := json.Marshal(&proto.AttestationToken{TenantId: "0", Data: evidence.Data, Nonce: evidence.Nonce})
	require.NoError(t, err)
	// What one method or another takes.
	good := [][]byte{corim, converted, evidence.Data, evidence.Nonce, token, claimsCBOR, claimsJSON,
		[]byte(`{"scheme":"PARSEC_TPM","type":"trust anchor","attributes":{}}`), []byte("{}"), []byte("null"), {0xf6}, nil}
	for _, recorded := range []string{pluginhost.RecordedTrustAnchors, pluginhost.RecordedEndorsements} {
		data, err := hex.DecodeString(recorded)
		require.NoError(t, err)
		good = append(good, data)
	}
	random := rand.New(rand.NewPCG(2026, 6)) // the same in every run
	argument := func() []byte {
		data := bytes.Clone(good[random.IntN(len(good))])
		switch random.IntN(4) {
		case 0:
			return data
		case 1:
			data = make([]byte, random.IntN(200))
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			return data
		}
		if len(data) < 32 {
			return data
		}
		return hostile[random.IntN(len(hostile))](random, data)
	}
	texts := []string{bundle.MediaType, "0", "", "\x00", strings.Repeat("%", 100_000), "\xff\xfe"}

	rounds := 200
	if testing.Short() || raceDetector {
		rounds = 50
	}
	for _, method := range pluginhost.Methods() {
		answers := 0
		for range rounds {
			err := method.Call(calls[method.Handler].Calls,
				method.Args(texts[random.IntN(len(texts))], argument(), argument(), argument()))
			if err != nil {
				require.NotContains(t, err.Error(), "internal error", "%s.%s", method.Handler, method.Name)
				require.NotContains(t, err.Error(), "can't find", "%s.%s", method.Handler, method.Name)
				require.NotContains(t, err.Error(), "connection is shut down", "%s.%s", method.Handler, method.Name)
			}
			answers++
		}
		require.Equal(t, rounds, answers)
		require.False(t, calls[method.Handler].Exited(), "%s.%s has ended the process", method.Handler, method.Name)
	}
	affirmed()
}
