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
	"math"
	"net/http"
	"strings"
	"sync"
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

	// chosen is what GetConfigForClient chose, nil if it did not.
	chosen atomic.Pointer[tls.Config]

	peer atomic.Pointer[Peer]
	http httpState

	mu    sync.Mutex
	ended bool // nothing counts any more
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
	// made is when it was: what the peer answers is about a later moment.
	made time.Time
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
	return &request{id: id, context: requestContext, message: message, made: time.Now()}, nil
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
		return nil, hide(string(StepEvidence), orTimeout(ctx, RefusedAttester), err)
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
		return nil, hide(string(StepSign), orTimeout(ctx, RefusedAttester), err)
	}
	return authenticator, nil
}

// orTimeout tells what failed from what was not given the time.
func orTimeout(ctx context.Context, code RefusalCode) RefusalCode {
	if ctx.Err() != nil {
		return RefusedTimeout
	}
	return code
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

// maxCMW is the longest CMW that is sent, in bytes: all extensions of a
// certificate have 65,535 together (RFC 8446, section 4.4.2), of which the
// extension's head takes four and the length of the CMW two.
const maxCMW = math.MaxUint16 - 4 - 2

// marshalCMW encodes a CMWAttestation (section 3).
func marshalCMW(data []byte) ([]byte, error) {
	if len(data) == 0 || len(data) > maxCMW {
		return nil, fmt.Errorf("a CMW of %d bytes, want 1 to %d", len(data), maxCMW)
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
	p.At = r.made
	return p, nil
}

// check is everything that needs no verifier.
func (s *session) check(r *request, message []byte) (*Peer, cmw.Record, error) {
	const step = string(StepCheck)
	if err := s.contexts.Done(r.context); err != nil {
		return nil, cmw.Record{}, protocolError(step, err)
	}
	a, err := s.exporter.Validate(s.self.Peer(), r.message, message)
	if errors.Is(err, expauth.ErrEmpty) {
		return nil, cmw.Record{}, &Error{
			Step: step, Err: &RefusalError{Code: RefusedAttester, Reason: "empty authenticator"},
			code: RefusedAttester, told: "empty authenticator",
		}
	}
	if err != nil {
		return nil, cmw.Record{}, fail(step, RefusedBinding, fmt.Errorf("%w: %w", ErrNotBound, err))
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
	if err := s.identify(p); err != nil {
		return nil, cmw.Record{}, fail(step, RefusedIdentity, fmt.Errorf("%w: %w", ErrIdentity, err))
	}
	return p, record, nil
}

// identify decides about the peer's certificates.
func (s *session) identify(p *Peer) (err error) {
	r := s.cfg.Requirement
	if !r.InsecureSkipPKI {
		if p.VerifiedChains, err = s.chains(p.Certificates); err != nil {
			return err
		}
	}
	if r.SameCertificate {
		shown := s.conn.ConnectionState().PeerCertificates
		if len(shown) == 0 || !bytes.Equal(shown[0].RawSubjectPublicKeyInfo, p.Certificates[0].RawSubjectPublicKeyInfo) {
			return errors.New("the certificate of the TLS handshake has another key")
		}
	}
	if r.VerifyCertificate != nil {
		return r.VerifyCertificate(p.Certificates, p.VerifiedChains)
	}
	return nil
}

// chains validates the certificates as TLS does.
func (s *session) chains(certificates []*x509.Certificate) ([][]*x509.Certificate, error) {
	t := s.cfg.TLS
	if chosen := s.chosen.Load(); chosen != nil {
		t = chosen
	}
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
		return nil, err
	}
	if r.opened == nil {
		r.opened = s.open(ctx, nonce)
	}
	select {
	case <-r.opened.done:
	case <-ctx.Done():
		return nil, hide(string(StepSession), RefusedTimeout, context.Cause(ctx))
	}
	if err := r.opened.err; err != nil {
		return nil, hide(string(StepSession), orTimeout(ctx, RefusedUnavailable), err)
	}
	result, err := r.opened.session.Appraise(ctx, rp.Evidence{MediaType: record.Type, Data: record.Value})
	if err != nil {
		return nil, unanswered(ctx, err)
	}
	return decided(result, decide)
}

// decided is a result that the policy accepts.
func decided(result *rp.AttestationResult, decide rp.Policy) (*rp.AttestationResult, error) {
	const step = string(StepAppraise)
	err := decide.Check(result)
	if err == nil {
		return result, nil
	}
	refused := &Error{Step: step, Err: err, code: RefusedAppraisal, told: RefusedAppraisal.String()}
	var policy *rp.PolicyError
	if errors.As(err, &policy) {
		// What it is, and not what it should be: whom else this side accepts is
		// its own affair.
		refused.told = strings.TrimPrefix(policy.Submod+": ", ": ") + policy.Claim + " is " + policy.Got
		if policy.Reason != "" {
			refused.told += " (the verifier says: " + policy.Reason + ")"
		}
	}
	return nil, refused
}

// checkNonce looks into evidence whose format is known: what is not for this
// connection does not bother the verifier, who decides.
func checkNonce(record cmw.Record, nonce []byte) error {
	if record.Type != bundle.MediaType {
		return nil
	}
	b, err := bundle.Parse(record.Value)
	if err != nil {
		return fail(string(StepAppraise), RefusedAppraisal, fmt.Errorf("the evidence: %w", err))
	}
	if err := b.CheckNonce(nonce); err != nil {
		return fail(string(StepAppraise), RefusedBinding, fmt.Errorf("%w: %w", ErrNotBound, err))
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
		var token *ear.Error
		if errors.As(err, &token) {
			return nil, &Error{
				Step: string(StepAppraise), Err: err, code: RefusedAppraisal,
				told: fmt.Sprintf("the passport is refused: %s", token.Check),
			}
		}
		if err != nil {
			return nil, unanswered(ctx, err)
		}
		return decided(result, decide)
	}
	return nil, hide(string(StepAppraise), RefusedInternal, fmt.Errorf("no issuer is called %q", s.demand.Verifier))
}

// unanswered is for evidence that got no result. The peer is told nothing about
// the way to the verifier; if it was its evidence that the verifier did not
// take, that.
func unanswered(ctx context.Context, err error) error {
	const step = string(StepAppraise)
	var problem *rp.ProblemError
	switch {
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return hide(step, RefusedTimeout, err)
	case errors.As(err, &problem):
		switch problem.Status {
		case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
			return hide(step, RefusedAppraisal, err)
		}
	}
	return hide(step, RefusedUnavailable, err)
}

// attested makes what was found out known to PeerOf, and lets the connection
// live on. It is too late if the connection has failed meanwhile.
func (s *session) attested(p *Peer) {
	if p == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.peer.Store(p)
	if limit := s.cfg.Requirement.MaxAge; limit > 0 {
		s.link.expire(max(limit-time.Since(p.At), time.Nanosecond))
	}
}

// forget takes back what was found out, for good.
func (s *session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.peer.Store(nil)
	if end := s.http.end.Load(); end != nil {
		(*end)(errNotAttested)
	}
}

var errNotAttested = errors.New("the peer is not attested any more")
