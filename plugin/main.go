// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command plugin is attested-tls.plugin, the scheme plugin that a Veraison
// v0.0.2501 VTS loads for TPM evidence. It is not meant to be run by hand: the
// VTS starts it once for each handler that it asks for.
package main

import (
	"os"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/plugin"

	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
)

// logEnv names the environment variable that sets the plugin's log level: trace,
// debug, info (the default), warn, error or off. The VTS hands its environment
// on.
const logEnv = "ATTESTED_TLS_PLUGIN_LOG"

func main() {
	// go-plugin's host reads JSON lines from stderr and logs them at their
	// own level. It parses every line before it drops one, so what is not
	// wanted is better not written.
	log := hclog.New(&hclog.LoggerOptions{
		Name:       "attested-tls",
		Level:      logLevel(os.Getenv(logEnv)),
		Output:     os.Stderr,
		JSONFormat: true,
	})
	// An appraisal leaves some garbage and nothing else. Collecting it at Go's
	// smallest heap of 4 MiB keeps the machine busier than the appraisals are
	// worth; at 32 MiB it does not. The operator's own GOGC goes first.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800)
	}
	handler.RegisterEvidenceHandler(evidence.NewHandler(log.Named("evidence")))
	handler.RegisterStoreHandler(evidence.NewStoreHandler(log.Named("store")))
	handler.RegisterEndorsementHandler(endorsement.NewHandler(log.Named("endorsement"), nil))
	plugin.Serve()
}

// logLevel falls back to info: a typing error must not silence the plugin.
func logLevel(name string) hclog.Level {
	if level := hclog.LevelFromString(name); level != hclog.NoLevel {
		return level
	}
	return hclog.Info
}
