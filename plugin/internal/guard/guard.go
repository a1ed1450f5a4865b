// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package guard keeps a plugin process alive. Nothing restarts a plugin that
// died, so a panic is an outage for every device. No input is known to cause
// one; this is the second line.
package guard

import (
	"fmt"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
)

// Recover turns a panic of the call that defers it into an error, and logs
// where it came from. The panic's value is not repeated to the caller: it may
// hold what the evidence says.
func Recover(log hclog.Logger, call string, err *error) {
	if v := recover(); v != nil {
		log.Error("a plugin call panicked: please report this", "call", call, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		*err = fmt.Errorf("%s: internal error, see the plugin's log", call)
	}
}
