// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOtherDialects(t *testing.T) {
	const (
		unsigned = `unsupported dialect: CoRIM in dialect v2 (Veraison since v0.0.2603); expected an unsigned CoRIM in dialect v1 (Veraison until v0.0.2602)`
		signed   = `unsupported dialect: signed CoRIM (COSE_Sign1) in dialect v2 (Veraison since v0.0.2603); expected an unsigned CoRIM in dialect v1 (Veraison until v0.0.2602)`
	)
	sign1 := l{[]byte{0xa1, 0x01, 0x26}, m{}, []byte{0xa0}, make([]byte, 64)}
	tests := map[string]struct {
		doc    any
		signed bool
		want   string
	}{
		"unsigned":             {tag(501, m{}), false, unsigned},
		"older tag":            {tag(500, tag(501, m{})), false, unsigned},
		"signed":               {tag(18, sign1), true, signed},
		"signed, no tag":       {sign1, true, signed},
		"signed, older tags":   {tag(500, tag(502, tag(18, sign1))), true, signed},
		"no tag, profile":      {m{0: "id", 3: tag(32, Profile), 1: l{[]byte{}}}, false, "profile: " + unsigned},
		"no tag, CoMID":        {m{0: "id", 1: l{tag(506, []byte{0xa0})}, 3: Profile}, false, "tags[0]: " + unsigned},
		"unsigned, other item": {tag(501, 7), false, unsigned},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Decode(encodeAny(t, test.doc))
			assert.Nil(t, c)
			require.EqualError(t, err, test.want)
			var unsupported *UnsupportedDialectError
			require.ErrorAs(t, err, &unsupported)
			assert.Equal(t, DialectV2, unsupported.Dialect)
			assert.Equal(t, test.signed, unsupported.Signed)
		})
	}
}

func TestDialectString(t *testing.T) {
	assert.Equal(t, "v1 (Veraison until v0.0.2602)", DialectV1.String())
	assert.Equal(t, "v2 (Veraison since v0.0.2603)", DialectV2.String())
	assert.Equal(t, "Dialect(0)", Dialect(0).String())
}
