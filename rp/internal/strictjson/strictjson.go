// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package strictjson reads JSON that others wrote, in one way only: no duplicate
// members (two readers of one token must not see different claims), names that
// are matched as they are written, no invalid UTF-8, no endless nesting.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest. An EAR needs some six.
const maxDepth = 32

// Object reads one JSON object (RFC 8259) and nothing behind it. Its values are
// those of encoding/json with UseNumber; what encoding/json refuses is refused.
func Object(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("invalid UTF-8")
	}
	r := reader{text: string(data)}
	r.space()
	if r.peek() != '{' {
		return nil, errors.New("not a JSON object")
	}
	v, err := r.object(0)
	if err != nil {
		return nil, err
	}
	if r.space(); r.at != len(r.text) {
		return nil, errors.New("something follows the JSON object")
	}
	return v, nil
}

type reader struct {
	text string
	at   int
}

// peek is the character that comes next, 0 at the end. A 0 in the text is as
// wrong as the end everywhere that peek is called.
func (r *reader) peek() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

func (r *reader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

// after drops white space and one character, which it returns.
func (r *reader) after() byte {
	r.space()
	c := r.peek()
	r.at++
	return c
}

func (r *reader) unexpected() error {
	if r.at >= len(r.text) {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("unexpected %q at byte %d", r.text[r.at], r.at)
}

func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	r.space()
	switch c := r.peek(); {
	case c == '{':
		return r.object(depth)
	case c == '[':
		return r.array(depth)
	case c == '"':
		return r.string()
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	}
	for name, v := range map[string]any{"true": true, "false": false, "null": nil} {
		if strings.HasPrefix(r.text[r.at:], name) {
			r.at += len(name)
			return v, nil
		}
	}
	return nil, r.unexpected()
}

func (r *reader) object(depth int) (map[string]any, error) {
	object := map[string]any{}
	r.at++ // {
	if r.space(); r.peek() == '}' {
		r.at++
		return object, nil
	}
	for {
		r.space()
		name, err := r.string()
		if err != nil {
			return nil, err
		}
		if _, double := object[name]; double {
			return nil, fmt.Errorf("duplicate member %.40q", name)
		}
		if r.after() != ':' {
			r.at--
			return nil, r.unexpected()
		}
		if object[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
		switch r.after() {
		case '}':
			return object, nil
		case ',':
			continue
		}
		r.at--
		return nil, r.unexpected()
	}
}

func (r *reader) array(depth int) ([]any, error) {
	list := []any{}
	r.at++ // [
	if r.space(); r.peek() == ']' {
		r.at++
		return list, nil
	}
	for {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch r.after() {
		case ']':
			return list, nil
		case ',':
			continue
		}
		r.at--
		return nil, r.unexpected()
	}
}

func (r *reader) string() (string, error) {
	if r.peek() != '"' {
		return "", r.unexpected()
	}
	start := r.at
	for r.at++; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[start+1 : r.at-1], nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return "", r.unexpected()
		}
	}
	return "", r.unexpected()
}

// escaped reads a string with escapes in it, which encoding/json resolves.
func (r *reader) escaped(start int) (string, error) {
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '\\':
			r.at++
		case '"':
			r.at++
			var s string
			err := json.Unmarshal([]byte(r.text[start:r.at]), &s)
			return s, err
		}
	}
	return "", r.unexpected()
}

// number reads a number, whose form encoding/json judges.
func (r *reader) number() (json.Number, error) {
	start := r.at
	for strings.IndexByte("+-.0123456789Ee", r.peek()) >= 0 {
		r.at++
	}
	number := r.text[start:r.at]
	if !json.Valid([]byte(number)) {
		return "", fmt.Errorf("%.40q is not a number", number)
	}
	return json.Number(number), nil
}
