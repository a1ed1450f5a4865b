// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/endorsements"
)

// dialectFlag is --dialect.
type dialectFlag struct{ value endorsements.Dialect }

func (f *dialectFlag) register(cmd *cobra.Command) {
	f.value = endorsements.DialectV2
	cmd.Flags().Var(f, "dialect", "the CoRIM's dialect: v1 is for Veraison until v0.0.2602, v2-text from v0.0.2603 to\n"+
		"v0.0.2608, v2 for later ones")
	oneOf(cmd, "dialect", dialectNames()...)
}

// dialectNames are the values of --dialect, the oldest Veraison's first.
func dialectNames() []string { return []string{"v1", "v2-text", "v2"} }

// String, Set and Type make it a flag.
func (f *dialectFlag) String() string {
	switch f.value {
	case endorsements.DialectV1:
		return "v1"
	case endorsements.DialectV2Text:
		return "v2-text"
	}
	return "v2"
}

func (f *dialectFlag) Set(s string) error {
	switch s {
	case "v1":
		f.value = endorsements.DialectV1
	case "v2-text":
		f.value = endorsements.DialectV2Text
	case "v2":
		f.value = endorsements.DialectV2
	default:
		return fmt.Errorf("%q is no dialect: want v1, v2-text or v2", s)
	}
	return nil
}

func (f *dialectFlag) Type() string { return "v1|v2-text|v2" }

// contentID names a CoRIM by what it says, so that the same content has the
// same name: a UUID (RFC 9562, section 5.8) of a hash over its parts.
func contentID(c *endorsements.Corim, more ...string) string {
	h := sha256.New()
	writePart(h, "attested-tls CoRIM")
	for _, a := range c.Anchors {
		writePart(h, "anchor", a.Class, string(a.KID), a.PEM)
	}
	for _, s := range c.States {
		writePart(h, "state", s.Class())
		for _, v := range s.Values() {
			writePart(h, v.PCR.String(), string(v.Digest))
		}
	}
	writePart(h, "validity", formatTime(c.NotBefore), formatTime(c.NotAfter))
	writePart(h, more...)
	sum := h.Sum(nil)[:16]
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:])
}

// writePart hashes texts so that no two lists of them look the same.
func writePart(h hash.Hash, parts ...string) {
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
}
