// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
)

// What a Config's limits are where it says nothing.
const (
	DefaultTimeout      = 30 * time.Second
	DefaultHelloTimeout = 10 * time.Second
	// DefaultMaxHandshakes is how many handshakes a Listener does at a time.
	DefaultMaxHandshakes = 1024
)

// Config says what one side of a connection shows, and what it demands. At
// least one of Credential and Requirement is needed; with both, attestation is
// mutual. It may be used for any number of connections and must not be changed
// after its first.
type Config struct {
	// TLS is the connection's own configuration, as crypto/tls takes it. It is
	// cloned, and the clone hardened: TLS 1.3, no session tickets, no
	// resumption. A MaxVersion below TLS 1.3 is refused. A server needs its
	// certificate here, which may be the Credential's or any other. Where
	// GetConfigForClient chooses another one, its ClientCAs and Time count for the
	// client's attested certificate as well. Whoever has a KeyLogWriter's file can
	// read the connection, but not attest.
	TLS *tls.Config

	// Credential is what this side attests with, if the peer demands it.
	Credential *Credential
	// Requirement is what the peer has to attest.
	Requirement *Requirement

	// Timeout limits the whole handshake, the TLS one included, beside the
	// caller's context: DefaultTimeout if zero.
	Timeout time.Duration
	// HelloTimeout limits the wait for the peer's first message, in which it
	// shows that it speaks the protocol: DefaultHelloTimeout if zero.
	HelloTimeout time.Duration

	// MaxHandshakes is how many handshakes a Listener does at a time:
	// DefaultMaxHandshakes if zero. When there are as many, those whose other
	// end has been silent the longest make room.
	MaxHandshakes int

	// Trace is told of each step.
	Trace *Trace
	// Logger is told, at level debug, of handshakes that succeed and, at level
	// info, of those that fail; nil is silence.
	Logger *slog.Logger
}

// Attester makes evidence for a nonce, as a CMW in CBOR (RFC 9999).
// *attester.Attester is one.
type Attester interface {
	Attest(ctx context.Context, nonce []byte) (cmw []byte, err error)
}

// Passport is an attestation result that this side obtained for itself.
type Passport struct {
	// EAR is the signed result.
	EAR []byte
	// Verifier names who made it, as relying parties do: see Issuer.
	Verifier string
}

// CredentialConfig says what a side attests with. Certificate is needed, and
// one of Attester and Passport; with both the peer chooses.
type CredentialConfig struct {
	// Certificate is the attested key, the TIK, with its chain: that of
	// attester.TIK.Certificate. Its private key may be any crypto.Signer; one
	// with a method WithContext(context.Context) crypto.Signer honours the
	// handshake's context.
	Certificate tls.Certificate
	// Attester makes evidence about the key: background check.
	Attester Attester
	// EvidenceType is the media type of the Attester's evidence:
	// bundle.MediaType if empty.
	EvidenceType string
	// Passport gives the result of the moment: passport model. Verifiers are
	// those that it can be from, by name.
	Passport  func(ctx context.Context) (Passport, error)
	Verifiers []string
	// MaxPending is how many attestations may be under way or wait for their
	// turn, all connections together; one more is refused as busy. Zero means
	// DefaultMaxPending.
	MaxPending int
}

// DefaultMaxPending is how many attestations a Credential lets wait: at some
// ten a second, which is what TPMs do, less than DefaultTimeout.
const DefaultMaxPending = 64

// Credential is what a side attests with. It may serve any number of
// connections, also of several Configs, which then share its limit.
type Credential struct {
	chain    [][]byte
	spki     []byte
	signer   crypto.Signer
	schemes  []tls.SignatureScheme
	attester Attester
	evidence string
	passport func(ctx context.Context) (Passport, error)
	offers   []Offer
	pending  chan struct{}
}

