// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
)

// The binding of draft-fossati-seat-expat-04, section 5.1.
const (
	exporterLabel = "EXPORTER-cmw-attestation"
	exporterSize  = 32
	// extensionCMW is cmw_attestation (section 3). It has no code point yet;
	// this one is for private use (RFC 8446, section 11).
	extensionCMW = 0xff00
)

// session is a connection that was negotiated: what an attestation over it
// needs, the first and each later one.
type session struct {
	cfg      *Config
	self     expauth.Role
	conn     *tls.Conn
	link     *link
	exporter *expauth.Connection
	contexts expauth.Contexts

	// show is how this side attests, demand how the peer has to; zero if not.
	show, demand Offer

	peer atomic.Pointer[Peer]
	http httpState
}

// binding is the nonce of the evidence for a request: it is about this
// connection, this request and this key. spki is the DER SubjectPublicKeyInfo of
// the authenticator's end-entity certificate, as it stands there.
func binding(c *expauth.Connection, requestContext, spki []byte) ([]byte, error) {
	exported, err := c.Export(exporterLabel, requestContext, exporterSize)
	if err != nil {
		return nil, fmt.Errorf("exporting the binding: %w", err)
	}
	h := c.Hash().New()
	h.Write(spki)
	h.Write(exported)
	return h.Sum(nil), nil
}

// request is a challenge to the peer, and what was prepared for its answer.
type request struct {
	id      uint16
	context []byte
	message []byte
	// opened is the verifier session that is being opened for the key that
	// the peer announced, nil if there is none.
	opened *opening
	spki   []byte
}

// newRequest makes a challenge.
func (s *session) newRequest(id uint16) (*request, error) {
	requestContext, err := s.contexts.New()
	if err != nil {
		return nil, err
	}
	r := expauth.Request{
		From:                 s.self,
		Context:              requestContext,
		SignatureSchemes:     expauth.SignatureSchemes(),
		SignatureSchemesCert: expauth.CertificateSignatureSchemes(),
		Extensions:           []expauth.Extension{{Type: extensionCMW}},
	}
	message, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	return &request{id: id, context: requestContext, message: message}, nil
}

// opening is a verifier session that is being opened.
type opening struct {
	nonce   []byte
	done    chan struct{}
	session rp.Session
	err     error
	cancel  context.CancelFunc
}

func (s *session) open(ctx context.Context, nonce []byte) *opening {
	ctx, cancel := context.WithCancel(ctx)
	o := &opening{nonce: nonce, done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(o.done)
		end := s.cfg.Trace.begin(StepSession)
		o.session, o.err = s.cfg.Requirement.Verifier.NewSession(ctx, nonce)
		if o.err == nil && !bytes.Equal(o.session.Nonce(), nonce) {
			o.err = errors.Join(errors.New("the verifier's session has another nonce"), o.session.Close())
		}
		end(o.err)
	}()
	return o
}

// close waits for the opening, and gives the session up.
func (o *opening) close() {
	if o == nil {
		return
	}
	o.cancel()
	<-o.done
	if o.session != nil {
		_ = o.session.Close() // a session that nobody waits for
	}
}

// announced begins to ask the verifier for a session, while the peer makes the
// evidence for it.
func (s *session) announced(ctx context.Context, r *request, spki []byte) error {
	r.spki = spki
	if s.demand.Model != BackgroundCheck || len(spki) == 0 {
		return nil
	}
	nonce, err := binding(s.exporter, r.context, spki)
	if err != nil {
		return err
	}
	r.opened = s.open(ctx, nonce)
	return nil
}

// attest answers the peer's request.
func (s *session) attest(ctx context.Context, message []byte) ([]byte, error) {
	defer s.link.work()()
	if s.show == (Offer{}) {
		return nil, protocolError("reading the peer's request", errors.New("a request to a side that has nothing to show"))
	}
	r, err := expauth.ParseRequest(message)
	if err != nil {
		return nil, protocolError("reading the peer's request", err)
	}
	if r.From != s.self.Peer() {
		return nil, protocolError("reading the peer's request", errors.New("it is one of this side's own kind"))
	}
	if err := checkAsks(r); err != nil {
		return nil, protocolError("reading the peer's request", err)
	}
	if err := s.contexts.Take(r.Context); err != nil {
		return nil, protocolError("reading the peer's request", err)
	}
	c := s.cfg.Credential
	release, err := c.enter()
	if err != nil {
		return nil, err
	}
	defer release()

	end := s.cfg.Trace.begin(StepEvidence)
	evidence, err := s.credentials(ctx, r.Context)
	end(err)
	if err != nil {
		return nil, hide(string(StepEvidence), RefusedAttester, err)
	}
	data, err := marshalCMW(evidence)
	if err != nil {
		return nil, hide(string(StepEvidence), RefusedAttester, err)
	}
	end = s.cfg.Trace.begin(StepSign)
	authenticator, err := s.exporter.Authenticate(ctx, s.self, message, &expauth.Credential{
		Chain: c.chain, Signer: c.signer, SignatureSchemes: c.schemes,
		Extensions: []expauth.Extension{{Type: extensionCMW, Data: data}},
	})
	end(err)
	if err != nil {
		return nil, hide(string(StepSign), RefusedAttester, err)
	}
	return authenticator, nil
}

