// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// limit is how long a connection may take.
const limit = 20 * time.Second

// connections is what both ends of the demo's connections have.
type connections struct {
	p *printer
	m *machines
	// tlsKey is the server's for TLS, in memory as it mostly is: it may leak.
	tlsKey      tls.Certificate
	requirement *tlsbinding.Requirement
}

func showConnections(ctx context.Context, p *printer, m *machines, d *deployment.Deployment) (err error) {
	key, err := ear.NewKey(d.PublicKey())
	if err != nil {
		return fmt.Errorf("reading Veraison's key: %w", err)
	}
	veraison, err := rp.NewVeraison(d.VerificationURL(), ear.Pin(key), rp.Config{InsecureHTTP: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, veraison.Close()) }()
	c := &connections{p: p, m: m, requirement: &tlsbinding.Requirement{Verifier: veraison, Policy: policy.Affirming()}}
	if c.tlsKey, err = m.ca.SoftwareKey(); err != nil {
		return err
	}
	for _, show := range []func(context.Context) error{c.server, c.mutual, c.relay, c.replay, c.change} {
		if err := show(ctx); err != nil {
			return err
		}
	}
	return nil
}

// serverConfig and clientConfig are of sides that nothing is asked of, but what
// TLS asks.
func (c *connections) serverConfig() *tlsbinding.Config {
	return &tlsbinding.Config{
		TLS:     &tls.Config{Certificates: []tls.Certificate{c.tlsKey}, ClientCAs: c.m.ca.Roots(), NextProtos: tlsbinding.NextProtos()},
		Timeout: limit,
	}
}

func (c *connections) clientConfig() *tlsbinding.Config {
	return &tlsbinding.Config{
		TLS:     &tls.Config{RootCAs: c.m.ca.Roots(), NextProtos: tlsbinding.NextProtos()},
		Timeout: limit,
	}
}

func credential(m *site.Machine, a tlsbinding.Attester) (*tlsbinding.Credential, error) {
	return tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: m.Certificate, Attester: a})
}

// attesting are the configurations of a server that attests with a's evidence,
// and of a client that demands it.
func (c *connections) attesting(a tlsbinding.Attester) (client, server *tlsbinding.Config, err error) {
	client, server = c.clientConfig(), c.serverConfig()
	client.Requirement = c.requirement
	server.Credential, err = credential(c.m.server, a)
	return client, server, err
}

func (c *connections) server(ctx context.Context) error {
	c.p.step("an attested connection: the client has Veraison appraise the server, over HTTP/2")
	client, server, err := c.attesting(c.m.server)
	if err != nil {
		return err
	}
	return c.get(ctx, client, server, false)
}

func (c *connections) mutual(ctx context.Context) error {
	c.p.step("mutual attestation: the server has the client appraised, too")
	client, server, err := c.attesting(c.m.server)
	if err != nil {
		return err
	}
	if client.Credential, err = credential(c.m.client, c.m.client); err != nil {
		return err
	}
	server.Requirement = c.requirement
	return c.get(ctx, client, server, true)
}

// get serves one request, and prints what either side knows of the other.
func (c *connections) get(ctx context.Context, client, server *tlsbinding.Config, mutual bool) (err error) {
	steps := newTimeline()
	client.Trace, server.Trace = steps.trace("client"), steps.trace("server")
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listener, err := tlsbinding.NewListener(inner, server)
	if err != nil {
		return errors.Join(err, inner.Close())
	}
	service := &http.Server{Handler: http.HandlerFunc(greet), ReadHeaderTimeout: limit}
	tlsbinding.HookServer(service)
	go func() { _ = service.Serve(listener) }() // it ends with Close
	defer func() { err = errors.Join(err, service.Close()) }()

	transport, err := tlsbinding.NewTransport(client, nil)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+listener.Addr().String()+"/", nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	c.p.line("GET %s: %s %s", request.URL, response.Proto, response.Status)
	if response.ProtoMajor != 2 || response.StatusCode != http.StatusOK {
		return errors.New("the answer is not what it must be")
	}
	peer, ok := tlsbinding.PeerFromContext(response.Request.Context())
	if !ok || !same(c.m.server.TIK().Public(), peer.Key()) {
		return errors.New("the client does not know the server's machine")
	}
	c.p.line("the client knows of the server: %s", known(peer, ok))
	c.p.line("the server knows of the client: %s", body)
	if mutual {
		if !strings.Contains(string(body), short(c.m.client.TIK().Public())) {
			return errors.New("the server does not know the client's machine")
		}
		c.p.line("(both have the same simulated TPM, whose signatures take turns)")
	}
	steps.print(c.p)
	return nil
}

