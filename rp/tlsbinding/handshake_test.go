// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHandshake is everything that works: who attests, and in which model.
func TestHandshake(t *testing.T) {
	w := newWorld(t, 2)
	background := func(m *machine) *Credential { return m.credential() }
	passport := func(m *machine) *Credential { return m.credential(w.passport(m)) }
	for _, model := range []struct {
		name   string
		show   func(*machine) *Credential
		demand *Requirement
	}{
		{"background check", background, w.requirement()},
		{"passport", passport, w.requirement(w.byPassport)},
	} {
		for _, tt := range []struct {
			name           string
			client, server *Config
			attests        [2]bool // client, server
		}{
			{"server attests", w.client(nil, model.demand), w.server(model.show(w.machines[0]), nil), [2]bool{false, true}},
			{"client attests", w.client(model.show(w.machines[1]), nil), w.server(nil, model.demand), [2]bool{true, false}},
			{"mutual", w.client(model.show(w.machines[1]), model.demand), w.server(model.show(w.machines[0]), model.demand), [2]bool{true, true}},
		} {
			t.Run(model.name+", "+tt.name, func(t *testing.T) {
				e := connect(t, tt.client, tt.server)
				require.NoError(t, e.clientErr)
				require.NoError(t, e.serverErr)
				talk(t, e.client, e.server)
				ofServer, known := PeerOf(e.client)
				require.Equal(t, tt.attests[1], known)
				if known {
					require.True(t, w.machines[0].tik.PublicKey.Equal(ofServer.Key()))
					require.NotEmpty(t, ofServer.VerifiedChains)
					require.True(t, ofServer.Result.Verified())
				}
				ofClient, known := PeerOf(e.server)
				require.Equal(t, tt.attests[0], known)
				if known {
					require.True(t, w.machines[1].tik.PublicKey.Equal(ofClient.Key()))
				}
				require.NoError(t, e.client.Close())
			})
		}
	}
}
