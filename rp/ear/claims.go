// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/veraison/attested-tls/rp/internal/nonce"
	"github.com/veraison/attested-tls/rp/internal/strictjson"
)

// profiles are those that are read: Veraison's own, and those of
// draft-ietf-rats-ear from -01 to -04. Their claims differ in names alone.
var profiles = []string{
	"tag:github.com,2023:veraison/ear",
	"tag:ietf.org,2025-07:ear",
	"tag:ietf.org,2026:rats/ear#03",
	"tag:ietf.org,2026:rats/ear#04",
}

// The names of each claim, in the order in which they were introduced. A token
// has a claim under one of them, whichever its profile: deployed verifiers mix.
var (
	verifierIDNames = []string{"ear.verifier-id", "ear_verifier_id"}
	statusNames     = []string{"ear.status", "ear_status"}
	vectorNames     = []string{"ear.trustworthiness-vector", "ear_trustworthiness_vector"}
	policyNames     = []string{"ear.appraisal-policy-id", "ear.appraisal-policy-ids", "ear_appraisal_policy_id", "ear_appraisal_policy_ids"}
	keyNames        = []string{"ear.veraison.key-attestation", "ear_veraison_key_attestation"}
	evidenceNames   = []string{"ear.veraison.annotated-evidence", "ear_veraison_annotated_evidence", "ear_attester_claims"}
	remarksNames    = []string{"ear.veraison.policy-claims", "ear_veraison_policy_claims", "ear_verifier_claims"}
)

const maxSubmods = 64

// claims is a payload that was taken apart, before anything is expected of it.
type claims struct {
	AttestationResult
	notBefore time.Time
}

// decodeClaims reads the payload of a token whose signature holds.
func decodeClaims(payload []byte) (*claims, error) {
	m, err := strictjson.Object(payload)
	if err != nil {
		return nil, errorf(Malformed, "payload: %w", err)
	}
	// First: the meaning of everything else hangs on it.
	profile, _ := m["eat_profile"].(string)
	if !slices.Contains(profiles, profile) {
		return nil, errorf(Profile, "eat_profile is %.80q, read are %q", profile, profiles)
	}
	c := &claims{AttestationResult: AttestationResult{Profile: profile, Status: TierAffirming}}
	for _, read := range []func(map[string]any) error{c.readTimes, c.readNonce, c.readVerifier, c.readSubmods} {
		if err := read(m); err != nil {
			return nil, &Error{Check: Malformed, Err: err}
		}
	}
	return c, nil
}

// one returns the claim that has one of the names.
func one(m map[string]any, names []string) (v any, found bool, err error) {
	name := ""
	for _, n := range names {
		if got, ok := m[n]; ok {
			if found {
				return nil, false, fmt.Errorf("both %s and %s", name, n)
			}
			v, name, found = got, n, true
		}
	}
	return v, found, nil
}

// object returns the claim as an object, nil where there is none.
func object(m map[string]any, names []string) (map[string]any, error) {
	v, found, err := one(m, names)
	if err != nil || !found {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is not an object", names[0])
	}
	return o, nil
}

func (c *claims) readTimes(m map[string]any) error {
	for name, to := range map[string]*time.Time{"iat": &c.IssuedAt, "exp": &c.Expiry, "nbf": &c.notBefore} {
		v, ok := m[name]
		if !ok {
			continue
		}
		// Integers alone: RFC 9711, section 4.3.1, and draft-ietf-rats-ear,
		// section 3 (exp). The bound is the year 9999.
		number, _ := v.(json.Number)
		seconds, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || seconds <= 0 || seconds > 253402300799 {
			return fmt.Errorf("%s is not a time in whole seconds", name)
		}
		*to = time.Unix(seconds, 0)
	}
	if c.IssuedAt.IsZero() {
		return errors.New("iat is missing")
	}
	return nil
}

// readNonce reads eat_nonce: a string, or an array of one (RFC 9711, section
// 4.1). Which base64 it is in differs between verifiers.
func (c *claims) readNonce(m map[string]any) error {
	v, ok := m["eat_nonce"]
	if !ok {
		return nil
	}
	if list, ok := v.([]any); ok {
		if len(list) != 1 {
			return fmt.Errorf("eat_nonce has %d values, want one", len(list))
		}
		v = list[0]
	}
	text, ok := v.(string)
	if !ok {
		return errors.New("eat_nonce is not a string")
	}
	value, err := nonce.Decode(text)
	if err != nil {
		return fmt.Errorf("eat_nonce: %w", err)
	}
	c.Nonce = value
	return nil
}

