// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/veraison/attested-tls/attester/passport"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
)

// askPeer stands for however the nonce gets to the attester and the evidence
// back.
func askPeer(context.Context, []byte) (rp.Evidence, error) { return rp.Evidence{}, nil }

// Evidence of a peer, appraised by a Veraison deployment whose key is known.
func ExampleNewVeraison() {
	jwk, err := os.ReadFile("verifier.jwk")
	if err != nil {
		log.Fatal(err)
	}
	key, err := ear.ParseKey(jwk)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := rp.NewVeraison("https://verifier.example:8443", ear.Pin(key), rp.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer verifier.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	session, err := verifier.NewSession(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	evidence, err := askPeer(ctx, session.Nonce())
	if err != nil {
		log.Fatal(err)
	}
	result, err := rp.Appraise(ctx, session, evidence, policy.Affirming(policy.TPM.AttestedKey()))
	var refused *rp.PolicyError
	switch {
	case errors.As(err, &refused):
		fmt.Println("not trusted:", refused.Claim, refused.Got, refused.Reason)
	case err != nil:
		log.Fatal(err) // there is no result
	default:
		fmt.Println("the key in the TPM is", result.Submods["PARSEC_TPM"].AttestedKey)
	}
}

// A deployment that wants OAuth2, and is asked for its own key.
func ExampleDiscover() {
	credentials := clientcredentials.Config{
		ClientID:     "relying-party",
		ClientSecret: os.Getenv("VERAISON_SECRET"),
		TokenURL:     "https://keycloak.example/realms/veraison/protocol/openid-connect/token",
	}
	verifier, err := rp.NewVeraison("https://verifier.example:8443", rp.Discover(), rp.Config{
		TokenSource: credentials.TokenSource(context.Background()),
		UserAgent:   "my-server/1.0",
		Logger:      slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer verifier.Close()

	// A passport that a peer has from the same verifier.
	var passport string
	result, err := ear.Verify(context.Background(), passport, verifier.Keys(), ear.Expectations{MaxAge: 5 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(policy.Affirming().Check(result))
}

// An attester that keeps a passport: this is its way to the verifier.
func ExampleVeraison() {
	verifier, err := rp.NewVeraison("https://verifier.example:8443", rp.Discover(), rp.Config{})
	if err != nil {
		log.Fatal(err)
	}
	const age = 5 * time.Minute // that the relying parties allow
	appraise := func(ctx context.Context, attest func(context.Context, []byte) ([]byte, error)) (passport.Result, error) {
		session, err := verifier.NewSession(ctx, nil)
		if err != nil {
			return passport.Result{}, err
		}
		defer session.Close()
		cmw, err := attest(ctx, session.Nonce())
		if err != nil {
			return passport.Result{}, err
		}
		r, err := rp.Appraise(ctx, session, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: cmw}, policy.Affirming())
		if err != nil {
			return passport.Result{}, err
		}
		return passport.Result{EAR: []byte(r.Token), Expires: r.IssuedAt.Add(age)}, nil
	}
	_ = passport.Config{Appraise: appraise} // and an attester.Attester
}

// Sessions that are there before they are needed.
func ExampleNewPool() {
	verifier, err := rp.NewVeraison("https://verifier.example:8443", rp.Discover(), rp.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer verifier.Close()
	pool, err := rp.NewPool(verifier, rp.PoolConfig{Size: 32, Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	session, err := pool.NewSession(context.Background(), nil) // at once
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
}