// NewCredential checks that certificate and key belong together.
func NewCredential(cfg CredentialConfig) (*Credential, error) {
	leaf, signer, err := keyPair(&cfg.Certificate)
	if err != nil {
		return nil, fmt.Errorf("tlsbinding: credential: %w", err)
	}
	if cfg.Attester == nil && cfg.Passport == nil {
		return nil, errors.New("tlsbinding: credential: neither an Attester nor a Passport is given")
	}
	if cfg.Passport != nil && len(cfg.Verifiers) == 0 {
		return nil, errors.New("tlsbinding: credential: a Passport needs Verifiers, the names of those who issue it")
	}
	if cfg.MaxPending < 0 {
		return nil, fmt.Errorf("tlsbinding: credential: MaxPending is %d, want at least 1", cfg.MaxPending)
	}
	c := &Credential{
		chain:    cfg.Certificate.Certificate,
		spki:     leaf.RawSubjectPublicKeyInfo,
		signer:   signer,
		schemes:  slices.Clone(cfg.Certificate.SupportedSignatureAlgorithms),
		attester: cfg.Attester,
		evidence: orDefault(cfg.EvidenceType, bundle.MediaType),
		passport: cfg.Passport,
		pending:  make(chan struct{}, orDefault(cfg.MaxPending, DefaultMaxPending)),
	}
	if c.attester != nil {
		c.offers = append(c.offers, Offer{Model: BackgroundCheck, Type: c.evidence})
	}
	if c.passport != nil {
		for _, name := range cfg.Verifiers {
			c.offers = append(c.offers, Offer{Model: PassportModel, Type: MediaTypeEAR, Verifier: name})
		}
	}
	if err := checkOffers(c.offers); err != nil {
		return nil, fmt.Errorf("tlsbinding: credential: %w", err)
	}
	return c, nil
}

// Issuer is a verifier whose results are accepted as passports.
type Issuer struct {
	// Name is what both sides call it: they agree on a verifier by its name,
	// and the relying party then trusts its Keys and nothing else.
	Name string
	// Keys are the verifier's.
	Keys ear.KeySource
	// MaxAge is how long ago a result may have been issued. It is needed: a
	// result says nothing of what happened since.
	MaxAge time.Duration
	// ID is the identity that results have to name; what is empty in it may be
	// anything.
	ID ear.VerifierID
	// Skew is how far the verifier's clock may be off: ear.DefaultSkew if zero.
	Skew time.Duration
}

// Requirement is what a peer has to attest, and who it has to be. Policy is
// needed, and one of Verifier and Issuers; with both, the background check is
// preferred.
type Requirement struct {
	// Verifier appraises evidence: background check.
	Verifier rp.Verifier
	// EvidenceTypes are the media types of evidence that the verifier takes,
	// the best first: bundle.MediaType if empty.
	EvidenceTypes []string
	// Issuers are the verifiers whose results are accepted: passport model.
	Issuers []Issuer

	// Policy decides about the result; policy.Affirming is the one to start
	// with. That the result attests the peer's key is checked besides, always.
	Policy rp.Policy

	// Instances are the attestation keys, by identifier (AK.KID), of the
	// machines that may be at the other end; Keys the attested keys. Any
	// machine of either list is accepted, where there is one.
	Instances [][]byte
	Keys      []crypto.PublicKey

	// InsecureSkipPKI gives up X.509 validation of the peer's certificate, and
	// with it its name: the peer is then known by Instances or Keys alone, one
	// of which is needed. Without it the certificate is validated as TLS does:
	// a server's up to TLS.RootCAs for TLS.ServerName, a client's up to
	// TLS.ClientCAs.
	InsecureSkipPKI bool
	// InsecureAnyInstance, with InsecureSkipPKI, also gives up to know which
	// machine it is: any that the verifier affirms will do, whoever runs it.
	InsecureAnyInstance bool

	// VerifyCertificate, unless nil, is asked about the peer's certificates after
	// everything else about them holds: for revocation, or names of one's own.
	// chains is nil with InsecureSkipPKI. What TLS.VerifyConnection and
	// VerifyPeerCertificate see are those of the TLS handshake alone.
	VerifyCertificate func(certificates []*x509.Certificate, chains [][]*x509.Certificate) error
	// SameCertificate demands that the peer's certificate in the TLS handshake
	// has the attested key, too: for applications that go by that certificate.
	SameCertificate bool

	// MaxAge is how long a connection may live on its last attestation. When
	// the peer was not attested again by then the connection is closed
	// (ErrStale). Zero means that one attestation is enough.
	MaxAge time.Duration
	// ReattestEvery has a framed connection attest its peer again, so often.
	// Zero leaves it to Conn.Reattest. It has to be less than MaxAge.
	ReattestEvery time.Duration
}

