// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command plugin is attested-tls.plugin, the scheme plugin that a Veraison VTS
// loads for TPM evidence: one binary for v0.0.2501 up to v0.0.2602, which ask
// for three handlers, and for those since v0.0.2603, which ask for one. It is
// not meant to be run by hand: the VTS starts it once for each handler that it
// asks for.
//
// Its configuration is one small file, which docs/plugin-configuration.md
// describes. A wrong one ends the process before it serves anything.
package main

import (
	"os"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	"github.com/veraison/services/handler"
	"github.com/veraison/services/plugin"

	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
	"github.com/veraison/attested-tls/plugin/internal/config"
	"github.com/veraison/attested-tls/plugin/scheme"
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
	cfg, err := configure(log)
	if err != nil {
		// Serving less, or more, than the operator asked for would be found out
		// too late.
		log.Error("the plugin's configuration is wrong; nothing is served", "error", err)
		os.Exit(1)
	}
	// An appraisal leaves some garbage and nothing else. Collecting it at Go's
	// smallest heap of 4 MiB keeps the machine busier than the appraisals are
	// worth; at 32 MiB it does not. The operator's own GOGC goes first.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800)
	}
	handler.RegisterEvidenceHandler(evidence.NewHandler(log.Named("evidence")))
	handler.RegisterStoreHandler(evidence.NewStoreHandler(log.Named("store")))
	handler.RegisterEndorsementHandler(endorsement.NewHandlerWith(cfg, log.Named("endorsement"), nil))
	if err := scheme.NewHandlerWith(cfg, log.Named("scheme"), nil).Register(); err != nil {
		log.Error("cannot serve the scheme-handler", "error", err)
		os.Exit(1)
	}
	plugin.Serve()
}

// configure reads the configuration, and says which one it is.
func configure(log hclog.Logger) (config.Config, error) {
	path, err := config.Find(os.Getenv, os.Args[0], os.Executable)
	if err != nil {
		return config.Config{}, err
	}
	cfg, err := config.Load(path)
	if err != nil {
		return config.Config{}, err
	}
	if path == "" {
		log.Info("no configuration file: unsigned CoRIMs are accepted, signed ones are not")
	} else {
		log.Info("configured", "file", path, "accept-unsigned", cfg.AcceptUnsigned, "trusted-signers", len(cfg.Signers), "roots", cfg.Roots != nil)
	}
	return cfg, nil
}

// logLevel falls back to info: a typing error must not silence the plugin.
func logLevel(name string) hclog.Level {
	if level := hclog.LevelFromString(name); level != hclog.NoLevel {
		return level
	}
	return hclog.Info
}
