// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	veraisonear "github.com/veraison/ear"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
)

// resultInfo is what there is to say of an attestation result.
type resultInfo struct {
	// Verified says that the signature was checked. Only then is the rest the
	// verifier's word.
	Verified bool                  `json:"verified"`
	Status   string                `json:"status"`
	Verifier map[string]string     `json:"verifier"`
	Profile  string                `json:"profile"`
	IssuedAt time.Time             `json:"issued-at"`
	Expiry   *time.Time            `json:"expiry,omitempty"`
	Nonce    string                `json:"nonce,omitempty"`
	Submods  map[string]submodInfo `json:"submods"`
	// Token is the result as it came.
	Token string `json:"token,omitempty"`
}

type submodInfo struct {
	Status      string               `json:"status"`
	Vector      map[string]claimInfo `json:"trust-vector"`
	Problem     string               `json:"problem,omitempty"`
	Policies    []string             `json:"policies,omitempty"`
	AttestedKey *attestedKey         `json:"attested-key,omitempty"`
	Evidence    map[string]any       `json:"evidence,omitempty"`
}

type attestedKey struct {
	Algorithm   string `json:"algorithm"`
	Fingerprint string `json:"fingerprint"`
	PEM         string `json:"public-key"`
}

type claimInfo struct {
	Value   int    `json:"value"`
	Tier    string `json:"tier"`
	Meaning string `json:"meaning"`
}

// categories is the trustworthiness vector in the order of the specification.
func categories() []ear.Category {
	return []ear.Category{ear.InstanceIdentity, ear.Configuration, ear.Executables, ear.FileSystem,
		ear.Hardware, ear.RuntimeOpaque, ear.StorageOpaque, ear.SourcedData}
}

// claimMeaning says what a claim means in its category, in the words of
// Veraison's ear package.
func claimMeaning(category ear.Category, claim int) string {
	var v veraisonear.TrustVector
	v.SetAll(veraisonear.TrustClaim(claim))
	i := slices.Index(categories(), category)
	lines := strings.Split(v.Report(true, false), "\n")
	if i < 0 || i >= len(lines) {
		return ""
	}
	_, meaning, _ := strings.Cut(lines[i], ": ")
	return meaning
}

func newResultInfo(r *rp.AttestationResult) (*resultInfo, error) {
	info := &resultInfo{
		Verified: r.Verified(),
		Status:   r.Status.String(),
		Verifier: map[string]string{"developer": r.Verifier.Developer, "build": r.Verifier.Build},
		Profile:  r.Profile,
		IssuedAt: r.IssuedAt.UTC(),
		Nonce:    hex.EncodeToString(r.Nonce),
		Submods:  make(map[string]submodInfo, len(r.Submods)),
		Token:    r.Token,
	}
	if !r.Expiry.IsZero() {
		expiry := r.Expiry.UTC()
		info.Expiry = &expiry
	}
	for name, s := range r.Submods {
		sub := submodInfo{
			Status:   s.Status.String(),
			Vector:   make(map[string]claimInfo, len(s.Vector)),
			Problem:  s.Problem(),
			Policies: s.PolicyIDs,
			Evidence: s.Evidence,
		}
		for category, claim := range s.Vector {
			sub.Vector[string(category)] = claimInfo{int(claim), claim.Tier().String(), claimMeaning(category, int(claim))}
		}
		if s.AttestedKey != nil {
			der, err := x509.MarshalPKIXPublicKey(s.AttestedKey)
			if err != nil {
				return nil, fmt.Errorf("attested key: %w", err)
			}
			key, err := publicKeyInfo("", s.AttestedKey)
			if err != nil {
				return nil, err
			}
			sub.AttestedKey = &attestedKey{key.Algorithm, fingerprint(der), key.PEM}
		}
		info.Submods[name] = sub
	}
	return info, nil
}

// fingerprint names a DER public key by its SHA-256.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "SHA256:" + hex.EncodeToString(sum[:])
}

func (p paint) tier(tier, text string) string {
	switch tier {
	case ear.TierAffirming.String():
		return p.good(text)
	case ear.TierWarning.String():
		return p.warn(text)
	}
	return p.bad(text)
}

// print writes the result for a person.
func (r *resultInfo) print(w io.Writer, p paint) {
	t := newTable()
	t.row("status", p.tier(r.Status, strings.ToUpper(r.Status)))
	if !r.Verified {
		t.row("verified", p.bad("no: anybody may have written this"))
	}
	t.row("verifier", strings.Trim(r.Verifier["developer"]+", "+r.Verifier["build"], ", "))
	t.row("issued", formatTime(r.IssuedAt))
	if r.Expiry != nil {
		t.row("expires", formatTime(*r.Expiry))
	}
	if r.Nonce != "" {
		t.row("nonce", r.Nonce)
	}
	t.print(w)
	for _, name := range slices.Sorted(maps.Keys(r.Submods)) {
		s := r.Submods[name]
		fmt.Fprintf(w, "\n%s: %s\n", name, p.tier(s.Status, s.Status))
		s.print(w, p)
	}
}

func (s submodInfo) print(w io.Writer, p paint) {
	t := newTable()
	for _, c := range categories() {
		if claim, ok := s.Vector[string(c)]; ok {
			t.row("  "+string(c), fmt.Sprintf("%s %2d  %s", p.tier(claim.Tier, fmt.Sprintf("%-15s", claim.Tier)), claim.Value, claim.Meaning))
		}
	}
	if s.Problem != "" {
		t.row("  problem", s.Problem)
	}
	if s.AttestedKey != nil {
		t.row("  attested key", s.AttestedKey.Algorithm+" "+s.AttestedKey.Fingerprint)
	}
	for _, name := range []string{"kid", "pcrs", "pcr-digest", "signature", "key-type", "key-scheme", "key-attributes", "firmware-version", "reset-count", "restart-count"} {
		v, ok := s.Evidence[name]
		if !ok {
			continue
		}
		if name == "kid" {
			// As every command takes it.
			if text, ok := v.(string); ok {
				if kid, err := parseBase64(text); err == nil {
					v = hex.EncodeToString(kid)
				}
			}
		}
		t.rowf("  "+name, "%v", v)
	}
	t.print(w)
}

// show prints a result on standard output or, when it is refused, where the
// message about that goes.
func (a *app) showResult(r *rp.AttestationResult, asJSON, refused bool) error {
	info, err := newResultInfo(r)
	if err != nil {
		return err
	}
	var w io.Writer = &a.out
	tty := a.env.StdoutTTY
	if refused {
		w, tty = a.env.Stderr, a.env.StderrTTY
	}
	if asJSON {
		data, err := marshalJSON(info)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	info.print(w, a.colours(tty))
	return nil
}
