// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package grpccreds_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
	"github.com/veraison/attested-tls/rp/tlsbinding/grpccreds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is two machines in a simulated TPM, and a verifier that knows them.
type world struct {
	tpm         *attester.TPM
	ca          *site.CA
	machines    [2]*site.Machine
	certificate tls.Certificate // of the server's TLS key
	verifier    *embedded.Verifier
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{tpm: tpmtest.Simulator(t)}
	var err error
	w.ca, w.machines, err = twoMachines(t.Context(), w.tpm)
	require.NoError(t, err)
	w.certificate, err = w.ca.SoftwareKey()
	require.NoError(t, err)
	w.verifier, err = embedded.New([]*endorsements.Corim{w.machines[0].Endorsed, w.machines[1].Endorsed}, embedded.Config{})
	require.NoError(t, err)
	return w
}

func (w *world) credential(t *testing.T, machine int) *tlsbinding.Credential {
	t.Helper()
	c, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: w.machines[machine].Certificate, Attester: w.machines[machine]})
	require.NoError(t, err)
	return c
}

func (w *world) requirement(instance int) *tlsbinding.Requirement {
	return &tlsbinding.Requirement{
		Verifier: w.verifier, Policy: policy.Affirming(), Instances: [][]byte{w.machines[instance].AK().KID()},
	}
}

func (w *world) server(t *testing.T) *tlsbinding.Config {
	return &tlsbinding.Config{
		TLS:        &tls.Config{Certificates: []tls.Certificate{w.certificate}, ClientCAs: w.ca.Roots()},
		Credential: w.credential(t, 0), Requirement: w.requirement(1),
	}
}

func (w *world) client(t *testing.T) *tlsbinding.Config {
	return &tlsbinding.Config{
		TLS:        &tls.Config{RootCAs: w.ca.Roots()},
		Credential: w.credential(t, 1), Requirement: w.requirement(0),
	}
}

// recorder keeps what handshakes end with, which gRPC does not tell a server.
type recorder struct {
	credentials.TransportCredentials
	mu     sync.Mutex
	errors []error
	done   chan struct{}
}

func (r *recorder) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := r.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		r.mu.Lock()
		r.errors = append(r.errors, err)
		r.mu.Unlock()
		select {
		case r.done <- struct{}{}:
		default:
		}
	}
	return conn, info, err
}

// failure is the first handshake's.
func (r *recorder) failure(t *testing.T) error {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		require.Fail(t, "no handshake has failed")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errors[0]
}

// health tells which peers its handler saw.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	seen func(ctx context.Context)
}

func (h *health) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	h.seen(ctx)
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

// serve runs a server until the test ends.
func serve(t *testing.T, cfg *tlsbinding.Config, seen func(context.Context), o ...grpc.ServerOption) (string, *recorder) {
	t.Helper()
	creds, err := grpccreds.New(cfg)
	require.NoError(t, err)
	r := &recorder{TransportCredentials: creds, done: make(chan struct{}, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer(append(o, grpc.Creds(r))...)
	grpc_health_v1.RegisterHealthServer(s, &health{seen: seen})
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, s.Serve(l)) })
	t.Cleanup(func() {
		s.Stop()
		wg.Wait()
	})
	return l.Addr().String(), r
}

// call makes one call over a client of its own.
func call(t *testing.T, address string, cfg *tlsbinding.Config) (*peer.Peer, error) {
	t.Helper()
	creds, err := grpccreds.New(cfg)
	require.NoError(t, err)
	return callWith(t, address, creds)
}

func callWith(t *testing.T, address string, creds credentials.TransportCredentials) (*peer.Peer, error) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	require.NoError(t, err)
	defer func() { assert.NoError(t, conn.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var p peer.Peer
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p))
	return &p, err
}

func nobody(context.Context) { panic("a handler was called") }

func TestMutual(t *testing.T) {
	w := newWorld(t)
	var client *tlsbinding.Peer
	address, _ := serve(t, w.server(t), func(ctx context.Context) { client, _ = grpccreds.PeerFromContext(ctx) })
	p, err := call(t, address, w.client(t))
	require.NoError(t, err)

	server, ok := grpccreds.PeerOf(p)
	require.True(t, ok)
	require.Equal(t, w.machines[0].TIK().Public(), server.Key())
	require.Equal(t, w.machines[1].TIK().Public(), client.Key())
	info, ok := p.AuthInfo.(grpccreds.AuthInfo)
	require.True(t, ok)
	require.Equal(t, credentials.PrivacyAndIntegrity, info.GetCommonAuthInfo().SecurityLevel)
	require.NoError(t, credentials.CheckSecurityLevel(info, credentials.PrivacyAndIntegrity))
	require.Equal(t, "h2", info.State.NegotiatedProtocol)
	require.EqualValues(t, tls.VersionTLS13, info.State.Version)
}

