// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
)

// pair is a server and a client that attest to each other.
func pair(t testing.TB, protos ...string) (*Server, *Client, *machine, *machine, *verifier) {
	t.Helper()
	a, b := newMachine(t), newMachine(t)
	v := newVerifier(t, a, b)
	s := newServer(t, Config{TLS: &tls.Config{NextProtos: protos}, Credential: b.credential(), Requirement: requirement(v, a)})
	c := newClient(t, Config{TLS: &tls.Config{NextProtos: protos}, Credential: a.credential(), Requirement: requirement(v, b)})
	return s, c, a, b, v
}

func TestHTTP(t *testing.T) {
	for _, test := range []struct {
		protos []string
		want   string
	}{{[]string{"h2", "http/1.1"}, "HTTP/2.0"}, {[]string{"http/1.1"}, "HTTP/1.1"}, {nil, "HTTP/1.1"}} {
		t.Run(test.want, func(t *testing.T) {
			s, c, a, b, v := pair(t, test.protos...)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			server := &http.Server{
				TLSConfig:         s.TLSConfig(),
				ReadHeaderTimeout: 10 * time.Second,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					who, ok := s.PeerOf(*r.TLS)
					fmt.Fprintln(w, r.Proto, ok && a.key.PublicKey.Equal(who.Key))
				}),
			}
			served := make(chan error, 1)
			go func() { served <- server.ServeTLS(l, "", "") }()
			transport := &http.Transport{DialTLSContext: c.Dial, ForceAttemptHTTP2: true}
			client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
			for range 3 {
				r, err := client.Get("https://" + l.Addr().String())
				require.NoError(t, err)
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.NoError(t, r.Body.Close())
				assert.Equal(t, test.want+" true\n", string(body))
				assert.Equal(t, test.want, r.Proto)
				who, ok := c.PeerOf(*r.TLS)
				require.True(t, ok)
				assert.True(t, b.key.PublicKey.Equal(who.Key))
			}
			assert.Len(t, a.nonces, 1, "one connection, attested once")
			transport.CloseIdleConnections()
			require.NoError(t, server.Shutdown(t.Context()))
			require.ErrorIs(t, <-served, http.ErrServerClosed)
			v.requireClosed(t)
		})
	}
}

// clientCreds makes each connection of a grpc client with a configuration of
// its own.
type clientCreds struct {
	credentials.TransportCredentials
	client *Client
}

func newClientCreds(c *Client) credentials.TransportCredentials {
	return clientCreds{credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13}), c}
}

func (c clientCreds) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, done, err := c.client.TLSConfig(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	return credentials.NewTLS(cfg).ClientHandshake(ctx, authority, conn)
}

func (c clientCreds) Clone() credentials.TransportCredentials {
	return clientCreds{c.TransportCredentials.Clone(), c.client}
}

type health struct {
	grpc_health_v1.UnimplementedHealthServer
	s *Server
	m *machine
}

func (h health) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	p, _ := peer.FromContext(ctx)
	who, ok := h.s.PeerOf(p.AuthInfo.(credentials.TLSInfo).State)
	if !ok || !h.m.key.PublicKey.Equal(who.Key) {
		return nil, fmt.Errorf("it is %v", who)
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func TestGRPC(t *testing.T) {
	s, c, a, b, v := pair(t, "h2")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(s.TLSConfig())))
	grpc_health_v1.RegisterHealthServer(server, health{s: s, m: a})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(newClientCreds(c)))
	require.NoError(t, err)
	var p peer.Peer
	r, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p))
	require.NoError(t, err)
	assert.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, r.Status)
	who, ok := c.PeerOf(p.AuthInfo.(credentials.TLSInfo).State)
	require.True(t, ok)
	assert.True(t, b.key.PublicKey.Equal(who.Key))
	require.NoError(t, conn.Close())

	// A client whose machine is another one gets no answer.
	stranger := newMachine(t)
	other := newClient(t, Config{TLS: &tls.Config{NextProtos: []string{"h2"}}, Credential: stranger.credential(), Requirement: requirement(v, b)})
	conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(newClientCreds(other)))
	require.NoError(t, err)
	_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.Error(t, err)
	require.NoError(t, conn.Close())

	server.Stop()
	require.NoError(t, <-served)
	v.requireClosed(t)
}

func TestQUIC(t *testing.T) {
	s, c, a, b, v := pair(t, "attested-echo")
	l, err := quic.ListenAddr("127.0.0.1:0", s.TLSConfig(), nil)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() {
		served <- func() error {
			conn, err := l.Accept(t.Context())
			if err != nil {
				return err
			}
			who, ok := s.PeerOf(conn.ConnectionState().TLS)
			if !ok || !a.key.PublicKey.Equal(who.Key) {
				return fmt.Errorf("it is %v", who)
			}
			stream, err := conn.AcceptStream(t.Context())
			if err != nil {
				return err
			}
			_, err = io.Copy(stream, stream)
			stream.Close()
			return err
		}()
	}()

	dial := func(c *Client) (*quic.Conn, error) {
		cfg, done, err := c.TLSConfig(t.Context())
		require.NoError(t, err)
		defer done()
		return quic.DialAddr(t.Context(), l.Addr().String(), cfg, nil)
	}
	conn, err := dial(c)
	require.NoError(t, err)
	state := conn.ConnectionState()
	assert.Equal(t, "attested-echo", state.TLS.NegotiatedProtocol)
	assert.False(t, state.Used0RTT)
	assert.False(t, state.TLS.DidResume)
	who, ok := c.PeerOf(state.TLS)
	require.True(t, ok)
	assert.True(t, b.key.PublicKey.Equal(who.Key))
	stream, err := conn.OpenStreamSync(t.Context())
	require.NoError(t, err)
	_, err = stream.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	back, err := io.ReadAll(stream)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(back))
	require.NoError(t, <-served)
	require.NoError(t, conn.CloseWithError(0, ""))

	// Evidence for another key, and a client without a protocol.
	k := a.credential()
	k.Certificate.PrivateKey = newMachine(t).key
	conn, err = dial(newClient(t, Config{TLS: &tls.Config{NextProtos: []string{"attested-echo"}}, Credential: k, Requirement: requirement(v, b)}))
	if err == nil {
		_, err = conn.AcceptStream(t.Context())
		_ = conn.CloseWithError(0, "")
	}
	require.ErrorContains(t, err, "bad certificate") // all that an alert says
	_, err = dial(newClient(t, Config{Credential: a.credential(), Requirement: requirement(v, b)}))
	require.ErrorContains(t, err, "no application protocol")

	require.NoError(t, l.Close())
	v.requireClosed(t)
}

// Who imports the package links neither grpc nor QUIC, nor a verifier or a TPM.
func TestDependencies(t *testing.T) {
	const module = "github.com/veraison/attested-tls/"
	out, err := exec.Command("go", "list", "-deps", module+"rp/tlsbinding/inhandshake").Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, module+"internal/seedwire")
	for _, dep := range deps {
		for _, f := range []string{
			"google.golang.org/grpc", "github.com/quic-go", "github.com/veraison/services", module + "attester",
			module + "appraisal", module + "endorsements", module + "rp/embedded", module + "internal/evidencetest", "testing",
		} {
			assert.False(t, dep == f || strings.HasPrefix(dep, f+"/"), "it links %s", dep)
		}
	}
}
