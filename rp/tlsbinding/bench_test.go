// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package tlsbinding

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
)

// prepared is a machine whose TPM and verifier cost nothing: evidence and result
// were made before, and just the nonce of the evidence is the connection's. What
// remains is the protocol's cost, and that of a result's verification.
type prepared struct {
	*machine
	evidence, nonce []byte
	result          *rp.AttestationResult
	verifier        *embedded.Verifier
}

func prepare(w *world, m *machine) *prepared {
	p := &prepared{machine: m, nonce: bytes.Repeat([]byte("nonce..."), 4), verifier: w.verifier}
	var err error
	p.evidence, err = m.Attest(context.Background(), p.nonce)
	require.NoError(w.t, err)
	require.Equal(w.t, 2, bytes.Count(p.evidence, p.nonce))
	p.result = w.result(context.Background(), m)
	return p
}

func (p *prepared) Attest(_ context.Context, nonce []byte) ([]byte, error) {
	if len(nonce) != len(p.nonce) {
		return nil, fmt.Errorf("a nonce of %d bytes; this is for %d", len(nonce), len(p.nonce))
	}
	return bytes.ReplaceAll(p.evidence, p.nonce, nonce), nil
}

func (p *prepared) credential(change ...func(*CredentialConfig)) *Credential {
	cfg := CredentialConfig{Certificate: p.cert, Attester: p}
	for _, f := range change {
		f(&cfg)
	}
	c, err := NewCredential(cfg)
	require.NoError(p.t, err)
	return c
}

func (p *prepared) passport(cfg *CredentialConfig) {
	cfg.Attester, cfg.Verifiers = nil, []string{"the verifier"}
	cfg.Passport = func(context.Context) (Passport, error) {
		return Passport{EAR: []byte(p.result.Token), Verifier: "the verifier"}, nil
	}
}

// NewSession makes p the verifier of its own evidence.
func (p *prepared) NewSession(_ context.Context, nonce []byte) (rp.Session, error) {
	return &preparedSession{p: p, nonce: nonce}, nil
}

type preparedSession struct {
	p     *prepared
	nonce []byte
}

func (s *preparedSession) Nonce() []byte   { return s.nonce }
func (*preparedSession) Accept() []string  { return nil }
func (*preparedSession) Expiry() time.Time { return time.Time{} }
func (*preparedSession) Close() error      { return nil }
func (s *preparedSession) Appraise(ctx context.Context, _ rp.Evidence) (*rp.AttestationResult, error) {
	return ear.Verify(ctx, s.p.result.Token, ear.Pin(s.p.verifier.Key()), ear.Expectations{Nonce: s.p.result.Nonce})
}

// dialer makes connections over loopback, one end after the other.
type dialer struct {
	t testing.TB
	l net.Listener
}

func newDialer(t testing.TB) *dialer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return &dialer{t, l}
}

func (d *dialer) pair() (client, server net.Conn) {
	client, err := net.Dial("tcp", d.l.Addr().String())
	require.NoError(d.t, err)
	server, err = d.l.Accept()
	require.NoError(d.t, err)
	// Closed connections leave no ports in TIME_WAIT, of which there are 28,000.
	require.NoError(d.t, client.(*net.TCPConn).SetLinger(0))
	return client, server
}

const mutualTLS = "mutual TLS"

// handshakeOf is a way to make a connection.
type handshakeOf struct {
	name           string
	client, server func(net.Conn) (*tls.Conn, error)
}

// handshakes has them all, the plain ones first.
func handshakes(b *testing.B) []handshakeOf {
	w := newWorld(b, 2)
	onServer, onClient := prepare(w, w.machines[0]), prepare(w, w.machines[1])
	byBackgroundCheck := func(p *prepared) *Requirement {
		return w.requirement(func(r *Requirement) { r.Verifier = p })
	}
	client, server := w.client(nil, nil).TLS, w.server(nil, nil).TLS
	withCertificate, verifying := client.Clone(), server.Clone()
	withCertificate.Certificates = []tls.Certificate{onClient.cert}
	verifying.ClientAuth = tls.RequireAndVerifyClientCert
	return []handshakeOf{
		{"TLS", plainSide(tls.Client, client), plainSide(tls.Server, server)},
		{mutualTLS, plainSide(tls.Client, withCertificate), plainSide(tls.Server, verifying)},
		{"server attests", attestedSide(Client, w.client(nil, byBackgroundCheck(onServer))), attestedSide(Server, w.server(onServer.credential(), nil))},
		{"client attests", attestedSide(Client, w.client(onClient.credential(), nil)), attestedSide(Server, w.server(nil, byBackgroundCheck(onClient)))},
		{
			"both attest",
			attestedSide(Client, w.client(onClient.credential(), byBackgroundCheck(onServer))),
			attestedSide(Server, w.server(onServer.credential(), byBackgroundCheck(onClient))),
		},
		{
			"server shows passport",
			attestedSide(Client, w.client(nil, w.requirement(w.byPassport))),
			attestedSide(Server, w.server(onServer.credential(onServer.passport), nil)),
		},
		{
			"both show passports",
			attestedSide(Client, w.client(onClient.credential(onClient.passport), w.requirement(w.byPassport))),
			attestedSide(Server, w.server(onServer.credential(onServer.passport), w.requirement(w.byPassport))),
		},
	}
}

// BenchmarkHandshake is the protocol's own cost beside that of plain TLS, with
// software keys, ECDSA on P-256 everywhere: both ends in one process, over
// loopback, TCP's handshake included. cpu-ns/op is the processor time of both
// ends, and x-mutual how often that of mutual TLS it is: the two take turns, so
// that whatever else the machine does concerns both.
func BenchmarkHandshake(b *testing.B) {
	const turn = 16
	all := handshakes(b)
	mutual := all[slices.IndexFunc(all, func(h handshakeOf) bool { return h.name == mutualTLS })]
	for _, h := range all {
		b.Run(h.name, func(b *testing.B) {
			d := newDialer(b)
			var own, mutuals time.Duration
			turns := 0
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%turn == 0 {
					b.StopTimer()
					before := cpuTime(b)
					for range turn {
						mutual.run(b, d)
					}
					mutuals += cpuTime(b) - before
					turns++
					b.StartTimer()
				}
				before := cpuTime(b)
				h.run(b, d)
				own += cpuTime(b) - before
			}
			cpu := float64(own) / float64(b.N)
			b.ReportMetric(cpu, "cpu-ns/op")
			b.ReportMetric(cpu/(float64(mutuals)/float64(turns*turn)), "x-mutual")
		})
	}
}

// run makes a connection and closes it.
func (h handshakeOf) run(b *testing.B, d *dialer) {
	c, s := d.pair()
	defer c.Close()
	defer s.Close()
	var server sync.WaitGroup
	server.Go(func() {
		if _, err := h.server(s); err != nil {
			b.Error(err)
		}
	})
	if _, err := h.client(c); err != nil {
		b.Error(err)
	}
	server.Wait()
}

// BenchmarkHandshakes is how many handshakes there are in a second, with so many
// clients at a time.
func BenchmarkHandshakes(b *testing.B) {
	for _, h := range handshakes(b) {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", h.name, clients), func(b *testing.B) {
				var wg sync.WaitGroup
				todo := make(chan struct{})
				for range clients {
					d := newDialer(b)
					wg.Go(func() {
						for range todo {
							h.run(b, d)
						}
					})
				}
				start := time.Now()
				for b.Loop() {
					todo <- struct{}{}
				}
				close(todo)
				wg.Wait()
				b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "handshakes/s")
			})
		}
	}
}

// cpuTime is what this process has used, in user and system mode.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