// One side attests, and the other has nothing to.
func TestOneSided(t *testing.T) {
	w := newWorld(t)
	t.Run("server", func(t *testing.T) {
		server, client := w.server(t), w.client(t)
		server.Requirement, client.Credential = nil, nil
		address, _ := serve(t, server, func(ctx context.Context) {
			_, ok := grpccreds.PeerFromContext(ctx)
			assert.False(t, ok)
		})
		p, err := call(t, address, client)
		require.NoError(t, err)
		_, ok := grpccreds.PeerOf(p)
		require.True(t, ok)
	})
	t.Run("client", func(t *testing.T) {
		server, client := w.server(t), w.client(t)
		server.Credential, client.Requirement = nil, nil
		address, _ := serve(t, server, func(ctx context.Context) {
			_, ok := grpccreds.PeerFromContext(ctx)
			assert.True(t, ok)
		})
		p, err := call(t, address, client)
		require.NoError(t, err)
		_, ok := grpccreds.PeerOf(p)
		require.False(t, ok)
	})
}

// No handler is called for a client that is refused, and either side knows why.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name           string
		change         func(server, client *tlsbinding.Config)
		server         error
		clientContains string
	}{
		{"another machine than the server wants",
			func(_, client *tlsbinding.Config) { client.Credential = w.credential(t, 0) },
			nil, "the peer refuses (appraisal)"},
		{"another machine than the client wants",
			func(_, client *tlsbinding.Config) { client.Requirement = w.requirement(1) },
			nil, "instance"},
		{"a client without credential",
			func(_, client *tlsbinding.Config) { client.Credential = nil },
			tlsbinding.ErrNoCommonEvidence, "no common way to attest"},
		{"another name than the certificate's",
			func(_, client *tlsbinding.Config) { client.TLS.ServerName = "elsewhere.test" },
			nil, "elsewhere.test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := w.server(t), w.client(t)
			tt.change(server, client)
			address, r := serve(t, server, nobody)
			_, err := call(t, address, client)
			require.Equal(t, codes.Unavailable, status.Code(err))
			require.ErrorContains(t, err, tt.clientContains)
			failure := r.failure(t)
			var at *tlsbinding.Error
			require.ErrorAs(t, failure, &at)
			if tt.server != nil {
				require.ErrorIs(t, failure, tt.server)
			}
		})
	}
}

func TestRefusedAfterChange(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, tpmtest.ExtendPCR(t.Context(), w.tpm, crypto.SHA256, 7, make([]byte, 32)))
	server := w.server(t)
	server.Requirement = nil
	client := w.client(t)
	client.Credential = nil
	address, r := serve(t, server, nobody)
	_, err := call(t, address, client)
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "ear.status")
	var refused *tlsbinding.RefusalError
	require.ErrorAs(t, r.failure(t), &refused)
	require.Equal(t, tlsbinding.RefusedAppraisal, refused.Code)
}

// Clients that do not speak the protocol: plain TLS, and no TLS.
func TestOtherClients(t *testing.T) {
	w := newWorld(t)
	t.Run("TLS", func(t *testing.T) {
		address, r := serve(t, w.server(t), nobody)
		_, err := callWith(t, address, credentials.NewTLS(&tls.Config{RootCAs: w.ca.Roots()}))
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.ErrorIs(t, r.failure(t), tlsbinding.ErrNotSpoken)
	})
	t.Run("insecure", func(t *testing.T) {
		address, r := serve(t, w.server(t), nobody)
		_, err := callWith(t, address, insecure.NewCredentials())
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.Error(t, r.failure(t))
	})
	t.Run("another protocol", func(t *testing.T) {
		address, r := serve(t, w.server(t), nobody)
		client := w.client(t)
		client.TLS.ServerName = "localhost"
		conn, err := tlsbinding.Dial(t.Context(), "tcp", address, client) // without ALPN
		require.NoError(t, err)
		defer conn.Close()
		require.ErrorContains(t, r.failure(t), `agreed to the protocol "", want "h2"`)
	})
}

