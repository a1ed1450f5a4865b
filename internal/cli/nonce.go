// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// The sizes of a nonce in bytes, as Veraison takes them.
const (
	minNonce = 8
	maxNonce = 64
)

const nonceUsage = "the nonce, 8 to 64 bytes: hexadecimal digits, base64, or @FILE for a file's bytes;\n" +
	"hex: or base64: before it says which"

// parseNonce reads a nonce. What can be read as hexadecimal is.
func (a *app) parseNonce(s string) ([]byte, error) {
	var nonce []byte
	var err error
	if path, ok := strings.CutPrefix(s, "@"); ok {
		if nonce, err = a.readFile(path); err != nil {
			return nil, err
		}
		if len(nonce) < minNonce || len(nonce) > maxNonce {
			return nil, inputErrorf("%s: a nonce of %d bytes, want %d to %d", path, len(nonce), minNonce, maxNonce)
		}
		return nonce, nil
	}
	if digits, ok := strings.CutPrefix(s, "hex:"); ok {
		nonce, err = hex.DecodeString(digits)
	} else if text, ok := strings.CutPrefix(s, "base64:"); ok {
		nonce, err = parseBase64(text)
	} else if nonce, err = hex.DecodeString(s); err != nil {
		nonce, err = parseBase64(s)
	}
	if err != nil {
		return nil, usageErrorf("--nonce: it is neither hexadecimal nor base64").withHint("--nonce @FILE takes the bytes of a file")
	}
	if len(nonce) < minNonce || len(nonce) > maxNonce {
		return nil, usageErrorf("--nonce: it has %d bytes, want %d to %d", len(nonce), minNonce, maxNonce)
	}
	return nonce, nil
}

// parseBase64 reads both alphabets, with and without padding.
func parseBase64(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	return base64.RawStdEncoding.Strict().DecodeString(s)
}