func (c *claims) readVerifier(m map[string]any) error {
	o, err := object(m, verifierIDNames)
	if err != nil {
		return err
	}
	var okDeveloper, okBuild bool
	c.Verifier.Developer, okDeveloper = o["developer"].(string)
	c.Verifier.Build, okBuild = o["build"].(string)
	if !okDeveloper || !okBuild {
		return errors.New("ear.verifier-id does not name developer and build")
	}
	return nil
}

func (c *claims) readSubmods(m map[string]any) error {
	submods, _ := m["submods"].(map[string]any)
	if len(submods) == 0 || len(submods) > maxSubmods {
		return fmt.Errorf("submods has %d appraisals, want 1 to %d", len(submods), maxSubmods)
	}
	c.Submods = make(map[string]*Appraisal, len(submods))
	for _, name := range slices.Sorted(maps.Keys(submods)) { // so that errors are the same each time
		o, ok := submods[name].(map[string]any)
		if !ok {
			return fmt.Errorf("submods[%.40q] is not an object", name)
		}
		a, err := decodeAppraisal(o)
		if err != nil {
			return fmt.Errorf("submods[%.40q]: %w", name, err)
		}
		c.Submods[name] = a
		c.Status = worse(c.Status, a.Status)
	}
	// draft-ietf-rats-ear-03, section 3: an overall status is optional, and no
	// better than the worst of the submodules.
	v, found, err := one(m, statusNames)
	if err != nil || !found {
		return err
	}
	overall, err := readStatus(v)
	if err != nil {
		return err
	}
	c.Status = worse(c.Status, overall)
	return nil
}

func readStatus(v any) (Tier, error) {
	text, _ := v.(string)
	tier, ok := parseTier(text)
	if !ok {
		return TierNone, fmt.Errorf("ear.status %.40q is no tier", fmt.Sprint(v))
	}
	return tier, nil
}

func decodeAppraisal(m map[string]any) (*Appraisal, error) {
	status, found, err := one(m, statusNames)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New("ear.status is missing")
	}
	a := new(Appraisal)
	if a.Status, err = readStatus(status); err != nil {
		return nil, err
	}
	if err := a.readVector(m); err != nil {
		return nil, err
	}
	if err := a.readPolicyIDs(m); err != nil {
		return nil, err
	}
	if a.Evidence, err = object(m, evidenceNames); err != nil {
		return nil, err
	}
	if a.Remarks, err = object(m, remarksNames); err != nil {
		return nil, err
	}
	return a, a.readKey(m)
}

func (a *Appraisal) readVector(m map[string]any) error {
	o, err := object(m, vectorNames)
	if err != nil {
		return err
	}
	a.Vector = make(TrustVector, len(o))
	worst := TierNone
	for name, v := range o {
		number, _ := v.(json.Number)
		value, err := strconv.ParseInt(string(number), 10, 8)
		if err != nil {
			return fmt.Errorf("claim %.40q is not an integer from -128 to 127", name)
		}
		claim := Claim(value)
		if claim == 0 { // the same as not being there (draft-ietf-rats-ar4si, section 2.3.2)
			continue
		}
		a.Vector[Category(name)] = claim
		if tier := claim.Tier(); tier != TierNone {
			worst = max(worst, tier)
		}
	}
	// draft-ietf-rats-ear, section 3.1: the status is of no higher trust than
	// the worst claim. One that is contradicts itself.
	if worst != TierNone && a.Status != TierNone && a.Status < worst {
		return fmt.Errorf("ear.status is %v, the trustworthiness vector %v", a.Status, worst)
	}
	return nil
}

// readPolicyIDs reads one identifier, or a list since draft-ietf-rats-ear-03.
func (a *Appraisal) readPolicyIDs(m map[string]any) error {
	v, found, err := one(m, policyNames)
	if err != nil || !found {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, v := range list {
		id, ok := v.(string)
		if !ok {
			return errors.New("ear.appraisal-policy-id is not a string")
		}
		a.PolicyIDs = append(a.PolicyIDs, id)
	}
	return nil
}

// readKey reads the attested key: base64url of a DER SubjectPublicKeyInfo
// (draft-ietf-rats-ear, "Project Veraison Extensions").
func (a *Appraisal) readKey(m map[string]any) error {
	o, err := object(m, keyNames)
	if err != nil || o == nil {
		return err
	}
	text, ok := o["akpub"].(string)
	if !ok {
		return errors.New("the key attestation has no akpub")
	}
	der, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return fmt.Errorf("akpub: %w", err)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return fmt.Errorf("akpub: %w", err)
	}
	if a.AttestedKey, ok = key.(crypto.PublicKey); !ok || !attestable(key) {
		return fmt.Errorf("akpub: a key of type %T", key)
	}
	return nil
}

func attestable(key any) bool {
	switch key.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
