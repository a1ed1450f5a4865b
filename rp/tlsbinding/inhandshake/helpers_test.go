// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is a platform whose TPM is pretended and whose TLS key is in software:
// its evidence says otherwise unless a test changes it.
type machine struct {
	t   testing.TB
	mu  sync.Mutex
	tpm *evidencetest.TPM
	key *ecdsa.PrivateKey
	// nonces are those that were attested.
	nonces [][]byte
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{t: t, tpm: evidencetest.New(t), key: evidencetest.ECKey(t, elliptic.P256())}
	m.tpm.TIK = evidencetest.ECPublic(t, &m.key.PublicKey)
	_, _ = rand.Read(m.tpm.KID[1:])
	return m
}

func (m *machine) Attest(_ context.Context, nonce []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nonces = append(m.nonces, nonce)
	m.tpm.Nonce = nonce
	return bundle.WrapCBOR(m.tpm.Bundle(m.t))
}

// corim is what the owner endorses: good until the machine changes.
func (m *machine) corim() *endorsements.Corim {
	m.t.Helper()
	const class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	pem, err := endorsements.MarshalKeyPEM(m.tpm.AK.Public())
	require.NoError(m.t, err)
	anchor, err := endorsements.NewTrustAnchor(class, m.tpm.KID, pem)
	require.NoError(m.t, err)
	var values []endorsements.PCRValue
	for pcr, digest := range m.tpm.PCRs {
		bank, err := pcr.Alg.Hash()
		require.NoError(m.t, err)
		values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: pcr.Index}, Digest: digest})
	}
	state, err := endorsements.NewReferenceState(class, values)
	require.NoError(m.t, err)
	return &endorsements.Corim{ID: "test", Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state}}
}

// credential is the machine's, without a chain.
func (m *machine) credential() *tlsbinding.CredentialConfig {
	return &tlsbinding.CredentialConfig{Certificate: tls.Certificate{PrivateKey: m.key}, Attester: m}
}

// verifier counts the sessions that are open.
type verifier struct {
	*embedded.Verifier
	opened, open atomic.Int32
}

func newVerifier(t testing.TB, machines ...*machine) *verifier {
	t.Helper()
	var corims []*endorsements.Corim
	for _, m := range machines {
		corims = append(corims, m.corim())
	}
	v, err := embedded.New(corims, embedded.Config{})
	require.NoError(t, err)
	return &verifier{Verifier: v}
}

func (v *verifier) NewSession(ctx context.Context, nonce []byte) (rp.Session, error) {
	s, err := v.Verifier.NewSession(ctx, nonce)
	if err != nil {
		return nil, err
	}
	v.opened.Add(1)
	v.open.Add(1)
	return &countedSession{Session: s, v: v}, nil
}

type countedSession struct {
	rp.Session
	v    *verifier
	once sync.Once
}

func (s *countedSession) Close() error {
	s.once.Do(func() { s.v.open.Add(-1) })
	return s.Session.Close()
}

// requireClosed waits until every session is closed.
func (v *verifier) requireClosed(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return v.open.Load() == 0 }, 5*time.Second, time.Millisecond, "a session stays open")
}

// passport has the verifier appraise the machine beforehand.
func (m *machine) passport(v rp.Verifier) func(context.Context) (tlsbinding.Passport, error) {
	return func(ctx context.Context) (tlsbinding.Passport, error) {
		s, err := v.NewSession(ctx, nil)
		if err != nil {
			return tlsbinding.Passport{}, err
		}
		defer s.Close()
		record, err := m.Attest(ctx, s.Nonce())
		if err != nil {
			return tlsbinding.Passport{}, err
		}
		r, err := s.Appraise(ctx, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: record})
		if err != nil {
			return tlsbinding.Passport{}, err
		}
		return tlsbinding.Passport{EAR: []byte(r.Token), Verifier: "embedded"}, nil
	}
}

func (v *verifier) issuer() tlsbinding.Issuer {
	return tlsbinding.Issuer{Name: "embedded", Keys: ear.Pin(v.Key()), MaxAge: time.Minute}
}

// require demands evidence of one of the machines, known by its AK.
func requirement(v rp.Verifier, machines ...*machine) *tlsbinding.Requirement {
	r := &tlsbinding.Requirement{Verifier: v, Policy: policy.Affirming(), InsecureSkipPKI: true}
	for _, m := range machines {
		r.Instances = append(r.Instances, m.tpm.KID)
	}
	return r
}

// authority is a CA.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, key: evidencetest.ECKey(t, elliptic.P256())}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate for a server and client named example.test.
func (a *authority) issue(key crypto.Signer) tls.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "example"}, DNSNames: []string{"example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// outcome is how a handshake ended, at one end.
type outcome struct {
	state tls.ConnectionState
	err   error
}

// serve completes handshakes, and echoes what comes then.
func serve(t testing.TB, cfg *tls.Config) (addr string, outcomes <-chan outcome) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	all := make(chan outcome, 64)
	wg.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer raw.Close()
				_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
				c := tls.Server(raw, cfg)
				err := c.HandshakeContext(context.Background())
				select {
				case all <- outcome{c.ConnectionState(), err}:
				default: // a benchmark does not look
				}
				if err == nil {
					_, _ = io.Copy(c, c)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String(), all
}

// echo proves that a connection carries data both ways. In TLS 1.3 a client
// learns only now that the server refuses it.
func echo(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	b := make([]byte, 5)
	_, err := io.ReadFull(c, b)
	return err
}

func newServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	cfg.InsecureAcceptRelay = true
	if cfg.TLS == nil {
		cfg.TLS = &tls.Config{}
	}
	s, err := NewServer(cfg)
	require.NoError(t, err)
	return s
}

func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	cfg.InsecureAcceptRelay = true
	if cfg.TLS == nil {
		cfg.TLS = &tls.Config{}
	}
	c, err := NewClient(cfg)
	require.NoError(t, err)
	return c
}

// ends is what both ends of a connection know in the end.
type ends struct {
	conn        net.Conn
	clientErr   error
	server      outcome
	fromServer  *Peer // the client, as the server sees it
	fromClient  *Peer // the server, as the client sees it
	clientState tls.ConnectionState
}

// connect makes one connection, and uses it.
func connect(t testing.TB, c *Client, s *Server) ends {
	t.Helper()
	addr, outcomes := serve(t, s.TLSConfig())
	var e ends
	e.conn, e.clientErr = c.Dial(t.Context(), "tcp", addr)
	if e.clientErr == nil {
		t.Cleanup(func() { e.conn.Close() })
		e.clientErr = echo(e.conn)
		e.clientState = e.conn.(*tls.Conn).ConnectionState()
		e.fromClient, _ = c.PeerOf(e.clientState)
		if e.clientErr != nil {
			e.conn.Close()
		}
	}
	select {
	case e.server = <-outcomes:
	case <-time.After(10 * time.Second):
		t.Fatal("the server's handshake does not end")
	}
	e.fromServer, _ = s.PeerOf(e.server.state)
	return e
}

func (e *ends) requireGood(t testing.TB) {
	t.Helper()
	require.NoError(t, e.clientErr)
	require.NoError(t, e.server.err)
}

// namePool has names and no keys.
func namePool(names [][]byte) *x509.CertPool {
	p := x509.NewCertPool()
	for _, name := range names {
		p.AddCert(&x509.Certificate{Raw: name, RawSubject: name})
	}
	return p
}
