// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/passport"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// The values of --model.
const (
	modelBackground = "background-check"
	modelPassport   = "passport"
)

// passportAge is how old a passport may be without --max-age.
const passportAge = 5 * time.Minute

// attestedFlags are what serve and connect have in common: what this side shows,
// and what it demands of the other.
type attestedFlags struct {
	attest   attestFlags
	tikCert  string
	require  bool
	verifier verifierFlags
	corims   corimFlags
	model    string
	name     string
	policy   policyFlags
	skipPKI  bool
	any      bool
	timeout  time.Duration
}

func (f *attestedFlags) register(cmd *cobra.Command, peer string) {
	fs := cmd.Flags()
	f.attest.register(cmd)
	fs.StringVar(&f.tikCert, "tik-cert", "", "the TLS identity key's certificate and its chain (PEM); without it one is signed by the key itself")
	fs.BoolVar(&f.require, "require", false, "demand that the "+peer+" attests")
	f.verifier.register(cmd)
	f.corims.register(cmd)
	fs.StringVar(&f.model, "model", modelBackground, modelBackground+" or "+modelPassport+", for what is shown and what is demanded")
	fs.StringVar(&f.name, "verifier-name", "", "what both sides call the verifier of passports (default its URL)")
	f.policy.register(cmd)
	fs.BoolVar(&f.skipPKI, "insecure-skip-pki", false, "do not validate the "+peer+"'s certificates: it is known by --instance or --attested-key alone")
	fs.BoolVar(&f.any, "insecure-any-instance", false, "with --insecure-skip-pki, accept any machine that the verifier affirms")
	fs.DurationVar(&f.timeout, "timeout", tlsbinding.DefaultTimeout, "limit of each handshake")
}

// check finds what makes no sense before anything is done.
func (f *attestedFlags) check() error {
	if f.attest.given() {
		if err := f.attest.need(); err != nil {
			return err
		}
	} else if f.tikCert != "" {
		return usageErrorf("--tik-cert is for --ak, --tik and --pcrs")
	}
	if err := f.verifier.unused(); err != nil {
		return err
	}
	shows := f.attest.given()
	switch {
	case !shows && !f.require:
		return usageErrorf("nothing would be attested").withHint("--require demands it of the other side; --ak, --tik and --pcrs show this one")
	case f.model != modelBackground && f.model != modelPassport:
		return usageErrorf("--model %q: want %s or %s", f.model, modelBackground, modelPassport)
	case f.timeout <= 0:
		return usageErrorf("--timeout %v: want more than 0", f.timeout)
	case f.verifier.url != "" && len(f.corims.files) > 0:
		return usageErrorf("--verifier and --corim: want one of them")
	case len(f.corims.files) == 0 && (len(f.corims.signers) > 0 || f.corims.roots != ""):
		return usageErrorf("--corim-signer and --corim-roots are for --corim")
	case f.model == modelPassport && f.verifier.url == "":
		return usageErrorf("passports need --verifier")
	case f.require && f.verifier.url == "" && len(f.corims.files) == 0:
		return usageErrorf("--require needs a verifier: --verifier, or --corim")
	case !f.require && (f.any || len(f.corims.files) > 0 || len(f.policy.instances)+len(f.policy.keys) > 0):
		return usageErrorf("--corim, --instance, --attested-key and --insecure-any-instance are for --require")
	case !f.require && (f.policy.minStatus != "affirming" || f.policy.maxAge != 0):
		return usageErrorf("--min-status and --max-age are for --require")
	case f.any && !f.skipPKI:
		return usageErrorf("--insecure-any-instance is for --insecure-skip-pki")
	case f.require && f.skipPKI && !f.any && len(f.policy.instances)+len(f.policy.keys) == 0:
		return usageErrorf("--insecure-skip-pki leaves the other side without identity").
			withHint("name it with --instance or --attested-key, or accept any with --insecure-any-instance")
	}
	return nil
}

