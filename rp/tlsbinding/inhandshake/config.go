// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// Draft is a version of draft-fossati-tls-attestation.
type Draft uint8

// The versions. A client speaks one, a server both.
const (
	// Draft02 has the background check alone.
	Draft02 Draft = 2
	// Draft07 also has passports, and says whether a certificate of a CA is
	// wanted beside the evidence. It is the default.
	Draft07 Draft = 7
)

// Config says what one side shows in the handshake, and what it demands. At
// least one of Credential and Requirement is needed; with both, attestation is
// mutual. It must not be changed once it is used.
type Config struct {
	// TLS is the connection's own configuration, as crypto/tls takes it. It is
	// cloned, and the clone hardened: TLS 1.3, no session tickets, no
	// resumption. NextProtos are the application's; those that net/http or grpc
	// add to a server's configuration by themselves have to be named here. A
	// VerifyConnection is called after the peer was appraised.
	TLS *tls.Config

	// Credential is what this side attests with, if the peer demands it. Its
	// Certificate needs the private key alone. If there is a chain, it is kept,
	// and its leaf has to be for that key.
	Credential *tlsbinding.CredentialConfig
	// Requirement is what the peer has to attest. Without InsecureSkipPKI a
	// certificate of a CA is demanded beside the evidence.
	// InsecureAnyInstance, MaxAge and ReattestEvery are refused: this mode cannot
	// do without the peer's name, and cannot attest again. So is
	// VerifyCertificate: TLS.VerifyConnection takes its place. SameCertificate
	// holds by itself.
	Requirement *tlsbinding.Requirement

	// InsecureAcceptRelay says that evidence which is not bound to the
	// connection is enough: whoever has the attested key, or the use of it, can
	// relay it. See the package comment. Nothing works without it.
	InsecureAcceptRelay bool

	// Draft is what a client speaks: Draft07 if zero. A server follows its
	// clients.
	Draft Draft
	// Timeout limits each step for which this side's verifier or TPM is asked,
	// beside the handshake's context: tlsbinding.DefaultTimeout if zero. It also
	// limits how long a server's session with its verifier waits for a client's
	// evidence.
	Timeout time.Duration
	// MaxHandshakes is how many of a server's handshakes have a session with its
	// verifier at a time: tlsbinding.DefaultMaxHandshakes if zero. More are
	// refused with tlsbinding.ErrBusy, before the verifier is asked. A place is
	// free again when the evidence was appraised, the handshake has ended, or
	// Timeout has passed without evidence. Clients have no use for it.
	MaxHandshakes int
}

// errRelay is the answer to a configuration that does not say that it knows.
var errRelay = errors.New("evidence inside the handshake is not bound to the connection and can be relayed by whoever has the attested key: " +
	"use package tlsbinding, or set InsecureAcceptRelay")

// sides of a handshake.
const (
	theClient = "the client"
	theServer = "the server"
)

// side is a checked Config.
type side struct {
	tls       *tls.Config
	attesting *attesting // nil if this side does not attest
	relying   *relying   // nil if the peer does not have to
	draft     seedwire.Draft
	peers     peers
}

func newSide(cfg *Config, self, peer string) (*side, error) {
	switch {
	case !cfg.InsecureAcceptRelay:
		return nil, errRelay
	case cfg.TLS == nil:
		return nil, errors.New("no TLS configuration is given")
	case cfg.Credential == nil && cfg.Requirement == nil:
		return nil, errors.New("neither a Credential nor a Requirement is given: nothing would be attested")
	case cfg.Draft != 0 && cfg.Draft != Draft02 && cfg.Draft != Draft07:
		return nil, fmt.Errorf("draft %v is not known, want %v or %v", seedwire.Draft(cfg.Draft), seedwire.Draft02, seedwire.Draft07)
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("a Timeout of %v, want at least 0", cfg.Timeout)
	case cfg.MaxHandshakes < 0:
		return nil, fmt.Errorf("MaxHandshakes is %d, want at least 0", cfg.MaxHandshakes)
	}
	if err := checkTLS(cfg.TLS); err != nil {
		return nil, err
	}
	timeout := cfg.Timeout
	if timeout == 0 {
		timeout = tlsbinding.DefaultTimeout
	}
	s := &side{tls: cfg.TLS.Clone(), draft: seedwire.Draft(cfg.Draft)}
	if s.draft == 0 {
		s.draft = seedwire.Draft07
	}
	if cfg.Credential != nil {
		a, err := newAttesting(cfg.Credential, self, timeout)
		if err != nil {
			return nil, fmt.Errorf("credential: %w", err)
		}
		s.attesting = a
	}
	if cfg.Requirement != nil {
		if err := checkRequirement(cfg.Requirement, peer, cfg.TLS); err != nil {
			return nil, fmt.Errorf("requirement: %w", err)
		}
		s.relying = newRelying(cfg.Requirement, peer, timeout)
	}
	return s, nil
}

