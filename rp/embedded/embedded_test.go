// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/internal/rptest"
	"github.com/veraison/attested-tls/rp/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endorse is what the owner of a machine endorses.
func endorse(t testing.TB, m *evidencetest.TPM) *endorsements.Corim {
	t.Helper()
	const class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	pem, err := endorsements.MarshalKeyPEM(m.AK.Public())
	require.NoError(t, err)
	anchor, err := endorsements.NewTrustAnchor(class, m.KID, pem)
	require.NoError(t, err)
	var values []endorsements.PCRValue
	for pcr, digest := range m.PCRs {
		bank, err := pcr.Alg.Hash()
		require.NoError(t, err)
		values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: pcr.Index}, Digest: digest})
	}
	state, err := endorsements.NewReferenceState(class, values)
	require.NoError(t, err)
	return &endorsements.Corim{ID: "test", Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state}}
}

func verifier(t testing.TB, m *evidencetest.TPM, cfg embedded.Config) *embedded.Verifier {
	t.Helper()
	v, err := embedded.New([]*endorsements.Corim{endorse(t, m)}, cfg)
	require.NoError(t, err)
	return v
}

// attest answers a session.
func attest(t testing.TB, m *evidencetest.TPM, s rp.Session) rp.Evidence {
	t.Helper()
	m.Nonce = s.Nonce()
	return rp.Evidence{MediaType: bundle.MediaType, Data: m.Bundle(t)}
}

func open(t testing.TB, v rp.Verifier, nonce []byte) rp.Session {
	t.Helper()
	s, err := v.NewSession(t.Context(), nonce)
	require.NoError(t, err)
	return s
}

func TestEmbedded(t *testing.T) {
	m := evidencetest.New(t)
	v := verifier(t, m, embedded.Config{})
	for _, nonce := range [][]byte{nil, []byte("12345678"), make([]byte, 64)} {
		s := open(t, v, nonce)
		if nonce == nil {
			require.Len(t, s.Nonce(), rp.NonceSize)
		} else {
			require.Equal(t, nonce, s.Nonce())
		}
		require.Equal(t, []string{bundle.MediaType}, s.Accept())
		e := attest(t, m, s)
		r, err := rp.Appraise(t.Context(), s, e, policy.Affirming(policy.TPM.AttestedKey(), policy.TPM.Instances(m.KID)))
		require.NoError(t, err)
		assert.Equal(t, s.Nonce(), r.Nonce)

		// A result that leaves the process verifies elsewhere.
		r, err = ear.Verify(t.Context(), r.Token, ear.Pin(v.Key()), ear.Expectations{MaxAge: time.Minute, Verifier: r.Verifier})
		require.NoError(t, err)
		assert.Equal(t, ear.TierAffirming, r.Status)

		_, err = s.Appraise(t.Context(), e)
		require.ErrorIs(t, err, rp.ErrSessionUsed)
		require.NoError(t, s.Close())
	}
}

func TestKeys(t *testing.T) {
	m := evidencetest.New(t)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		v := verifier(t, m, embedded.Config{Key: key, ID: ear.VerifierID{Developer: "me", Build: "1"}})
		s := open(t, v, nil)
		r, err := s.Appraise(t.Context(), attest(t, m, s))
		require.NoError(t, err)
		assert.Equal(t, ear.VerifierID{Developer: "me", Build: "1"}, r.Verifier)
		assert.True(t, key.PublicKey.Equal(v.Key().Public()))
	}
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	_, err = embedded.New([]*endorsements.Corim{endorse(t, m)}, embedded.Config{Key: key})
	require.Error(t, err)
}

// As a CMW, and as what a verifier does not take.
func TestMediaTypes(t *testing.T) {
	m := evidencetest.New(t)
	v := verifier(t, m, embedded.Config{})
	for mediaType, wrap := range map[string]func([]byte) ([]byte, error){
		bundle.MediaTypeCMWCBOR: bundle.WrapCBOR, bundle.MediaTypeCMWJSON: bundle.WrapJSON,
		"application/vnd.veraison.cmw+cbor": bundle.WrapCBOR,
	} {
		s := open(t, v, nil)
		e := attest(t, m, s)
		data, err := wrap(e.Data)
		require.NoError(t, err)
		_, err = rp.Appraise(t.Context(), s, rp.Evidence{MediaType: mediaType, Data: data}, policy.Affirming())
		require.NoError(t, err, mediaType)
	}
	for mediaType, want := range map[string]int{"application/eat+cwt": 415, bundle.MediaTypeCMWCBOR: 400} {
		r, err := open(t, v, nil).Appraise(t.Context(), rp.Evidence{MediaType: mediaType, Data: []byte("x")})
		require.Nil(t, r)
		var problem *rp.ProblemError
		require.ErrorAs(t, err, &problem)
		assert.Equal(t, want, problem.Status)
	}
	_, err := open(t, v, nil).Appraise(t.Context(), rp.Evidence{Data: []byte("x")})
	require.Error(t, err)
	_, err = open(t, v, nil).Appraise(t.Context(), rp.Evidence{MediaType: bundle.MediaType})
	require.Error(t, err)
}

