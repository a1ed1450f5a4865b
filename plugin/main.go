// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command plugin is attested-tls.plugin, the scheme plugin that a Veraison
// v0.0.2501 VTS loads for TPM evidence. It is not meant to be run by hand: the
// VTS starts it once for each handler that it asks for.
package main

import (
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/plugin"

	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
)

func main() {
	// go-plugin's host reads JSON lines from stderr and logs them at their
	// own level. Which levels are shown is the host's configuration.
	log := hclog.New(&hclog.LoggerOptions{
		Name:       "attested-tls",
		Level:      hclog.Debug,
		Output:     os.Stderr,
		JSONFormat: true,
	})
	handler.RegisterEvidenceHandler(evidence.NewHandler(log.Named("evidence")))
	handler.RegisterStoreHandler(evidence.NewStoreHandler(log.Named("store")))
	handler.RegisterEndorsementHandler(endorsement.NewHandler(log.Named("endorsement"), nil))
	plugin.Serve()
}
