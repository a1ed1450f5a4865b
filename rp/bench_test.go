// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/rptest"
	"github.com/veraison/attested-tls/rp/policy"
)

// instant is a verifier that costs nothing: a transport with the answers at
// hand.
type instant struct{ session, result []byte }

func (i *instant) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	answer := &http.Response{ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: http.Header{"Content-Type": {rptest.SessionType}}}
	body := i.result
	switch {
	case r.Method == http.MethodDelete:
		answer.StatusCode, body = http.StatusNoContent, nil
	case strings.HasSuffix(r.URL.Path, "/newSession"):
		answer.StatusCode, body = http.StatusCreated, i.session
		answer.Header.Set("Location", "session/1")
	default:
		answer.StatusCode = http.StatusOK
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return answer, nil
}

// typical is a result as Veraison makes it of evidence with this project's
// plugin.
func typical(b *testing.B, nonce []byte) object {
	return rptest.WithSubmod(rptest.Claims(nonce), object{
		"ear.veraison.key-attestation": object{"akpub": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEcjSp8_MWM3gy8TugWO1TpQSj_vIksLpC-g8l5S3lpGb7PWWGoCAjEP8_A59VZwLXgwoZzN0WxuBPjpaWiWsfCQ"},
		"ear.veraison.annotated-evidence": object{
			"format": "tag:github.com/veraison/attested-tls,2026:tpm-claims-1", "kid": "AQ==", "key": strings.Repeat("A", 122),
			"key-type": "ECDSA P-256", "key-attributes": "fixedTPM|fixedParent|sensitiveDataOrigin|userWithAuth|noDA|sign",
			"key-scheme": "ecdsa-sha256", "key-name": strings.Repeat("0", 68), "pcrs": "sha256:0,1,2,3,4,5,6,7",
			"pcr-digest": "sha256:" + strings.Repeat("0", 64), "signature": "ecdsa-sha256", "clock": "123456", "clock-safe": true,
			"reset-count": 1, "restart-count": 2, "firmware-version": "0x2019102300163636",
		},
	})
}

// BenchmarkAppraisal is what an appraisal costs the relying party itself: a
// session, evidence, the result's verification, a policy, the deletion, with a
// verifier that answers at once; beside the one thing that cannot be saved.
func BenchmarkAppraisal(b *testing.B) {
	key, nonce := rptest.Key(b), []byte("0123456789abcdef0123456789abcdef")
	token := rptest.Sign(b, key, typical(b, nonce))
	session, err := json.Marshal(object{
		"status": "waiting", "nonce": base64.StdEncoding.EncodeToString(nonce),
		"accept": []string{evidence.MediaType}, "expiry": time.Now().Add(time.Hour),
	})
	require.NoError(b, err)
	result, err := json.Marshal(object{
		"status": "complete", "nonce": base64.StdEncoding.EncodeToString(nonce), "expiry": time.Now(),
		"evidence": object{"type": evidence.MediaType, "value": make([]byte, 900)}, "result": token,
	})
	require.NoError(b, err)

	b.Run("ES256", func(b *testing.B) {
		i := strings.LastIndexByte(token, '.')
		sig, err := base64.RawURLEncoding.DecodeString(token[i+1:])
		require.NoError(b, err)
		for b.Loop() {
			digest := sha256.Sum256([]byte(token[:i]))
			if !ecdsa.Verify(&key.PublicKey, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
				b.Fatal("not verified")
			}
		}
	})
	b.Run("EAR", func(b *testing.B) {
		keys := ear.Pin(rptest.Public(b, key))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ear.Verify(b.Context(), token, keys, ear.Expectations{Nonce: nonce}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		v, err := rp.NewVeraison("https://verifier.example", ear.Pin(rptest.Public(b, key)), rp.Config{Transport: &instant{session, result}})
		require.NoError(b, err)
		defer v.Close()
		e := rp.Evidence{MediaType: evidence.MediaType, Data: make([]byte, 900)}
		p := policy.Affirming(policy.MaxAge(time.Hour), policy.TPM.AttestedKey())
		b.ReportAllocs()
		for b.Loop() {
			s, err := v.NewSession(b.Context(), nonce)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := rp.Appraise(b.Context(), s, e, p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkNonce is how long it takes to have a nonce, from a verifier that is
// 20 ms away, with and without a pool. Between one and the next there is time
// for the pool to fill.
func BenchmarkNonce(b *testing.B) {
	v := rptest.NewVerifier(b, false)
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond)
		v.NewSession(w, r)
	}
	direct := client(b, v)
	run := func(b *testing.B, verifier rp.Verifier) {
		for b.Loop() {
			s, err := verifier.NewSession(context.Background(), nil)
			b.StopTimer()
			if err != nil {
				b.Fatal(err)
			}
			_ = s.Close()
			time.Sleep(25 * time.Millisecond)
			b.StartTimer()
		}
	}
	b.Run("direct", func(b *testing.B) { run(b, direct) })
	b.Run("pooled", func(b *testing.B) {
		p := pool(b, direct, rp.PoolConfig{Size: 8})
		p.full(b, 8)
		run(b, p)
	})
}