func TestSessions(t *testing.T) {
	m := evidencetest.New(t)
	t.Run("expired", func(t *testing.T) {
		v := verifier(t, m, embedded.Config{SessionTTL: time.Millisecond})
		s := open(t, v, nil)
		e := attest(t, m, s)
		time.Sleep(time.Until(s.Expiry()) + time.Millisecond)
		r, err := s.Appraise(t.Context(), e)
		require.Nil(t, r)
		require.ErrorIs(t, err, rp.ErrSessionExpired)
	})
	t.Run("bounded", func(t *testing.T) {
		v := verifier(t, m, embedded.Config{MaxSessions: 2})
		first, second := open(t, v, nil), open(t, v, nil)
		_, err := v.NewSession(t.Context(), nil)
		var problem *rp.ProblemError
		require.ErrorAs(t, err, &problem)
		assert.Equal(t, 503, problem.Status)
		require.NoError(t, first.Close())
		third := open(t, v, nil)
		_, err = second.Appraise(t.Context(), attest(t, m, second))
		require.NoError(t, err)
		open(t, v, nil)
		_, err = v.NewSession(t.Context(), nil)
		require.Error(t, err)
		require.NoError(t, third.Close())
	})
	t.Run("expired ones make room", func(t *testing.T) {
		v := verifier(t, m, embedded.Config{MaxSessions: 1, SessionTTL: 10 * time.Millisecond})
		open(t, v, nil)
		time.Sleep(20 * time.Millisecond)
		open(t, v, nil)
	})
	t.Run("closed", func(t *testing.T) {
		s := open(t, verifier(t, m, embedded.Config{}), nil)
		require.NoError(t, s.Close())
		_, err := s.Appraise(t.Context(), attest(t, m, s))
		require.ErrorIs(t, err, rp.ErrSessionUsed)
	})
	t.Run("cancelled", func(t *testing.T) {
		v := verifier(t, m, embedded.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		s := open(t, v, nil)
		cancel()
		_, err := v.NewSession(ctx, nil)
		require.ErrorIs(t, err, context.Canceled)
		_, err = s.Appraise(ctx, attest(t, m, s))
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("once, whoever is first", func(t *testing.T) {
		s := open(t, verifier(t, m, embedded.Config{}), nil)
		e := attest(t, m, s)
		var wg sync.WaitGroup
		var mu sync.Mutex
		good := 0
		for range 8 {
			wg.Go(func() {
				if _, err := s.Appraise(context.Background(), e); err == nil {
					mu.Lock()
					good++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 1, good)
	})
	t.Run("nonce", func(t *testing.T) {
		v := verifier(t, m, embedded.Config{})
		for _, nonce := range [][]byte{{}, []byte("1234567"), make([]byte, 65)} {
			_, err := v.NewSession(t.Context(), nonce)
			require.Error(t, err)
		}
		nonce := []byte("12345678")
		s := open(t, v, nonce)
		nonce[0] = 'x'
		assert.Equal(t, []byte("12345678"), s.Nonce())
	})
}

// A pool takes any verifier.
func TestPooled(t *testing.T) {
	m := evidencetest.New(t)
	p, err := rp.NewPool(verifier(t, m, embedded.Config{}), rp.PoolConfig{Size: 2})
	require.NoError(t, err)
	defer p.Close()
	s := open(t, p, nil)
	_, err = rp.Appraise(t.Context(), s, attest(t, m, s), policy.Affirming())
	require.NoError(t, err)
}

// A CoRIM counts until it expires.
func TestCorimExpires(t *testing.T) {
	m := evidencetest.New(t)
	c := endorse(t, m)
	c.NotAfter = time.Now().Add(1500 * time.Millisecond)
	v, err := embedded.New([]*endorsements.Corim{c}, embedded.Config{})
	require.NoError(t, err)
	s := open(t, v, nil)
	_, err = rp.Appraise(t.Context(), s, attest(t, m, s), policy.Affirming())
	require.NoError(t, err)
	time.Sleep(time.Until(c.NotAfter) + 1100*time.Millisecond) // to the second, inclusively
	s = open(t, v, nil)
	r, err := s.Appraise(t.Context(), attest(t, m, s))
	require.NoError(t, err)
	assert.Equal(t, ear.TierContraindicated, r.Status)
	assert.Equal(t, "no trust anchor for evidence", r.Submods["PARSEC_TPM"].Problem())

	_, err = embedded.New([]*endorsements.Corim{c}, embedded.Config{})
	require.ErrorIs(t, err, endorsements.ErrExpired)
}

func TestLoadFiles(t *testing.T) {
	m := evidencetest.New(t)
	data, err := endorse(t, m).Encode(endorsements.DialectV1)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "platform.cbor")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	corims, err := embedded.LoadFiles(path)
	require.NoError(t, err)
	v, err := embedded.New(corims, embedded.Config{})
	require.NoError(t, err)
	s := open(t, v, nil)
	_, err = rp.Appraise(t.Context(), s, attest(t, m, s), policy.Affirming())
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(path, data[1:], 0o600))
	_, err = embedded.LoadFiles(path)
	require.ErrorContains(t, err, path)
	_, err = embedded.LoadFiles(path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestConfigRefused(t *testing.T) {
	corims := []*endorsements.Corim{endorse(t, evidencetest.New(t))}
	_, err := embedded.New(nil, embedded.Config{})
	require.Error(t, err)
	for _, cfg := range []embedded.Config{{SessionTTL: -1}, {MaxSessions: -1}} {
		_, err := embedded.New(corims, cfg)
		require.Error(t, err)
	}
}

// Evidence of a real Veraison's client and of the embedded one, by hand: what
// relying parties see of it is the same (see also TestSameResultsAsVeraison).
func TestRealVeraison(t *testing.T) {
	d := rptest.Deploy(t)
	m := evidencetest.New(t)
	c := endorse(t, m)
	data, err := c.Encode(endorsements.DialectV1)
	require.NoError(t, err)
	require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, data))
	d.Client().CloseIdle()
	real, err := rp.NewVeraison(d.VerificationURL(), rp.InsecureDiscoverOverHTTP(), rp.Config{InsecureHTTP: true})
	require.NoError(t, err)
	defer real.Close()
	ours, err := embedded.New([]*endorsements.Corim{c}, embedded.Config{})
	require.NoError(t, err)

	for name, v := range map[string]rp.Verifier{"Veraison": real, "embedded": ours} {
		t.Run(name, func(t *testing.T) {
			key := policy.TPM.AttestedKeyIs(tikOf(t, m))
			for _, nonce := range [][]byte{nil, []byte("12345678"), make([]byte, 64)} {
				s := open(t, v, nonce)
				r, err := rp.Appraise(t.Context(), s, attest(t, m, s), policy.Affirming(policy.MaxAge(time.Minute), key, policy.TPM.Instances(m.KID)))
				require.NoError(t, err)
				assert.Equal(t, s.Nonce(), r.Nonce)
			}
			for mediaType, wrap := range map[string]func([]byte) ([]byte, error){bundle.MediaTypeCMWCBOR: bundle.WrapCBOR, bundle.MediaTypeCMWJSON: bundle.WrapJSON} {
				s := open(t, v, nil)
				e := attest(t, m, s)
				data, err := wrap(e.Data)
				require.NoError(t, err)
				_, err = rp.Appraise(t.Context(), s, rp.Evidence{MediaType: mediaType, Data: data}, policy.Affirming())
				require.NoError(t, err)
			}
			// Stale, and not to be parsed.
			stale := attest(t, m, open(t, v, nil))
			s := open(t, v, nil)
			r, err := rp.Appraise(t.Context(), s, stale, policy.Affirming())
			require.Nil(t, r)
			require.EqualError(t, err, "refused by policy: PARSEC_TPM: ear.status is contraindicated, want affirming (the verifier says: integrity validation failed)")
			_, err = rp.Appraise(t.Context(), open(t, v, nil), rp.Evidence{MediaType: bundle.MediaType, Data: []byte("x")}, policy.Affirming())
			require.ErrorContains(t, err, "could not establish identity from evidence")
			// Another good machine, and another key.
			s = open(t, v, nil)
			_, err = rp.Appraise(t.Context(), s, attest(t, m, s), policy.Affirming(policy.TPM.Instances([]byte("another"))))
			require.ErrorContains(t, err, "instance (kid)")
			s = open(t, v, nil)
			_, err = rp.Appraise(t.Context(), s, attest(t, m, s), policy.Affirming(policy.TPM.AttestedKeyIs(m.AK.Public())))
			require.ErrorContains(t, err, "attested key")
			// Not a media type of the verifier's.
			_, err = open(t, v, nil).Appraise(t.Context(), rp.Evidence{MediaType: "application/eat+cwt", Data: []byte("x")})
			var problem *rp.ProblemError
			require.ErrorAs(t, err, &problem)
			assert.Equal(t, 415, problem.Status)
			// Nobody has the patience.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = v.NewSession(ctx, nil)
			require.ErrorIs(t, err, context.Canceled)
		})
	}
}

// tikOf is the key that the machine's evidence attests.
func tikOf(t testing.TB, m *evidencetest.TPM) crypto.PublicKey {
	t.Helper()
	public, err := tpm2.Pub(m.TIK)
	require.NoError(t, err)
	return public
}