// withConfig makes the flags into a configuration, for as long as use runs. The
// certificate is the TLS identity key's, empty if there is none.
func (a *app) withConfig(ctx context.Context, f *attestedFlags, t *tls.Config,
	use func(cfg *tlsbinding.Config, tik tls.Certificate) error) error {
	cfg := &tlsbinding.Config{TLS: t, Timeout: f.timeout, HelloTimeout: min(f.timeout, tlsbinding.DefaultHelloTimeout)}
	p, err := a.policies(&f.policy)
	if err != nil {
		return err
	}
	var verifier rp.Verifier
	var keys ear.KeySource
	switch {
	case f.verifier.url != "":
		v, err := a.client(&f.verifier)
		if err != nil {
			return err
		}
		defer v.Close()
		verifier, keys = v, v.Keys()
	case len(f.corims.files) > 0:
		corims, err := a.readTrustedCorims(&f.corims)
		if err != nil {
			return err
		}
		v, err := embedded.New(corims, embedded.Config{})
		if err != nil {
			return inputErrorf("%w", err)
		}
		verifier, keys = v, ear.Pin(v.Key())
	}
	name := cmp.Or(f.name, f.verifier.url)
	if f.require {
		cfg.Requirement = &tlsbinding.Requirement{Policy: p.policy(), InsecureSkipPKI: f.skipPKI, InsecureAnyInstance: f.any}
		for _, kid := range f.policy.instances {
			id, err := hex.DecodeString(kid)
			if err != nil {
				return usageErrorf("--instance: %w", err)
			}
			cfg.Requirement.Instances = append(cfg.Requirement.Instances, id)
		}
		for _, path := range f.policy.keys {
			_, key, err := a.publicKeyFile(path)
			if err != nil {
				return err
			}
			cfg.Requirement.Keys = append(cfg.Requirement.Keys, key)
		}
		if f.model == modelPassport {
			age := f.policy.maxAge
			if age == 0 {
				age = passportAge
			}
			cfg.Requirement.Issuers = []tlsbinding.Issuer{{Name: name, Keys: keys, MaxAge: age}}
		} else {
			cfg.Requirement.Verifier = verifier
		}
	}
	if !f.attest.given() {
		return use(cfg, tls.Certificate{})
	}
	return a.withAttester(ctx, f.attest, func(at *attester.Attester) (err error) {
		tik, err := a.tikCertificate(ctx, f.tikCert, at.TIK())
		if err != nil {
			return err
		}
		c := tlsbinding.CredentialConfig{Certificate: tik}
		if f.model == modelPassport {
			p, err := passport.New(passport.Config{Attester: at, Appraise: obtain(verifier), Failed: func(err error) { a.warn("no passport: %v", err) }})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.Close()) }()
			c.Verifiers = []string{name}
			c.Passport = func(ctx context.Context) (tlsbinding.Passport, error) {
				doc, err := p.Wait(ctx)
				return tlsbinding.Passport{EAR: doc.EAR, Verifier: name}, err
			}
		} else {
			c.Attester = at
		}
		if cfg.Credential, err = tlsbinding.NewCredential(c); err != nil {
			return err
		}
		return use(cfg, tik)
	})
}

// obtain gets passports that say that this machine is good.
func obtain(v rp.Verifier) passport.Appraise {
	return func(ctx context.Context, attest func(context.Context, []byte) ([]byte, error)) (_ passport.Result, err error) {
		session, err := v.NewSession(ctx, nil)
		if err != nil {
			return passport.Result{}, err
		}
		defer func() { err = errors.Join(err, session.Close()) }()
		evidence, err := attest(ctx, session.Nonce())
		if err != nil {
			return passport.Result{}, err
		}
		r, err := rp.Appraise(ctx, session, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: evidence}, policy.Affirming())
		if err != nil {
			return passport.Result{}, err
		}
		// Renewed well before a relying party with our own default refuses it.
		return passport.Result{EAR: []byte(r.Token), Expires: r.IssuedAt.Add(passportAge / 2)}, nil
	}
}

// tikCertificate is the TLS identity key with its certificate: that of a file, or
// one that the key signs now.
func (a *app) tikCertificate(ctx context.Context, path string, tik *attester.TIK) (tls.Certificate, error) {
	if path != "" {
		chain, err := a.certificates(path)
		if err != nil {
			return tls.Certificate{}, err
		}
		c, err := tik.Certificate(chain...)
		if err != nil {
			return tls.Certificate{}, inputErrorf("%s: %w", path, err)
		}
		return c, nil
	}
	block, err := certify(tik, tik.Signer().WithContext(ctx), &x509.CertificateRequest{}, true, 1)
	if err != nil {
		return tls.Certificate{}, tpmErrorf("%w", err)
	}
	return tik.Certificate(block.Bytes)
}

// certificates reads a chain in PEM.
func (a *app) certificates(path string) ([][]byte, error) {
	data, err := a.readFile(path)
	if err != nil {
		return nil, err
	}
	var chain [][]byte
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	if len(chain) == 0 {
		return nil, inputErrorf("%s: it holds no PEM certificate", path)
	}
	return chain, nil
}

// handshakeError gives the failure of a handshake its exit code.
func handshakeError(err error) error {
	var refused *tlsbinding.RefusalError
	var decided *rp.PolicyError
	switch {
	case errors.As(err, &refused):
		return exitErrorf(exitPeer, "%w", err)
	case errors.As(err, &decided):
		if decided.Claim == "ear.status" {
			return refusedErrorf("%w", err)
		}
		return policyErrorf("%w", err)
	case errors.Is(err, tlsbinding.ErrNotSpoken), errors.Is(err, tlsbinding.ErrNoCommonEvidence),
		errors.Is(err, tlsbinding.ErrNoCommonVerifier), errors.Is(err, tlsbinding.ErrProtocol):
		return exitErrorf(exitPeer, "%w", err)
	case errors.Is(err, tlsbinding.ErrNotBound), errors.Is(err, tlsbinding.ErrIdentity):
		return refusedErrorf("%w", err)
	}
	return err
}

// logger writes what a Config tells, for people.
func (a *app) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.env.Stderr, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, at slog.Attr) slog.Attr {
			if len(groups) == 0 && (at.Key == slog.TimeKey || at.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return at
		},
	}))
}

// describe says in one line who a peer is.
func describe(p *tlsbinding.Peer) string {
	der, err := x509.MarshalPKIXPublicKey(p.Key())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%v, status %v, attested key %s", p.Offer, p.Result.Status, fingerprint(der))
}
