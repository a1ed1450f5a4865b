// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serverName is the name in the servers' certificates.
const serverName = "server.test"

// world is a PKI, and a verifier that knows the machines.
type world struct {
	t        testing.TB
	ca       *x509.Certificate
	caKey    *ecdsa.PrivateKey
	roots    *x509.CertPool
	verifier *embedded.Verifier
	corims   []*endorsements.Corim
	machines []*machine
}

// machine pretends to have a TPM: its TIK is a software key, and its evidence
// says otherwise. The bundles are made one at a time.
type machine struct {
	t    testing.TB
	tpm  *evidencetest.TPM
	tik  *ecdsa.PrivateKey
	cert tls.Certificate

	mu sync.Mutex
}

// newWorld has n machines.
func newWorld(t testing.TB, n int) *world {
	t.Helper()
	w := &world{t: t, roots: x509.NewCertPool()}
	w.caKey = evidencetest.ECKey(t, elliptic.P256())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, w.caKey.Public(), w.caKey)
	require.NoError(t, err)
	w.ca, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	w.roots.AddCert(w.ca)
	corim := &endorsements.Corim{ID: "world"}
	for range n {
		m := w.newMachine()
		w.machines = append(w.machines, m)
		anchor, state := m.endorse()
		corim.Anchors = append(corim.Anchors, anchor)
		corim.States = append(corim.States, state)
	}
	w.corims = []*endorsements.Corim{corim}
	w.verifier, err = embedded.New(w.corims, embedded.Config{})
	require.NoError(t, err)
	return w
}

func (w *world) newMachine() *machine {
	w.t.Helper()
	m := &machine{t: w.t, tpm: evidencetest.New(w.t), tik: evidencetest.ECKey(w.t, elliptic.P256())}
	spki, err := x509.MarshalPKIXPublicKey(m.tpm.AK.Public())
	require.NoError(w.t, err)
	sum := sha256.Sum256(spki)
	m.tpm.KID = append([]byte{1}, sum[:]...) // a UEID of type RAND
	m.tpm.TIK = evidencetest.ECPublic(w.t, &m.tik.PublicKey)
	m.cert = w.issue(m.tik)
	return m
}

// issue makes a certificate for a key, good for either side.
func (w *world) issue(key crypto.Signer) tls.Certificate {
	w.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "machine"}, DNSNames: []string{serverName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, w.ca, key.Public(), w.caKey)
	require.NoError(w.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

const class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"

func (m *machine) endorse() (endorsements.TrustAnchor, endorsements.ReferenceState) {
	m.t.Helper()
	pem, err := endorsements.MarshalKeyPEM(m.tpm.AK.Public())
	require.NoError(m.t, err)
	anchor, err := endorsements.NewTrustAnchor(class, m.tpm.KID, pem)
	require.NoError(m.t, err)
	var values []endorsements.PCRValue
	for _, b := range m.tpm.Quoted {
		bank, err := b.Alg.Hash()
		require.NoError(m.t, err)
		for _, i := range b.PCRs {
			values = append(values, endorsements.PCRValue{
				PCR: endorsements.PCR{Bank: bank, Index: i}, Digest: m.tpm.PCRs[evidencetest.PCR{Alg: b.Alg, Index: i}],
			})
		}
	}
	state, err := endorsements.NewReferenceState(class, values)
	require.NoError(m.t, err)
	return anchor, state
}

// Attest is what a TPM would say.
func (m *machine) Attest(_ context.Context, nonce []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tpm.Nonce = nonce
	return bundle.WrapCBOR(m.tpm.Bundle(m.t))
}

// extend changes a PCR, as other firmware would have.
func (m *machine) extend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for pcr := range m.tpm.PCRs {
		m.tpm.PCRs[pcr] = bytes.Repeat([]byte{0xee}, len(m.tpm.PCRs[pcr]))
		return
	}
}

func (m *machine) credential(change ...func(*CredentialConfig)) *Credential {
	m.t.Helper()
	cfg := CredentialConfig{Certificate: m.cert, Attester: m}
	for _, f := range change {
		f(&cfg)
	}
	c, err := NewCredential(cfg)
	require.NoError(m.t, err)
	return c
}

// passport is a credential that shows a result of the world's verifier.
func (w *world) passport(m *machine) func(*CredentialConfig) {
	return func(cfg *CredentialConfig) {
		cfg.Attester = nil
		cfg.Verifiers = []string{"the verifier"}
		cfg.Passport = func(ctx context.Context) (Passport, error) {
			return Passport{EAR: []byte(w.result(ctx, m).Token), Verifier: "the verifier"}, nil
		}
	}
}

// result has a machine appraised, whatever comes of it.
func (w *world) result(ctx context.Context, m *machine) *rp.AttestationResult {
	w.t.Helper()
	session, err := w.verifier.NewSession(ctx, nil)
	require.NoError(w.t, err)
	defer session.Close()
	evidence, err := m.Attest(ctx, session.Nonce())
	require.NoError(w.t, err)
	r, err := session.Appraise(ctx, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: evidence})
	require.NoError(w.t, err)
	return r
}

func (w *world) requirement(change ...func(*Requirement)) *Requirement {
	r := &Requirement{Verifier: w.verifier, Policy: policy.Affirming()}
	for _, f := range change {
		f(r)
	}
	return r
}

// byPassport asks for passports instead.
func (w *world) byPassport(r *Requirement) {
	r.Verifier = nil
	r.Issuers = []Issuer{{Name: "the verifier", Keys: ear.Pin(w.verifier.Key()), MaxAge: time.Minute}}
}

// client and server are configurations with a PKI. The server's certificate is
// a software key's, as it usually is.
func (w *world) client(c *Credential, r *Requirement) *Config {
	return &Config{
		TLS:        &tls.Config{RootCAs: w.roots, ServerName: serverName},
		Credential: c, Requirement: r, Timeout: 20 * time.Second,
	}
}

func (w *world) server(c *Credential, r *Requirement) *Config {
	return &Config{
		TLS: &tls.Config{
			Certificates: []tls.Certificate{w.issue(evidencetest.ECKey(w.t, elliptic.P256()))},
			ClientCAs:    w.roots,
		},
		Credential: c, Requirement: r, Timeout: 20 * time.Second,
	}
}

// pipe is a TCP connection over loopback.
func pipe(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// ends are both ends of a handshake.
type ends struct {
	client, server       *tls.Conn
	clientErr, serverErr error
}

// connect does both halves of a handshake.
func connect(t testing.TB, client, server *Config) ends {
	t.Helper()
	c, s := pipe(t)
	return over(t, c, s, client, server)
}

func over(t testing.TB, c, s net.Conn, client, server *Config) (e ends) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() { e.server, e.serverErr = Server(context.Background(), s, server) })
	e.client, e.clientErr = Client(context.Background(), c, client)
	wg.Wait()
	return e
}

// talk sends a line in each direction.
func talk(t testing.TB, a, b net.Conn) {
	t.Helper()
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		_, err := pair[0].Write([]byte("hello"))
		require.NoError(t, err)
		got := make([]byte, 5)
		require.NoError(t, pair[1].SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err = readFull(pair[1], got)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
	}
}

func readFull(c net.Conn, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := c.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
