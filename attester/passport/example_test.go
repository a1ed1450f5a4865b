// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package passport_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/passport"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
)

// session is one challenge of a verifier's, as its client has it.
type session interface {
	Nonce() []byte
	Appraise(ctx context.Context, mediaType string, evidence []byte) (ear string, expires time.Time, err error)
	Close() error
}

// An attester that always has an attestation result at hand. openSession is
// the verifier's client.
func Example() {
	ctx := context.Background()
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	a, err := newAttester(ctx, tpm)
	if err != nil {
		log.Fatal(err)
	}

	p, err := passport.New(passport.Config{
		Attester: a,
		Appraise: func(ctx context.Context, attest func(context.Context, []byte) ([]byte, error)) (passport.Result, error) {
			s, err := openSession(ctx)
			if err != nil {
				return passport.Result{}, err
			}
			defer s.Close()
			evidence, err := attest(ctx, s.Nonce())
			if err != nil {
				return passport.Result{}, err
			}
			ear, expires, err := s.Appraise(ctx, bundle.MediaTypeCMWCBOR, evidence)
			return passport.Result{EAR: []byte(ear), Expires: expires}, err
		},
		Failed: func(err error) { log.Print(err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	document, err := p.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, key %T\n", document.EAR, document.Signer)
	// Output: an EAR, key *attester.Signer
}

func newAttester(ctx context.Context, tpm *attester.TPM) (*attester.Attester, error) {
	alg, err := attester.ParseKeyAlg("ecdsa-p256-sha256")
	if err != nil {
		return nil, err
	}
	cfg := attester.AttestConfig{}
	if cfg.AK, err = tpm.CreateAK(ctx, alg); err != nil {
		return nil, err
	}
	if cfg.TIK, err = tpm.CreateTIK(ctx, alg); err != nil {
		return nil, err
	}
	if cfg.Selection, err = attester.ParseSelection("sha256:0,1,7"); err != nil {
		return nil, err
	}
	return attester.NewAttester(ctx, cfg)
}

// openSession opens one at a verifier that is content with everything.
func openSession(context.Context) (session, error) { return content{}, nil }

type content struct{}

func (content) Nonce() []byte { return make([]byte, 32) }
func (content) Close() error  { return nil }
func (content) Appraise(_ context.Context, _ string, evidence []byte) (string, time.Time, error) {
	if _, err := bundle.Unwrap(evidence); err != nil {
		return "", time.Time{}, err
	}
	return "an EAR", time.Now().Add(time.Hour), nil
}