// checkTLS refuses what would undo the hardening, or run beside it.
func checkTLS(t *tls.Config) error {
	switch {
	case t.MaxVersion != 0 && t.MaxVersion < tls.VersionTLS13:
		return fmt.Errorf("TLS.MaxVersion is %s, want TLS 1.3: before it certificates, and so evidence, are sent in the clear",
			tls.VersionName(t.MaxVersion))
	case t.VerifyPeerCertificate != nil:
		return errors.New("TLS.VerifyPeerCertificate is given: use VerifyConnection, which is called for every connection")
	case slices.ContainsFunc(t.NextProtos, isCarrier):
		return fmt.Errorf("TLS.NextProtos has an entry that begins with %q", carrierPrefix)
	}
	return nil
}

// harden makes a clone fit for attestation.
func harden(t *tls.Config) *tls.Config {
	t = t.Clone()
	t.MinVersion = tls.VersionTLS13
	t.SessionTicketsDisabled = true
	t.ClientSessionCache = nil
	t.WrapSession, t.UnwrapSession = nil, nil
	return t
}

// checkRequirement has the rules of tlsbinding.Requirement, and this mode's.
func checkRequirement(r *tlsbinding.Requirement, peer string, t *tls.Config) error {
	named := len(r.Instances) > 0 || len(r.Keys) > 0
	switch {
	case r.Verifier == nil && len(r.Issuers) == 0:
		return errors.New("neither a Verifier nor Issuers are given: nobody could appraise the peer")
	case r.Policy == nil:
		return fmt.Errorf("policy: %w", rp.ErrNoPolicy)
	case r.VerifyCertificate != nil:
		return errors.New("VerifyCertificate is given: in this mode TLS.VerifyConnection sees the peer's certificates")
	case r.MaxAge != 0 || r.ReattestEvery != 0:
		return errors.New("MaxAge or ReattestEvery is given: a peer cannot be attested again in this mode, package tlsbinding can")
	case r.InsecureAnyInstance:
		return errors.New("InsecureAnyInstance is given: any machine could relay the evidence of any other")
	case r.InsecureSkipPKI && !named:
		return errors.New("InsecureSkipPKI leaves the peer without identity: name its Instances or Keys")
	case !r.InsecureSkipPKI && peer == theClient && t.ClientCAs == nil && t.GetConfigForClient == nil:
		return errors.New("clients' certificates are validated up to TLS.ClientCAs, and there are none: name them, or set InsecureSkipPKI")
	case !r.InsecureSkipPKI && peer == theServer && t.InsecureSkipVerify:
		return errors.New("TLS.InsecureSkipVerify is given without InsecureSkipPKI")
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
	return nil
}

// checkCredential takes the key of a credential, and checks that the chain, if
// there is one, is for it.
func checkCredential(c *tlsbinding.CredentialConfig) (crypto.Signer, error) {
	signer, ok := c.Certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T does not sign", c.Certificate.PrivateKey)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot be attested", signer.Public())
	}
	if len(c.Certificate.Certificate) > 0 {
		leaf, err := x509.ParseCertificate(c.Certificate.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("the certificate: %w", err)
		}
		if !public.Equal(leaf.PublicKey) {
			return nil, errors.New("the certificate is for another key")
		}
	}
	switch {
	case c.Attester == nil && c.Passport == nil:
		return nil, errors.New("neither an Attester nor a Passport is given")
	case (c.Passport != nil) != (len(c.Verifiers) > 0):
		return nil, errors.New("a Passport needs Verifiers, the names of those who issue it, and they need a Passport")
	case c.MaxPending < 0:
		return nil, fmt.Errorf("MaxPending is %d, want at least 1", c.MaxPending)
	case slices.Contains(c.Verifiers, ""):
		return nil, errors.New("a verifier has no name")
	}
	return signer, nil
}

// isCarrier reports whether an ALPN entry is one of ours.
func isCarrier(proto string) bool { return strings.HasPrefix(proto, carrierPrefix) }