// Clients that stop at some step, and stay: others are served meanwhile, and
// theirs end.
func TestStalledClients(t *testing.T) {
	w := newWorld(t)
	const limit = time.Second
	address, _ := serve(t, w.server(t), func(context.Context) {}, grpc.ConnectionTimeout(limit))
	client := w.client(t)
	client.TLS.ServerName, client.TLS.NextProtos = "localhost", []string{"h2"}
	var stalled []net.Conn
	for _, connect := range []func() (net.Conn, error){
		func() (net.Conn, error) { return net.Dial("tcp", address) },
		func() (net.Conn, error) {
			return tls.Dial("tcp", address, &tls.Config{RootCAs: w.ca.Roots(), ServerName: "localhost", NextProtos: []string{"h2"}})
		},
	} {
		for range 50 {
			conn, err := connect()
			require.NoError(t, err)
			defer conn.Close()
			stalled = append(stalled, conn)
		}
	}
	start := time.Now()
	_, err := call(t, address, w.client(t))
	require.NoError(t, err)
	t.Logf("beside %d stalled clients a call took %v", len(stalled), time.Since(start))
	for _, conn := range stalled {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*limit)))
		_, err := io.Copy(io.Discard, conn)
		require.False(t, errors.Is(err, context.DeadlineExceeded) || isTimeout(err), "%v: the server keeps a stalled client", err)
	}
}

// A client that attests and then does not speak gRPC is not waited for either:
// gRPC's own deadline has ended with the handshake.
func TestStalledPreface(t *testing.T) {
	w := newWorld(t)
	server := w.server(t)
	server.Timeout = 2 * time.Second
	address, _ := serve(t, server, nobody)
	client := w.client(t)
	client.TLS.NextProtos = []string{"h2"}
	conn, err := tlsbinding.Dial(t.Context(), "tcp", address, client)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(15*time.Second)))
	_, err = io.Copy(io.Discard, conn)
	require.False(t, isTimeout(err), "%v: the server keeps a stalled client", err)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A connection outlives its handshake's deadline, and not its attestation's age:
// the next call goes over a new one.
func TestLifetime(t *testing.T) {
	w := newWorld(t)
	server, client := w.server(t), w.client(t)
	server.Requirement, client.Credential = nil, nil
	server.Timeout, client.Timeout = time.Second, time.Second
	client.Requirement.MaxAge = 3 * time.Second
	var mu sync.Mutex
	connections := map[string]bool{}
	address, _ := serve(t, server, func(ctx context.Context) {
		p, _ := peer.FromContext(ctx)
		mu.Lock()
		defer mu.Unlock()
		connections[p.Addr.String()] = true
	})
	creds, err := grpccreds.New(client)
	require.NoError(t, err)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	require.NoError(t, err)
	defer func() { assert.NoError(t, conn.Close()) }()
	check := func() int {
		_, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		require.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		return len(connections)
	}
	require.Equal(t, 1, check())
	time.Sleep(1500 * time.Millisecond)
	require.Equal(t, 1, check(), "the handshake's deadline ended the connection")
	time.Sleep(2500 * time.Millisecond)
	require.Equal(t, 2, check(), "the connection outlived its attestation")
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  *tlsbinding.Config
		want string
	}{
		{"nothing", nil, "no TLS configuration is given"},
		{"no TLS", &tlsbinding.Config{Requirement: &tlsbinding.Requirement{}}, "no TLS configuration is given"},
		{"nothing to attest", &tlsbinding.Config{TLS: &tls.Config{}}, "nothing would be attested"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			creds, err := grpccreds.New(tt.cfg)
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, creds)
		})
	}
}

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	cfg := w.client(t)
	cfg.TLS.NextProtos = []string{"http/1.1"}
	creds, err := grpccreds.New(cfg)
	require.NoError(t, err)
	require.Equal(t, credentials.ProtocolInfo{SecurityProtocol: "tls"}, creds.Info())

	clone := creds.Clone()
	//lint:ignore SA1019 the interface has it
	require.NoError(t, clone.OverrideServerName("elsewhere.test"))
	require.Equal(t, "elsewhere.test", clone.Info().ServerName)
	require.Empty(t, creds.Info().ServerName, "the original is changed with its clone")
	require.Equal(t, []string{"http/1.1"}, cfg.TLS.NextProtos, "the caller's configuration is changed")
	require.Empty(t, cfg.TLS.ServerName)

	address, _ := serve(t, w.server(t), func(context.Context) {})
	_, err = callWith(t, address, creds)
	require.NoError(t, err)
	_, err = callWith(t, address, clone)
	require.ErrorContains(t, err, "elsewhere.test")

	_, ok := grpccreds.PeerFromContext(t.Context())
	require.False(t, ok)
	_, ok = grpccreds.PeerOf(&peer.Peer{AuthInfo: credentials.TLSInfo{}})
	require.False(t, ok)
}