func (r *Requirement) check(peer expauth.Role, t *tls.Config) error {
	if r.Verifier == nil && len(r.Issuers) == 0 {
		return errors.New("neither a Verifier nor Issuers are given: nobody could appraise the peer")
	}
	if r.Policy == nil {
		return fmt.Errorf("policy: %w", rp.ErrNoPolicy)
	}
	if r.MaxAge < 0 || r.ReattestEvery < 0 {
		return fmt.Errorf("MaxAge is %v and ReattestEvery %v, want at least 0", r.MaxAge, r.ReattestEvery)
	}
	if r.MaxAge > 0 && r.ReattestEvery >= r.MaxAge {
		return fmt.Errorf("ReattestEvery is %v, want less than MaxAge, %v", r.ReattestEvery, r.MaxAge)
	}
	for i, issuer := range r.Issuers {
		switch {
		case issuer.Name == "":
			return fmt.Errorf("issuer %d: no name is given", i)
		case issuer.Keys == nil:
			return fmt.Errorf("issuer %q: no keys are given", issuer.Name)
		case issuer.MaxAge <= 0:
			return fmt.Errorf("issuer %q: MaxAge is %v, want more than 0", issuer.Name, issuer.MaxAge)
		}
	}
	switch {
	case r.InsecureAnyInstance && !r.InsecureSkipPKI:
		return errors.New("InsecureAnyInstance is given without InsecureSkipPKI")
	case r.InsecureAnyInstance && r.named():
		return errors.New("InsecureAnyInstance is given with Instances or Keys")
	case r.InsecureSkipPKI && !r.InsecureAnyInstance && !r.named():
		return errors.New("InsecureSkipPKI leaves the peer without identity: name its Instances or Keys")
	case !r.InsecureSkipPKI && peer == expauth.Client && t.ClientCAs == nil:
		return errors.New("clients' certificates are validated up to TLS.ClientCAs, and there are none")
	case !r.InsecureSkipPKI && peer == expauth.Server && t.ServerName == "":
		return errors.New("the server's certificate is validated for TLS.ServerName, and there is none")
	}
	return checkOffers(r.offers())
}

func (r *Requirement) named() bool { return len(r.Instances) > 0 || len(r.Keys) > 0 }

// offers are what the peer can choose from, the best first.
func (r *Requirement) offers() []Offer {
	if r == nil {
		return nil
	}
	var offers []Offer
	if r.Verifier != nil {
		types := r.EvidenceTypes
		if len(types) == 0 {
			types = []string{bundle.MediaType}
		}
		for _, t := range types {
			offers = append(offers, Offer{Model: BackgroundCheck, Type: t})
		}
	}
	for _, issuer := range r.Issuers {
		offers = append(offers, Offer{Model: PassportModel, Type: MediaTypeEAR, Verifier: issuer.Name})
	}
	return offers
}

// policy is everything that a result has to satisfy, for a peer whose
// certificate has this key.
func (r *Requirement) policy(key crypto.PublicKey) rp.Policy {
	all := []rp.Policy{r.Policy, policy.TPM.AttestedKeyIs(key)}
	if r.named() {
		var any []rp.Policy
		if len(r.Instances) > 0 {
			any = append(any, policy.TPM.Instances(r.Instances...))
		}
		if len(r.Keys) > 0 {
			any = append(any, policy.TPM.AttestedKeyIs(r.Keys...))
		}
		all = append(all, anyOf(any))
	}
	return policy.All(all...)
}

// anyOf accepts what one of the policies accepts, and refuses as the last does.
func anyOf(policies []rp.Policy) rp.Policy {
	return func(r *rp.AttestationResult) error {
		var err error
		for _, p := range policies {
			if err = p.Check(r); err == nil {
				return nil
			}
		}
		return err
	}
}

func (c *Config) check(self expauth.Role) error {
	switch {
	case c == nil:
		return errors.New("tlsbinding: no configuration is given")
	case c.TLS == nil:
		return errors.New("tlsbinding: no TLS configuration is given")
	case c.TLS.MaxVersion != 0 && c.TLS.MaxVersion < tls.VersionTLS13:
		return fmt.Errorf("tlsbinding: TLS.MaxVersion is %s; the binding needs TLS 1.3", tls.VersionName(c.TLS.MaxVersion))
	case c.Credential == nil && c.Requirement == nil:
		return errors.New("tlsbinding: neither a Credential nor a Requirement is given: nothing would be attested")
	case c.Credential != nil && c.Credential.signer == nil:
		return errors.New("tlsbinding: the Credential is not of NewCredential")
	case c.Timeout < 0 || c.HelloTimeout < 0 || c.MaxHandshakes < 0:
		return errors.New("tlsbinding: a limit is below zero")
	}
	if c.Requirement != nil {
		if err := c.Requirement.check(self.Peer(), c.TLS); err != nil {
			return fmt.Errorf("tlsbinding: requirement: %w", err)
		}
	}
	return nil
}

// orDefault is v, or what stands for its zero value.
func orDefault[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}
