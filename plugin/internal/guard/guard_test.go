// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"

	"github.com/veraison/attested-tls/plugin/internal/guard"
)

func call(log hclog.Logger, f func() error) (err error) {
	defer guard.Recover(log, "Call", &err)
	return f()
}

func TestRecover(t *testing.T) {
	var text bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &text})
	assert.NoError(t, call(log, func() error { return nil }))
	own := errors.New("own")
	assert.Equal(t, own, call(log, func() error { return own }))
	assert.Empty(t, text.String())

	var nilMap map[string]int
	err := call(log, func() error { nilMap["evidence"] = 1; return nil })
	assert.EqualError(t, err, "Call: internal error, see the plugin's log")
	assert.Contains(t, text.String(), "a plugin call panicked")
	assert.Contains(t, text.String(), "guard_test.go")
}
