// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestReader: the reader stands by itself, without the check of well-formedness
// before it.
func TestReader(t *testing.T) {
	text := func(r *reader) error { _, err := r.text("text"); return err }
	number := func(r *reader) error { _, err := r.uint("a number"); return err }
	signed := func(r *reader) error { _, err := r.integer("a number"); return err }
	tests := map[string]struct {
		data string
		read func(*reader) error
		want string
	}{
		"nothing":            {"", number, `the data ends too early`},
		"half a head":        {"19ff", number, `the data ends too early`},
		"long form, 1 byte":  {"1817", number, `23 is not in its shortest form`},
		"long form, 2 bytes": {"1900ff", number, `255 is not in its shortest form`},
		"long form, 4 bytes": {"1a0000ffff", number, `65535 is not in its shortest form`},
		"long form, 8 bytes": {"1b00000000ffffffff", number, `4294967295 is not in its shortest form`},
		"long form, length":  {"780161", text, `1 is not in its shortest form`},
		"reserved":           {"1c", number, `indefinite length or reserved value; expected a definite length`},
		"indefinite":         {"7f6161ff", text, `indefinite length or reserved value; expected a definite length`},
		"text too short":     {"6261", text, `the data ends too early`},
		"huge text":          {"7bffffffffffffffff", text, `the data ends too early`},
		"no text":            {"4161", text, `expected text, found a byte string (1 bytes)`},
		"a boolean":          {"f5", number, `expected a number, found a boolean`},
		"undefined":          {"f7", number, `expected a number, found undefined`},
		"a simple value":     {"e0", number, `expected a number, found a simple value`},
		"a long simple":      {"f8ff", number, `expected a number, found a simple value`},
		"a float":            {"fb3ff0000000000000", number, `expected a number, found a floating-point number`},
		"a map":              {"a0", signed, `expected a number, found a map`},
		"above int64":        {"1b8000000000000000", signed, `expected a number, found the number 9223372036854775808`},
		"below int64":        {"3b8000000000000000", signed, `expected a number, found a negative number`},
		"no number":          {"", signed, `the data ends too early`},
		"no tag":             {"", func(r *reader) error { return r.tag(37, "tag 37") }, `the data ends too early`},
		"bytes after":        {"0000", func(r *reader) error { _ = number(r); return r.end() }, `1 bytes after the end`},
		"huge array": {"9bffffffffffffffff", func(r *reader) error {
			return r.list("an array", func(int) error { return number(r) })
		}, `the data ends too early`},
		"huge map": {"bbffffffffffffffff", func(r *reader) error {
			_, err := r.fields("a map", []string{"a"}, func(int) error { return number(r) })
			return err
		}, `the data ends too early`},
		"text key": {"a1623f3f", func(r *reader) error {
			_, err := r.fields("a map", []string{"a"}, func(int) error { return number(r) })
			return err
		}, `unknown key "??"`},
		"half a text key": {"a1623f", func(r *reader) error {
			_, err := r.fields("a map", []string{"a"}, func(int) error { return number(r) })
			return err
		}, `the data ends too early`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			assert.EqualError(t, test.read(&reader{mustHex(test.data)}), test.want)
		})
	}
	assert.Equal(t, "nothing", reader{}.next())
	assert.Equal(t, "a malformed item (0x1c)", reader{mustHex("1c")}.next())
}

func TestReaderIntegers(t *testing.T) {
	for data, want := range map[string]int64{
		"00":                 0,
		"17":                 23,
		"1818":               24,
		"190100":             256,
		"1a00010000":         65536,
		"1b0000000100000000": 1 << 32,
		"1b7fffffffffffffff": 1<<63 - 1,
		"20":                 -1,
		"3b7fffffffffffffff": -1 << 63,
	} {
		r := reader{mustHex(data)}
		got, err := r.integer("a number")
		assert.NoError(t, err)
		assert.Equal(t, want, got)
		assert.NoError(t, r.end())
	}
}
