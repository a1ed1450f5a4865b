// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import "encoding/hex"

// canonicalClass returns a class-id in lower case. Only the form of RFC 9562,
// 4, with its hyphens, is a UUID here.
func canonicalClass(class string) (string, error) {
	id, ok := parseUUID(class)
	if !ok {
		return "", fault("expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found %s", quote(class))
	}
	return formatUUID(id), nil
}

func parseUUID(s string) (id [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	n, err := hex.Decode(id[:], []byte(digits))
	return id, err == nil && n == len(id)
}

func formatUUID(id [16]byte) string {
	b := make([]byte, 0, 36)
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return string(b)
}
