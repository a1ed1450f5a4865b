// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command atls provisions, operates and looks at attested TLS: run "atls help".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/veraison/attested-tls/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	code := cli.Main(ctx, cli.OSEnv())
	stop()
	os.Exit(code)
}
