// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package cli is the atls command: what a person or a script does to provision,
// operate and look at attested TLS.
//
// Main is the whole program; all that it knows of the world is in Env. A new
// command is a method of app that returns a cobra.Command, and a line in
// rootCommand. A command writes its result to app.out, which reaches standard
// output only if the command succeeds, writes files through outputFlags, which
// leave nothing behind on failure, and says what went wrong with an exitError,
// whose code is the program's (see "atls help exit-codes").
package cli

//go:generate go run ./docs ../../docs/cli
