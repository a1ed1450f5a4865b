// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

// corimInfo is what a CoRIM endorses.
type corimInfo struct {
	ID        string       `json:"id"`
	Dialect   string       `json:"dialect"`
	Signature *signedInfo  `json:"signature,omitempty"`
	NotBefore *time.Time   `json:"not-before,omitempty"`
	NotAfter  *time.Time   `json:"not-after,omitempty"`
	Classes   []classInfo  `json:"classes,omitempty"`
	Entities  []entityInfo `json:"entities,omitempty"`
	Anchors   []anchorInfo `json:"trust-anchors"`
	States    []stateInfo  `json:"reference-states"`
}

type signedInfo struct {
	Algorithm string     `json:"algorithm"`
	KeyID     string     `json:"key-id,omitempty"`
	Signer    string     `json:"signer,omitempty"`
	SignerURI string     `json:"signer-uri,omitempty"`
	NotBefore *time.Time `json:"not-before,omitempty"`
	NotAfter  *time.Time `json:"not-after,omitempty"`
	Chain     []string   `json:"chain,omitempty"`
}

type classInfo struct {
	Class  string `json:"class"`
	Vendor string `json:"vendor,omitempty"`
	Model  string `json:"model,omitempty"`
}

type entityInfo struct {
	Name  string   `json:"name"`
	RegID string   `json:"regid,omitempty"`
	Roles []string `json:"roles"`
}

type anchorInfo struct {
	Class     string `json:"class"`
	KID       string `json:"kid"`
	Algorithm string `json:"algorithm"`
	PEM       string `json:"public-key"`
}

type stateInfo struct {
	Class  string    `json:"class,omitempty"`
	PCRs   string    `json:"pcrs"`
	Values []pcrInfo `json:"values"`
}

type pcrInfo struct {
	Bank   string `json:"bank"`
	Index  int    `json:"pcr"`
	Digest string `json:"digest"`
}

func newStateInfo(s endorsements.ReferenceState) stateInfo {
	info := stateInfo{Class: s.Class(), PCRs: s.String()}
	for _, v := range s.Values() {
		info.Values = append(info.Values, pcrInfo{tpmwire.HashName(v.Bank), v.Index, hex.EncodeToString(v.Digest)})
	}
	return info
}

func newCorimInfo(c *endorsements.Corim) *corimInfo {
	info := &corimInfo{
		ID:        c.ID,
		Dialect:   (&dialectFlag{c.Dialect}).String(),
		NotBefore: optionalTime(c.NotBefore),
		NotAfter:  optionalTime(c.NotAfter),
		Anchors:   []anchorInfo{}, // not null in JSON
		States:    []stateInfo{},
	}
	for _, d := range c.Classes {
		info.Classes = append(info.Classes, classInfo{d.Class, d.Vendor, d.Model})
	}
	for _, e := range c.Entities {
		entity := entityInfo{Name: e.Name, RegID: e.RegID}
		for _, r := range e.Roles {
			entity.Roles = append(entity.Roles, r.String())
		}
		info.Entities = append(info.Entities, entity)
	}
	for _, a := range c.Anchors {
		info.Anchors = append(info.Anchors, anchorInfo{a.Class, hex.EncodeToString(a.KID), keyType(a.Key), a.PEM})
	}
	for _, s := range c.States {
		info.States = append(info.States, newStateInfo(s))
	}
	return info
}

func (c *corimInfo) print(w io.Writer, _ paint) {
	t := newTable()
	t.row("id", c.ID)
	t.row("dialect", c.Dialect)
	if s := c.Signature; s != nil {
		t.row("signature", s.Algorithm+", not verified")
		for _, r := range [][2]string{{"key id", s.KeyID}, {"signer", s.Signer}, {"signer's URI", s.SignerURI}} {
			if r[1] != "" {
				t.row(r[0], r[1])
			}
		}
		for _, subject := range s.Chain {
			t.row("certificate", subject)
		}
		if s.NotBefore != nil {
			t.row("signature from", formatTime(*s.NotBefore))
		}
		if s.NotAfter != nil {
			t.row("signature until", formatTime(*s.NotAfter))
		}
	}
	if c.NotBefore != nil {
		t.row("valid from", formatTime(*c.NotBefore))
	}
	if c.NotAfter != nil {
		t.row("valid until", formatTime(*c.NotAfter))
	}
	for _, d := range c.Classes {
		t.rowf("class", "%s: vendor %q, model %q", d.Class, d.Vendor, d.Model)
	}
	for _, e := range c.Entities {
		t.rowf("entity", "%s %v %s", e.Name, e.Roles, e.RegID)
	}
	t.print(w)
	for _, a := range c.Anchors {
		fmt.Fprintln(w, "trust anchor")
		t := newTable()
		t.row("  class", a.Class)
		t.row("  kid", a.KID)
		t.row("  algorithm", a.Algorithm)
		t.print(w)
	}
	for _, s := range c.States {
		fmt.Fprintln(w, "reference state")
		s.print(w)
	}
}

func (s stateInfo) print(w io.Writer) {
	t := newTable()
	if s.Class != "" {
		t.row("  class", s.Class)
	}
	t.row("  PCRs", s.PCRs)
	for _, v := range s.Values {
		t.rowf("", "%s:%-2d %s", v.Bank, v.Index, v.Digest)
	}
	t.print(w)
}

func inspectCorim(data []byte) (*inspected, error) {
	c, err := endorsements.Decode(data)
	if errors.Is(err, endorsements.ErrSigned) {
		return inspectSigned(data)
	}
	if err != nil {
		return nil, fmt.Errorf("CoRIM: %w", err)
	}
	info := newCorimInfo(c)
	return &inspected{"CoRIM, unsigned", info, info.print}, nil
}

func inspectSigned(data []byte) (*inspected, error) {
	u, err := endorsements.ReadSigned(data)
	if err != nil {
		return nil, fmt.Errorf("signed CoRIM: %w", err)
	}
	c, err := u.Corim()
	if err != nil {
		return nil, fmt.Errorf("signed CoRIM: %w", err)
	}
	info := newCorimInfo(c)
	info.Signature = &signedInfo{
		Algorithm: u.AlgorithmName(),
		KeyID:     hex.EncodeToString(u.KeyID),
		Signer:    u.Signer.Name,
		SignerURI: u.Signer.URI,
		NotBefore: optionalTime(u.NotBefore),
		NotAfter:  optionalTime(u.NotAfter),
	}
	for _, der := range u.Chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("signed CoRIM: certificate: %w", err)
		}
		info.Signature.Chain = append(info.Signature.Chain, cert.Subject.String()+", issued by "+cert.Issuer.String())
	}
	return &inspected{"CoRIM, signed, not verified", info, info.print}, nil
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
