// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package testvectors_test

import (
	"testing"

	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/internal/pluginhost"
	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
)

// newHost does with the plugin what the VTS of Veraison v0.0.2501 does, over
// Veraison's own RPC with its JSON, short of processes and of signing.
func newHost(t *testing.T) *pluginhost.Before2603 {
	t.Helper()
	return pluginhost.NewBefore2603(
		pluginhost.Connect(t, handler.EvidenceHandlerRPC.GetServer(evidence.NewHandler(nil))),
		pluginhost.Connect(t, handler.StoreHandlerRPC.GetServer(evidence.NewStoreHandler(nil))),
		pluginhost.Connect(t, handler.EndorsementHandlerRPC.GetServer(endorsement.NewHandler(nil, nil))),
	)
}
