// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package testvectors

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// versionLine is the first line of every vector.
const versionLine = "attested-tls-vector: 1"

// The header keys, in the order in which Marshal writes them.
const (
	keyComment          = "comment"
	keySpec             = "spec"
	keyExpect           = "expect"
	keyHardware         = "hardware"
	keyInstanceIdentity = "instance-identity"
	keyExecutables      = "executables"
	keyStorageOpaque    = "storage-opaque"
	keyKeyAttestation   = "key-attestation"
	keyProblem          = "problem"
	keyCheck            = "check"
	keyError            = "error"
	keyNonce            = "nonce"
	keyAK               = "ak"
	keyCoRIM            = "corim"
	keyEvidence         = "evidence"
)

// noKey is the value of key-attestation when no key is attested.
const noKey = "none"

// often is how many lines a key has.
type often int

const (
	unknown often = iota
	never
	once
	onceOrMore
)

// occurrence says how often a key occurs with a verdict.
func occurrence(key string, v Verdict) often {
	only := func(belongs bool, o often) often {
		if !belongs {
			return never
		}
		return o
	}
	switch key {
	case keyComment, keySpec, keyExpect, keyNonce, keyAK, keyEvidence:
		return once
	case keyCoRIM:
		return onceOrMore
	case keyHardware, keyInstanceIdentity, keyExecutables, keyStorageOpaque, keyKeyAttestation:
		return only(v.Appraised(), once)
	case keyProblem: // there is one for each claim that does not affirm
		return only(v == Warning || v == Contraindicated, onceOrMore)
	case keyCheck:
		return only(v == BadEvidence, once)
	case keyError:
		return only(v == BadEvidence || v == BadEndorsement, once)
	default:
		return unknown
	}
}

// keys returns all keys in order.
func keys() []string {
	return []string{keyComment, keySpec, keyExpect,
		keyHardware, keyInstanceIdentity, keyExecutables, keyStorageOpaque, keyKeyAttestation, keyProblem,
		keyCheck, keyError, keyNonce, keyAK, keyCoRIM, keyEvidence}
}

// Parse reads the content of a vector's file. Everything is fatal that the
// format does not provide for: a vector that is not understood whole tests
// something else than its author meant.
func Parse(b []byte) (Vector, error) {
	h, err := readHeader(b)
	if err != nil {
		return Vector{}, err
	}
	v := Vector{
		Comment:  h.text(keyComment),
		Spec:     h.text(keySpec),
		Evidence: h.binary(keyEvidence),
		Nonce:    h.binary(keyNonce),
		AK:       h.binary(keyAK),
		Want: Outcome{
			Verdict:          Verdict(h.text(keyExpect)),
			Hardware:         h.claim(keyHardware),
			InstanceIdentity: h.claim(keyInstanceIdentity),
			Executables:      h.claim(keyExecutables),
			StorageOpaque:    h.claim(keyStorageOpaque),
			KeyAttestation:   h.attestedKey(),
			Check:            h.text(keyCheck),
			Error:            h.text(keyError),
		},
	}
	for _, l := range h.lines[keyCoRIM] {
		v.CoRIMs = append(v.CoRIMs, h.decode(l, keyCoRIM, base64.StdEncoding))
	}
	for _, l := range h.lines[keyProblem] {
		v.Want.Problems = append(v.Want.Problems, h.nonEmpty(l, keyProblem))
	}
	if h.err != nil {
		return Vector{}, h.err
	}
	return v, nil
}

// line is the value of a key and where it is.
type line struct {
	number int
	value  string
}

// header is a vector's lines by key. Its first failure sticks.
type header struct {
	lines map[string][]line
	err   error
}

// readHeader splits a file into its lines and checks that the right keys are
// there.
func readHeader(b []byte) (*header, error) {
	text, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return nil, errors.New("the last line does not end with a line feed")
	}
	h := &header{lines: make(map[string][]line)}
	for i, s := range strings.Split(text, "\n") {
		number := i + 1
		if err := checkLine(s, number); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if number == 1 || s[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(s, ":")
		if !ok {
			return nil, fmt.Errorf("line %d: is neither a key with a colon nor a comment", number)
		}
		if value != "" {
			if value, ok = strings.CutPrefix(value, " "); !ok || value != strings.Trim(value, " ") || value == "" {
				return nil, fmt.Errorf("line %d: the value of %.40q is not set off by one space", number, key)
			}
		}
		switch before := h.lines[key]; {
		case occurrence(key, "") == unknown:
			return nil, fmt.Errorf("line %d: unknown key %.40q", number, key)
		case len(before) > 0 && key != keyCoRIM && key != keyProblem:
			return nil, fmt.Errorf("line %d: key %q occurs again, first in line %d", number, key, before[0].number)
		}
		h.lines[key] = append(h.lines[key], line{number, value})
	}
	return h, h.checkKeys()
}

// checkLine checks a line as a whole.
func checkLine(s string, number int) error {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("column %d is not a printable ASCII character", i+1)
	}
	switch {
	case number == 1 && s != versionLine:
		return fmt.Errorf("is not %q", versionLine)
	case s == "":
		return errors.New("is empty")
	}
	return nil
}

