// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/nonce"
)

// Config has what a verifier can be told beyond its endorsements. The zero
// value is fit for use.
type Config struct {
	// Key signs the results; nil means one that is made for this verifier.
	// ECDSA on P-256, P-384 or P-521.
	Key *ecdsa.PrivateKey
	// ID is whose appraisals the results say they are. Where it is empty they
	// name this package.
	ID ear.VerifierID
	// SessionTTL is how long evidence may take; zero means Veraison's 150
	// seconds.
	SessionTTL time.Duration
	// MaxSessions bounds the sessions that are open at a time; zero means 4096.
	MaxSessions int
}

// Verifier is a verifier in this process. It may be used by several goroutines.
type Verifier struct {
	cfg    Config
	key    ear.Key
	corims []*endorsements.Corim

	mu    sync.Mutex
	known *endorsements.Set
	until time.Time // when one of known's CoRIMs expires; zero if none does
	// open are the sessions that hold one of the MaxSessions places.
	open map[*session]struct{}
}

var _ rp.Verifier = (*Verifier)(nil)

// New makes a verifier that knows what the CoRIMs endorse. One that is not valid
// now is an error. One that expires later counts no more from then on.
func New(corims []*endorsements.Corim, cfg Config) (*Verifier, error) {
	switch {
	case len(corims) == 0:
		return nil, errors.New("embedded verifier: no endorsements are given")
	case cfg.SessionTTL < 0 || cfg.MaxSessions < 0:
		return nil, errors.New("embedded verifier: a limit is negative")
	}
	if cfg.SessionTTL == 0 {
		cfg.SessionTTL = 150 * time.Second
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = 4096
	}
	if cfg.ID == (ear.VerifierID{}) {
		cfg.ID = ear.VerifierID{Developer: "Veraison Project", Build: "attested-tls embedded"}
	}
	if cfg.Key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("embedded verifier: making a key: %w", err)
		}
		cfg.Key = key
	}
	public, err := ear.NewKey(&cfg.Key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("embedded verifier: %w", err)
	}
	v := &Verifier{cfg: cfg, key: public, corims: corims, open: map[*session]struct{}{}}
	now := time.Now()
	for i, c := range corims {
		if err := c.CheckValidity(now); err != nil {
			return nil, fmt.Errorf("embedded verifier: CoRIM %d (%q): %w", i, c.ID, err)
		}
	}
	if err := v.load(now); err != nil {
		return nil, fmt.Errorf("embedded verifier: %w", err)
	}
	return v, nil
}

// LoadFiles reads CoRIM files.
func LoadFiles(paths ...string) ([]*endorsements.Corim, error) {
	var corims []*endorsements.Corim
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading CoRIM: %w", err)
		}
		c, err := endorsements.Decode(data)
		if err != nil {
			return nil, fmt.Errorf("reading CoRIM %s: %w", path, err)
		}
		corims = append(corims, c)
	}
	return corims, nil
}

// Key is the public key that verifies the results.
func (v *Verifier) Key() ear.Key { return v.key }

// load takes up the CoRIMs that are valid.
func (v *Verifier) load(now time.Time) error {
	var valid []*endorsements.Corim
	var until time.Time
	for _, c := range v.corims {
		if c.CheckValidity(now) != nil {
			continue
		}
		valid = append(valid, c)
		if !c.NotAfter.IsZero() && (until.IsZero() || c.NotAfter.Before(until)) {
			until = c.NotAfter
		}
	}
	known, err := endorsements.NewSet(valid...)
	if err != nil {
		return err
	}
	v.known, v.until = known, until
	return nil
}

// endorsed is what is known now.
func (v *Verifier) endorsed() (*endorsements.Set, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now := time.Now(); !v.until.IsZero() && now.After(v.until) {
		if err := v.load(now); err != nil {
			return nil, fmt.Errorf("embedded verifier: %w", err)
		}
	}
	return v.known, nil
}

// NewSession opens a session. See rp.Verifier. When MaxSessions are open it is
// refused with an *rp.ProblemError of status 503.
func (v *Verifier) NewSession(ctx context.Context, own []byte) (rp.Session, error) {
	const operation = "opening session"
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if own != nil && !nonce.Fits(own) {
		return nil, fmt.Errorf("%s: a nonce of %d bytes, want %d to %d", operation, len(own), nonce.Min, nonce.Max)
	}
	s := &session{v: v, opened: time.Now()}
	s.expiry = s.opened.Add(v.cfg.SessionTTL)
	if own == nil {
		s.nonce = make([]byte, rp.NonceSize)
		rand.Read(s.nonce) // never fails, since Go 1.24
	} else {
		s.nonce = append([]byte(nil), own...)
	}
	if !v.admit(s) {
		return nil, &rp.ProblemError{Operation: operation, Status: 503, Title: "Service Unavailable", Detail: "too many open sessions"}
	}
	return s, nil
}

// admit gives a session a place, that of an expired one if need be.
func (v *Verifier) admit(s *session) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.open) >= v.cfg.MaxSessions {
		for old := range v.open {
			if !s.opened.Before(old.expiry) {
				delete(v.open, old)
			}
		}
	}
	if len(v.open) >= v.cfg.MaxSessions {
		return false
	}
	v.open[s] = struct{}{}
	return true
}

func (v *Verifier) release(s *session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.open, s)
}

// session is a session of an embedded verifier.
type session struct {
	v              *Verifier
	nonce          []byte
	opened, expiry time.Time
	used           atomic.Bool
}

var _ rp.Session = (*session)(nil)

func (s *session) Nonce() []byte     { return s.nonce }
func (s *session) Expiry() time.Time { return s.expiry }

func (s *session) Accept() []string { return []string{bundle.MediaType} }

// Close gives the session up.
func (s *session) Close() error {
	if !s.used.Swap(true) {
		s.v.release(s)
	}
	return nil
}

// Appraise appraises evidence. See rp.Session.
func (s *session) Appraise(ctx context.Context, e rp.Evidence) (*rp.AttestationResult, error) {
	const operation = "submitting evidence"
	if len(e.Data) == 0 {
		return nil, fmt.Errorf("%s: there is no evidence", operation)
	}
	if s.used.Swap(true) {
		return nil, fmt.Errorf("%s: %w", operation, rp.ErrSessionUsed)
	}
	defer s.v.release(s)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if !time.Now().Before(s.expiry) {
		return nil, fmt.Errorf("%s: %w", operation, rp.ErrSessionExpired)
	}
	evidence, err := unwrap(operation, e)
	if err != nil {
		return nil, err
	}
	token, err := s.v.appraise(evidence, s.nonce)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	// Verified like any other: there is one way to a result.
	return ear.Verify(ctx, token, ear.Pin(s.v.key), ear.Expectations{Nonce: s.nonce, NotBefore: s.opened, Verifier: s.v.cfg.ID})
}
