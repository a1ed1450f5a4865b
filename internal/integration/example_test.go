// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
)

// A machine attests and passes a challenge, and a relying party has a Veraison
// deployment verify it.
func Example() {
	ctx := context.Background()
	v, err := startVeraison(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer v.stop()

	// The machine.
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	machine, err := newMachine(ctx, tpm)
	if err != nil {
		log.Fatal(err)
	}
	if err := v.provision(ctx, tpm, machine); err != nil {
		log.Fatal(err)
	}

	// The relying party. Veraison in earnest speaks TLS.
	key, err := ear.NewKey(v.PublicKey())
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := rp.NewVeraison(v.VerificationURL(), ear.Pin(key), rp.Config{InsecureHTTP: true})
	if err != nil {
		log.Fatal(err)
	}
	defer verifier.Close()
	session, err := verifier.NewSession(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	// The nonce goes to the machine, its evidence comes back.
	evidence, err := machine.Attest(ctx, session.Nonce())
	if err != nil {
		log.Fatal(err)
	}

	result, err := rp.Appraise(ctx, session, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: evidence},
		policy.Affirming(policy.TPM.AttestedKeyIs(machine.TIK().Public()), policy.TPM.Instances(machine.AK().KID())))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status, result.Submods["PARSEC_TPM"].Evidence["pcrs"])

	// The same evidence does not pass another challenge.
	again, err := verifier.NewSession(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer again.Close()
	_, err = rp.Appraise(ctx, again, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: evidence}, policy.Affirming())
	var refused *rp.PolicyError
	fmt.Println(errors.As(err, &refused))
	// Output:
	// affirming sha256:0,1,7
	// true
}

// veraison is a Veraison deployment with this project's plugin.
type veraison struct {
	*deployment.Deployment
	dir string
}

func startVeraison(ctx context.Context) (*veraison, error) {
	bin, err := deployment.FindBinDir()
	if err != nil {
		return nil, err
	}
	plugins, err := shippedPlugin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		return nil, err
	}
	d, err := deployment.Start(ctx, deployment.Config{BinDir: bin, PluginDir: plugins, Dir: filepath.Join(dir, "veraison")})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &veraison{d, dir}, nil
}

func (v *veraison) stop() {
	if err := errors.Join(v.Stop(), os.RemoveAll(v.dir)); err != nil {
		log.Fatal(err)
	}
}

func newMachine(ctx context.Context, tpm *attester.TPM) (*attester.Attester, error) {
	var cfg attester.AttestConfig
	var err error
	if cfg.AK, err = tpm.CreateAK(ctx, ecdsa256); err != nil {
		return nil, err
	}
	if cfg.TIK, err = tpm.CreateTIK(ctx, ecdsa256); err != nil {
		return nil, err
	}
	if cfg.Selection, err = attester.ParseSelection("sha256:0,1,7"); err != nil {
		return nil, err
	}
	return attester.NewAttester(ctx, cfg)
}

// provision endorses a machine as it is now.
func (v *veraison) provision(ctx context.Context, tpm *attester.TPM, machine *attester.Attester) error {
	const class = "7d9e2c1a-5b0f-4f6e-9c1d-0a6b54d3e2f1"
	anchor, err := endorsements.NewTrustAnchor(class, machine.AK().KID(), machine.AK().PEM())
	if err != nil {
		return err
	}
	selection, err := attester.ParseSelection("sha256:0,1,7")
	if err != nil {
		return err
	}
	pcrs, err := tpm.ReadPCRs(ctx, selection)
	if err != nil {
		return err
	}
	var values []endorsements.PCRValue
	for bank, digests := range pcrs {
		for index, digest := range digests {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	state, err := endorsements.NewReferenceState(class, values)
	if err != nil {
		return err
	}
	c := &endorsements.Corim{ID: "example", Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state}}
	corim, err := c.Encode(endorsements.DialectV1)
	if err != nil {
		return err
	}
	return v.Client().Provision(ctx, endorsements.MediaTypeUnsignedV1, corim)
}
