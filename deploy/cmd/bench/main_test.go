// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

// What it measures is tested where its inputs are made, in internal/bench.
func TestRefusesInputs(t *testing.T) {
	for input, want := range map[string]string{
		"":               "reading inputs: EOF",
		"{}":             "decoding the CoRIM: empty data",
		`{"corim":"oA"}`: "reading inputs: illegal base64",
	} {
		var out bytes.Buffer
		err := run(strings.NewReader(input), &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", input, err, want)
		}
		if out.Len() > 0 {
			t.Errorf("%q: answered %q", input, out.String())
		}
	}
}
