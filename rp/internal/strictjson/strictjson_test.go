// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package strictjson_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp/internal/strictjson"
)

var accepted = []string{
	`{}`, ` { } `, `{"a":1}`, `{"a":-1.5e+7,"b":[],"c":[1,"x",null,true,false,{}],"d":{"e":{"f":"g"}}}`,
	"\t{\r\n\"a\" : [ 1 , 2 ] , \"\" : \"\\u00e9\\n\\\"\\\\\" }\n", `{"a":"\ud83d\ude00","A":"é"}`, `{"n":12345678901234567890}`,
}

var refused = []string{
	``, ` `, `null`, `[]`, `1`, `"x"`, `{`, `{}{}`, `{} x`, `{"a":1,}`, `{"a":1,"a":1}`, `{"a":1,"\u0061":1}`,
	`{"a":{"b":1,"b":2}}`, `{a:1}`, `{"a":01}`, `{"a":"` + "\n" + `"}`, "{\"a\":\"\xff\"}", `{"a":NaN}`,
	`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "\ufeff{}",
}

func TestObject(t *testing.T) {
	for _, text := range accepted {
		got, err := strictjson.Object([]byte(text))
		require.NoError(t, err, text)
		assert.Equal(t, lenient(t, []byte(text)), any(got), text)
	}
	for _, text := range refused {
		got, err := strictjson.Object([]byte(text))
		assert.Error(t, err, text)
		assert.Nil(t, got, text)
	}
}

// lenient is what encoding/json makes of it.
func lenient(t testing.TB, data []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}

// What is accepted is what encoding/json reads, and nothing is lost.
func FuzzObject(f *testing.F) {
	for _, text := range append(accepted, refused...) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := strictjson.Object(data)
		if err != nil {
			require.Nil(t, got)
			return
		}
		require.Equal(t, lenient(t, data), any(got))
	})
}