// checkAsks finds the empty extension that asks for attestation (section 3.1).
func checkAsks(r *expauth.Request) error {
	for _, e := range r.Extensions {
		if e.Type == extensionCMW {
			if len(e.Data) > 0 {
				return errors.New("its cmw_attestation extension is not empty")
			}
			return nil
		}
	}
	return errors.New("it does not ask for attestation")
}

// credentials are the attestation credentials, as a CMW.
func (s *session) credentials(ctx context.Context, requestContext []byte) ([]byte, error) {
	c := s.cfg.Credential
	if s.show.Model == BackgroundCheck {
		nonce, err := binding(s.exporter, requestContext, c.spki)
		if err != nil {
			return nil, err
		}
		return c.attester.Attest(ctx, nonce)
	}
	p, err := c.passport(ctx)
	if err != nil {
		return nil, err
	}
	if p.Verifier != s.show.Verifier {
		return nil, fmt.Errorf("the passport is by %.255q, the peer was offered one by %.255q", p.Verifier, s.show.Verifier)
	}
	return cmw.Record{Type: MediaTypeEAR, Value: p.EAR, Indicator: cmw.AttestationResults}.EncodeCBOR(), nil
}

// marshalCMW encodes a CMWAttestation (section 3).
func marshalCMW(data []byte) ([]byte, error) {
	if len(data) == 0 || len(data) > cmw.MaxSize-2 {
		return nil, fmt.Errorf("a CMW of %d bytes, want 1 to %d", len(data), cmw.MaxSize-2)
	}
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data) })
	return b.Bytes()
}

func unmarshalCMW(extensions []expauth.Extension) (cmw.Record, error) {
	var found *expauth.Extension
	for i, e := range extensions {
		if e.Type == extensionCMW {
			found = &extensions[i]
		}
	}
	if found == nil {
		return cmw.Record{}, errors.New("the certificate comes without attestation")
	}
	s := cryptobyte.String(found.Data)
	var data cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&data) || !s.Empty() || len(data) == 0 {
		return cmw.Record{}, errors.New("the cmw_attestation extension is malformed")
	}
	return cmw.Decode(data)
}

// verify decides about the peer by its answer to a request. It returns a Peer
// if and only if everything that the Requirement asks for holds.
func (s *session) verify(ctx context.Context, r *request, message []byte) (*Peer, error) {
	defer s.link.work()()
	end := s.cfg.Trace.begin(StepCheck)
	p, record, err := s.check(r, message)
	end(err)
	if err != nil {
		return nil, err
	}
	end = s.cfg.Trace.begin(StepAppraise)
	p.Result, err = s.appraise(ctx, r, p, record)
	end(err)
	if err != nil {
		return nil, err
	}
	p.At = time.Now()
	return p, nil
}

// check is everything that needs no verifier.
func (s *session) check(r *request, message []byte) (*Peer, cmw.Record, error) {
	const step = string(StepCheck)
	if err := s.contexts.Done(r.context); err != nil {
		return nil, cmw.Record{}, protocolError(step, err)
	}
	a, err := s.exporter.Validate(s.self.Peer(), r.message, message)
	if err != nil {
		return nil, cmw.Record{}, fail(step, RefusedBinding, fmt.Errorf("%w: %w", ErrNotBound, err))
	}
	if a.Empty {
		return nil, cmw.Record{}, fail(step, RefusedBinding, fmt.Errorf("%w: the authenticator is empty", ErrNotBound))
	}
	record, err := unmarshalCMW(a.Extensions)
	if err != nil {
		return nil, cmw.Record{}, protocolError(step, err)
	}
	want := cmw.Evidence
	if s.demand.Model == PassportModel {
		want = cmw.AttestationResults
	}
	if record.Type != s.demand.Type || record.Indicator&want == 0 {
		return nil, cmw.Record{}, protocolError(step, fmt.Errorf("what is attested with is %.100q (indicator %d), agreed was %v",
			record.Type, record.Indicator, s.demand))
	}
	leaf := a.Certificates[0]
	if r.spki != nil && !bytes.Equal(r.spki, leaf.RawSubjectPublicKeyInfo) {
		return nil, cmw.Record{}, fail(step, RefusedBinding, fmt.Errorf("%w: the peer announced another key", ErrNotBound))
	}
	p := &Peer{Offer: s.demand, Certificates: a.Certificates}
	if !s.cfg.Requirement.InsecureSkipPKI {
		if p.VerifiedChains, err = s.chains(a.Certificates); err != nil {
			return nil, cmw.Record{}, fail(step, RefusedIdentity, fmt.Errorf("%w: %w", ErrIdentity, err))
		}
	}
	return p, record, nil
}

