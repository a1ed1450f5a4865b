// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/veraison/attested-tls/rp/internal/nonce"
)

// DefaultSkew is how far the verifier's clock may be off where Expectations
// does not say.
const DefaultSkew = time.Minute

// Expectations is what a result has to be, apart from good. One of Nonce and
// MaxAge is needed: a result that is neither for a nonce of one's own nor young
// proves nothing about now.
type Expectations struct {
	// Nonce is the nonce of the session, 8 to 64 bytes. The result has to have
	// it, by its bytes.
	Nonce []byte
	// MaxAge is how long ago the result may have been issued. It is what makes
	// a passport, whose nonce somebody else chose, fresh.
	MaxAge time.Duration
	// NotBefore is when the result was asked for: an older one is another one.
	// Zero if that is not known.
	NotBefore time.Time
	// Verifier is who has to have made the appraisal; what is empty in it may
	// be anything.
	Verifier VerifierID
	// Skew is how far the verifier's clock may be off; zero means DefaultSkew.
	Skew time.Duration
	// Now is the time; zero means the clock's.
	Now time.Time
}

// Verify checks a token that one of the keys has to have signed. It returns a
// result if and only if everything holds. What is wrong with the token is an
// *Error; any other error is about the keys or the expectations.
//
// Where no key verifies the token the keys are refreshed, once.
func Verify(ctx context.Context, token string, keys KeySource, want Expectations) (*AttestationResult, error) {
	if err := want.check(keys); err != nil {
		return nil, err
	}
	u, err := parse(token)
	if err != nil {
		return nil, err
	}
	payload, err := u.verifyWith(ctx, keys)
	if err != nil {
		return nil, err
	}
	c, err := decodeClaims(payload)
	if err != nil {
		return nil, err
	}
	if err := c.meet(want); err != nil {
		return nil, err
	}
	r := c.AttestationResult
	r.Token, r.verified = token, true
	return &r, nil
}

func (want *Expectations) check(keys KeySource) error {
	switch {
	case keys == nil:
		return errors.New("verifying EAR: no source of verifier keys")
	case want.Nonce == nil && want.MaxAge <= 0:
		return errors.New("verifying EAR: neither a nonce nor a maximum age is expected")
	case want.Nonce != nil && !nonce.Fits(want.Nonce):
		return fmt.Errorf("verifying EAR: the expected nonce has %d bytes, want %d to %d", len(want.Nonce), nonce.Min, nonce.Max)
	case want.MaxAge < 0 || want.Skew < 0:
		return errors.New("verifying EAR: a duration is negative")
	}
	if want.Skew == 0 {
		want.Skew = DefaultSkew
	}
	if want.Now.IsZero() {
		want.Now = time.Now()
	}
	return nil
}

// verifyWith tries the keys that are known, and then newer ones if there are.
func (u *unverified) verifyWith(ctx context.Context, source KeySource) ([]byte, error) {
	keys, err := source.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting verifier keys: %w", err)
	}
	payload, err := u.verify(keys)
	var bad *Error
	if err == nil || !errors.As(err, &bad) || bad.Check == Malformed {
		return payload, err
	}
	newer, refreshErr := source.Refresh(ctx)
	if refreshErr != nil {
		return nil, fmt.Errorf("%w; getting newer verifier keys: %w", err, refreshErr)
	}
	if sameKeys(keys, newer) {
		return nil, err
	}
	return u.verify(newer)
}

func sameKeys(a, b []Key) bool { return slices.EqualFunc(a, b, Key.equal) }

// meet holds the claims of an authentic token against what is expected.
func (c *claims) meet(want Expectations) error {
	now, skew := want.Now, want.Skew
	switch {
	case want.Nonce != nil && c.Nonce == nil:
		return errorf(Nonce, "the result is for no nonce")
	case want.Nonce != nil && !bytes.Equal(c.Nonce, want.Nonce):
		return errorf(Nonce, "the result is for another nonce (eat_nonce %x, want %x)", c.Nonce, want.Nonce)
	case c.IssuedAt.After(now.Add(skew)):
		return errorf(Time, "issued at %s, now is %s", stamp(c.IssuedAt), stamp(now))
	// iat is in whole seconds.
	case !want.NotBefore.IsZero() && c.IssuedAt.Before(want.NotBefore.Truncate(time.Second).Add(-skew)):
		return errorf(Time, "issued at %s, asked for at %s", stamp(c.IssuedAt), stamp(want.NotBefore))
	case c.notBefore.After(now.Add(skew)): // RFC 7519, 4.1.5
		return errorf(Time, "valid from %s, now is %s", stamp(c.notBefore), stamp(now))
	case !c.Expiry.IsZero() && !now.Before(c.Expiry.Add(skew)): // RFC 7519, 4.1.4
		return errorf(Expired, "valid until %s, now is %s", stamp(c.Expiry), stamp(now))
	case want.MaxAge > 0 && now.Sub(c.IssuedAt) > want.MaxAge+skew:
		return errorf(Expired, "issued at %s, %s ago, accepted are %s", stamp(c.IssuedAt), now.Sub(c.IssuedAt).Round(time.Second), want.MaxAge)
	case want.Verifier.Developer != "" && c.Verifier.Developer != want.Verifier.Developer:
		return errorf(Verifier, "the developer is %.80q, want %q", c.Verifier.Developer, want.Verifier.Developer)
	case want.Verifier.Build != "" && c.Verifier.Build != want.Verifier.Build:
		return errorf(Verifier, "the build is %.80q, want %q", c.Verifier.Build, want.Verifier.Build)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
