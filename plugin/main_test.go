// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
)

func TestLogLevel(t *testing.T) {
	for name, want := range map[string]hclog.Level{
		"": hclog.Info, "debug": hclog.Debug, "WARN": hclog.Warn, "off": hclog.Off, "dbug": hclog.Info,
	} {
		assert.Equal(t, want, logLevel(name), name)
	}
}