// checkKeys checks that all keys that belong to the verdict are there, and no
// others.
func (h *header) checkKeys() error {
	expect := h.lines[keyExpect]
	if len(expect) == 0 {
		return fmt.Errorf("key %q is missing", keyExpect)
	}
	verdict := Verdict(expect[0].value)
	if !verdict.Appraised() && verdict != BadEvidence && verdict != BadEndorsement {
		return fmt.Errorf("line %d: unknown verdict %.40q", expect[0].number, verdict)
	}
	for _, key := range keys() {
		lines := h.lines[key]
		switch occurrence(key, verdict) {
		case never:
			if len(lines) > 0 {
				return fmt.Errorf("line %d: key %q does not belong to %s: %s", lines[0].number, key, keyExpect, verdict)
			}
		default:
			if len(lines) == 0 {
				return fmt.Errorf("key %q is missing", key)
			}
		}
	}
	return nil
}

func (h *header) fail(number int, format string, args ...any) {
	if h.err == nil {
		h.err = fmt.Errorf("line %d: %w", number, fmt.Errorf(format, args...))
	}
}

// text returns the text of a key that occurs once or not at all.
func (h *header) text(key string) string {
	if lines := h.lines[key]; len(lines) == 1 {
		return h.nonEmpty(lines[0], key)
	}
	return ""
}

func (h *header) nonEmpty(l line, key string) string {
	if l.value == "" {
		h.fail(l.number, "%s is empty", key)
	}
	return l.value
}

// binary returns the bytes of a key that occurs once.
func (h *header) binary(key string) []byte {
	return h.decode(h.lines[key][0], key, base64.StdEncoding)
}

func (h *header) decode(l line, key string, enc *base64.Encoding) []byte {
	b, err := enc.Strict().DecodeString(l.value)
	if err != nil {
		h.fail(l.number, "%s: %w", key, err)
	}
	return b
}

// claim returns the value of a trustworthiness claim that occurs once or not
// at all.
func (h *header) claim(key string) int8 {
	lines := h.lines[key]
	if len(lines) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(lines[0].value, 10, 8)
	if err != nil || strconv.FormatInt(n, 10) != lines[0].value {
		h.fail(lines[0].number, "%s is %.20q, want a number from -128 to 127", key, lines[0].value)
	}
	return int8(n)
}

// attestedKey returns the key as an EAR has it, in base64url without padding.
func (h *header) attestedKey() []byte {
	lines := h.lines[keyKeyAttestation]
	if len(lines) == 0 || lines[0].value == noKey {
		return nil
	}
	key := h.decode(lines[0], keyKeyAttestation, base64.RawURLEncoding)
	if len(key) == 0 {
		h.fail(lines[0].number, "%s is empty, want a key or %s", keyKeyAttestation, noKey)
	}
	return key
}

// Marshal writes the vector as Parse reads it. A vector that Parse would not
// read back is an error.
func (v Vector) Marshal() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(versionLine + "\n")
	for _, key := range keys() {
		if occurrence(key, v.Want.Verdict) == never {
			continue
		}
		for _, value := range v.values(key) {
			b.WriteString(key + ":")
			if value != "" {
				b.WriteString(" " + value)
			}
			b.WriteByte('\n')
		}
	}
	again, err := Parse(b.Bytes())
	if err == nil && !again.equal(v) {
		err = errors.New("it has more than belongs to its verdict")
	}
	if err != nil {
		return nil, fmt.Errorf("the vector cannot be written: %w", err)
	}
	return b.Bytes(), nil
}

// values returns the values that a key has.
func (v Vector) values(key string) []string {
	switch key {
	case keyComment:
		return []string{v.Comment}
	case keySpec:
		return []string{v.Spec}
	case keyExpect:
		return []string{string(v.Want.Verdict)}
	case keyHardware:
		return []string{strconv.Itoa(int(v.Want.Hardware))}
	case keyInstanceIdentity:
		return []string{strconv.Itoa(int(v.Want.InstanceIdentity))}
	case keyExecutables:
		return []string{strconv.Itoa(int(v.Want.Executables))}
	case keyStorageOpaque:
		return []string{strconv.Itoa(int(v.Want.StorageOpaque))}
	case keyKeyAttestation:
		if v.Want.KeyAttestation == nil {
			return []string{noKey}
		}
		return []string{base64.RawURLEncoding.EncodeToString(v.Want.KeyAttestation)}
	case keyProblem:
		return v.Want.Problems
	case keyCheck:
		return []string{v.Want.Check}
	case keyError:
		return []string{v.Want.Error}
	case keyNonce:
		return []string{base64.StdEncoding.EncodeToString(v.Nonce)}
	case keyAK:
		return []string{base64.StdEncoding.EncodeToString(v.AK)}
	case keyEvidence:
		return []string{base64.StdEncoding.EncodeToString(v.Evidence)}
	default:
		var values []string
		for _, c := range v.CoRIMs {
			values = append(values, base64.StdEncoding.EncodeToString(c))
		}
		return values
	}
}

// equal compares all but the names, which are not in the files.
func (v Vector) equal(w Vector) bool {
	return v.Comment == w.Comment && v.Spec == w.Spec &&
		bytes.Equal(v.Evidence, w.Evidence) && bytes.Equal(v.Nonce, w.Nonce) && bytes.Equal(v.AK, w.AK) &&
		slices.EqualFunc(v.CoRIMs, w.CoRIMs, bytes.Equal) && v.Want.Equal(w.Want)
}

// Equal reports whether two outcomes are the same.
func (o Outcome) Equal(p Outcome) bool {
	return o.Verdict == p.Verdict &&
		o.Hardware == p.Hardware && o.InstanceIdentity == p.InstanceIdentity &&
		o.Executables == p.Executables && o.StorageOpaque == p.StorageOpaque &&
		bytes.Equal(o.KeyAttestation, p.KeyAttestation) && slices.Equal(o.Problems, p.Problems) &&
		o.Check == p.Check && o.Error == p.Error
}