// greet tells a client who it is.
func greet(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, known(tlsbinding.PeerFromContext(r.Context())))
}

func known(peer *tlsbinding.Peer, ok bool) string {
	if !ok {
		return "nothing, it did not have to attest"
	}
	return fmt.Sprintf("%v by %v, TIK %s", peer.Result.Status, peer.Offer.Model, short(peer.Key()))
}

// short is a fingerprint's beginning.
func short(key crypto.PublicKey) string { return fmt.Sprintf("%.23s…", fingerprint(key)) }

// ends are what a connection that fails ends with.
type ends struct{ client, server error }

// connect makes a connection and closes it. between, unless nil, is where the
// client arrives instead of the server.
func connect(ctx context.Context, client, server *tlsbinding.Config, between func(address string) (net.Listener, error)) (e ends, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	address := l.Addr().String()
	if between != nil {
		middle, err := between(address)
		if err != nil {
			return e, err
		}
		defer func() { err = errors.Join(err, middle.Close()) }()
		address = middle.Addr().String()
	}
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			var accepted *tls.Conn
			if accepted, err = tlsbinding.Server(ctx, conn, server); err == nil {
				_, err = io.Copy(io.Discard, accepted)
				err = errors.Join(err, accepted.Close())
			}
		}
		served <- err
	}()
	conn, clientErr := tlsbinding.Dial(ctx, "tcp", address, client)
	if clientErr == nil {
		clientErr = conn.Close()
	}
	select {
	case serverErr := <-served:
		return ends{clientErr, serverErr}, nil
	case <-time.After(2 * limit):
		return e, errors.New("the server's end of the connection does not come to an end")
	}
}

// refused prints a connection that must have failed, at both ends: the client
// for the wanted reason, the server because the client said so.
func (c *connections) refused(e ends, want error, code tlsbinding.RefusalCode) error {
	c.p.line("client: %v", e.client)
	c.p.line("server: %v", e.server)
	var told *tlsbinding.RefusalError
	switch {
	case e.client == nil || e.server == nil:
		return errors.New("what must be refused was accepted")
	case !errors.As(e.server, &told) || told.Code != code:
		return fmt.Errorf("the server was not told the reason (%v)", code)
	case want != nil && !errors.Is(e.client, want):
		return fmt.Errorf("the client refuses for another reason than %w", want)
	}
	return nil
}

func (c *connections) relay(ctx context.Context) error {
	c.p.step("refusal 3: a man in the middle has the server's TLS key, and relays what the genuine machine says")
	client, server, err := c.attesting(c.m.server)
	if err != nil {
		return err
	}
	e, err := connect(ctx, client, server, func(address string) (net.Listener, error) {
		return relay(address, c.tlsKey, c.m.ca.Roots())
	})
	if err != nil {
		return err
	}
	return c.refused(e, tlsbinding.ErrNotBound, tlsbinding.RefusedBinding)
}

func (c *connections) replay(ctx context.Context) error {
	c.p.step("refusal 4: the server answers with evidence of a connection before")
	record := &recorder{Attester: c.m.server}
	client, server, err := c.attesting(record)
	if err != nil {
		return err
	}
	e, err := connect(ctx, client, server, nil)
	if err := errors.Join(err, e.client, e.server); err != nil {
		return fmt.Errorf("the connection before: %w", err)
	}
	e, err = connect(ctx, client, server, nil)
	if err != nil {
		return err
	}
	return c.refused(e, tlsbinding.ErrNotBound, tlsbinding.RefusedBinding)
}

// recorder gives the evidence that it was asked for first to all who ask.
type recorder struct {
	tlsbinding.Attester
	first []byte
}

func (r *recorder) Attest(ctx context.Context, nonce []byte) ([]byte, error) {
	if r.first != nil {
		return r.first, nil
	}
	var err error
	r.first, err = r.Attester.Attest(ctx, nonce)
	return r.first, err
}

func (c *connections) change(ctx context.Context) error {
	c.p.step("refusal 5: PCR %d of the server's machine was extended, as other firmware would have", extended)
	if err := c.m.change(ctx); err != nil {
		return fmt.Errorf("extending a PCR: %w", err)
	}
	client, server, err := c.attesting(c.m.server)
	if err != nil {
		return err
	}
	e, err := connect(ctx, client, server, nil)
	if err != nil {
		return err
	}
	if err := c.refused(e, nil, tlsbinding.RefusedAppraisal); err != nil {
		return err
	}
	var policyError *rp.PolicyError
	if !errors.As(e.client, &policyError) {
		return errors.New("the client refuses for another reason than its policy")
	}
	return nil
}