// chains validates the certificates as TLS does.
func (s *session) chains(certificates []*x509.Certificate) ([][]*x509.Certificate, error) {
	t := s.cfg.TLS
	o := x509.VerifyOptions{Intermediates: x509.NewCertPool()}
	for _, c := range certificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if t.Time != nil {
		o.CurrentTime = t.Time()
	}
	if s.self == expauth.Client {
		o.Roots, o.DNSName = t.RootCAs, t.ServerName
		o.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	} else {
		o.Roots = t.ClientCAs
		o.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	return certificates[0].Verify(o)
}

// appraise has the verifier and the policy decide.
func (s *session) appraise(ctx context.Context, r *request, p *Peer, record cmw.Record) (*rp.AttestationResult, error) {
	decide := s.cfg.Requirement.policy(p.Key())
	if s.demand.Model == PassportModel {
		return s.appraisePassport(ctx, record, decide)
	}
	nonce, err := binding(s.exporter, r.context, p.Certificates[0].RawSubjectPublicKeyInfo)
	if err != nil {
		return nil, hide(string(StepAppraise), RefusedInternal, err)
	}
	if err := checkNonce(record, nonce); err != nil {
		return nil, fail(string(StepAppraise), RefusedBinding, err)
	}
	if r.opened == nil {
		r.opened = s.open(ctx, nonce)
	}
	select {
	case <-r.opened.done:
	case <-ctx.Done():
		return nil, hide(string(StepSession), RefusedTimeout, ctx.Err())
	}
	if err := r.opened.err; err != nil {
		return nil, hide(string(StepSession), RefusedUnavailable, err)
	}
	result, err := rp.Appraise(ctx, r.opened.session, rp.Evidence{MediaType: record.Type, Data: record.Value}, decide)
	if err != nil {
		return nil, refusedBy(err)
	}
	return result, nil
}

// checkNonce looks into evidence whose format is known: what is not for this
// connection does not bother the verifier, who decides.
func checkNonce(record cmw.Record, nonce []byte) error {
	if record.Type != bundle.MediaType {
		return nil
	}
	b, err := bundle.Parse(record.Value)
	if err != nil {
		return fmt.Errorf("the evidence: %w", err)
	}
	if err := b.CheckNonce(nonce); err != nil {
		return fmt.Errorf("%w: %w", ErrNotBound, err)
	}
	return nil
}

func (s *session) appraisePassport(ctx context.Context, record cmw.Record, decide rp.Policy) (*rp.AttestationResult, error) {
	for _, issuer := range s.cfg.Requirement.Issuers {
		if issuer.Name != s.demand.Verifier {
			continue
		}
		result, err := ear.Verify(ctx, string(record.Value), issuer.Keys,
			ear.Expectations{MaxAge: issuer.MaxAge, Verifier: issuer.ID, Skew: issuer.Skew})
		if err != nil {
			return nil, refusedBy(err)
		}
		if err := decide.Check(result); err != nil {
			return nil, refusedBy(err)
		}
		return result, nil
	}
	return nil, hide(string(StepAppraise), RefusedInternal, fmt.Errorf("no issuer is called %q", s.demand.Verifier))
}

// refusedBy tells apart who says no. The peer is told what a policy or a
// result's own defect is, and nothing about the way to the verifier.
func refusedBy(err error) error {
	const step = string(StepAppraise)
	var (
		policy  *rp.PolicyError
		token   *ear.Error
		problem *rp.ProblemError
	)
	switch {
	case errors.As(err, &policy), errors.As(err, &token):
		return fail(step, RefusedAppraisal, err)
	case errors.As(err, &problem) && problem.Status >= 400 && problem.Status < 500:
		return hide(step, RefusedAppraisal, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return hide(step, RefusedTimeout, err)
	}
	return hide(step, RefusedUnavailable, err)
}

// attested makes what was found out known to PeerOf, and lets the connection
// live on.
func (s *session) attested(p *Peer) {
	if p == nil {
		return
	}
	s.peer.Store(p)
	s.link.expire(s.cfg.Requirement.MaxAge)
}
