// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/veraison/attested-tls/internal/expauth"
)

// Dial connects to an address, as net.Dialer does, and attests as Client does.
// Where cfg.TLS names no server, it is the address's host.
func Dial(ctx context.Context, network, address string, cfg *Config) (*tls.Conn, error) {
	conn, cfg, err := dial(ctx, network, address, cfg)
	if err != nil {
		return nil, err
	}
	return Client(ctx, conn, cfg)
}

func dial(ctx context.Context, network, address string, cfg *Config) (net.Conn, *Config, error) {
	cfg, err := cfg.forAddress(address)
	if err != nil {
		return nil, nil, err
	}
	if err := cfg.check(expauth.Client); err != nil {
		return nil, nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, orDefault(cfg.Timeout, DefaultTimeout))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(dialCtx, network, address)
	if err != nil {
		return nil, nil, &Error{Step: "connecting", Err: err}
	}
	return conn, cfg, nil
}

// forAddress fills in the server's name.
func (c *Config) forAddress(address string) (*Config, error) {
	if c == nil || c.TLS == nil || c.TLS.ServerName != "" {
		return c, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Error{Step: "connecting", Err: err}
	}
	named := *c
	named.TLS = c.TLS.Clone()
	named.TLS.ServerName = host
	return &named, nil
}

// Client makes a connection to a server into an attested one. It returns when
// both sides have agreed that everything that either demands holds; before that
// no application data is sent or accepted. conn is the result's, and closed on
// failure. Deadlines that it had are gone afterwards.
//
// The result is an ordinary *tls.Conn; PeerOf says who is at its other end.
func Client(ctx context.Context, conn net.Conn, cfg *Config) (*tls.Conn, error) {
	s, err := handshake(ctx, expauth.Client, conn, cfg, false)
	if err != nil {
		return nil, err
	}
	return s.conn, nil
}

// Server is Client for the other end.
func Server(ctx context.Context, conn net.Conn, cfg *Config) (*tls.Conn, error) {
	s, err := handshake(ctx, expauth.Server, conn, cfg, false)
	if err != nil {
		return nil, err
	}
	return s.conn, nil
}

// handshake does all of it, from the network connection on.
func handshake(ctx context.Context, self expauth.Role, conn net.Conn, cfg *Config, framed bool) (_ *session, err error) {
	if err := cfg.check(self); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	l, isLink := conn.(*link)
	if !isLink {
		l = newLink(conn)
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(cfg.Timeout, DefaultTimeout))
	defer cancel()
	start := time.Now()
	s := &session{cfg: cfg, self: self, link: l}
	defer func() { s.log(ctx, time.Since(start), err) }()

	end := cfg.Trace.begin(StepTLS)
	err = s.secure(ctx)
	end(err)
	if err != nil {
		_ = l.Close() // err says what is wrong
		return nil, &Error{Step: string(StepTLS), Err: err}
	}
	if err := s.negotiate(ctx, framed); err != nil {
		return nil, err
	}
	l.session.Store(s)
	return s, nil
}

// secure is the TLS handshake.
func (s *session) secure(ctx context.Context) error {
	hard := harden(s.cfg.TLS, func(chosen *tls.Config) error {
		if r := s.cfg.Requirement; r != nil && !r.InsecureSkipPKI && chosen.ClientCAs == nil {
			return errors.New("tlsbinding: the configuration for this client has no ClientCAs")
		}
		s.chosen.Store(chosen)
		return nil
	})
	if s.self == expauth.Client {
		s.conn = tls.Client(s.link, hard)
	} else {
		s.conn = tls.Server(s.link, hard)
	}
	if err := s.conn.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	s.link.progress()
	state := s.conn.ConnectionState()
	if state.DidResume {
		return errors.New("the session was resumed: what was attested before says nothing of this connection")
	}
	var err error
	if s.exporter, err = expauth.NewConnection(&state); err != nil {
		return fmt.Errorf("deriving keys from the connection: %w", err)
	}
	return nil
}

// harden clones a configuration and takes away what an attested connection must
// not do. It never allows what the caller's does not. chosen is told of the
// configuration that takes its place for one client.
func harden(t *tls.Config, chosen func(*tls.Config) error) *tls.Config {
	hard := t.Clone()
	hard.MinVersion = max(hard.MinVersion, tls.VersionTLS13)
	hard.SessionTicketsDisabled = true
	hard.ClientSessionCache = nil
	hard.WrapSession, hard.UnwrapSession = nil, nil
	if choose := hard.GetConfigForClient; choose != nil {
		hard.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := choose(hello)
			if other == nil || err != nil {
				return nil, err
			}
			if other.MaxVersion != 0 && other.MaxVersion < tls.VersionTLS13 {
				return nil, fmt.Errorf("tlsbinding: the configuration for this client ends at %s", tls.VersionName(other.MaxVersion))
			}
			inner := harden(other, chosen)
			inner.GetConfigForClient = nil // crypto/tls asks once
			return inner, chosen(inner)
		}
	}
	return hard
}

func (s *session) log(ctx context.Context, took time.Duration, err error) {
	if s.cfg.Logger == nil {
		return
	}
	attributes := []slog.Attr{
		slog.String("remote", s.link.RemoteAddr().String()),
		slog.Duration("took", took),
	}
	if err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "attested handshake failed", append(attributes, slog.Any("error", err))...)
		return
	}
	if s.show != (Offer{}) {
		attributes = append(attributes, slog.String("showed", s.show.String()))
	}
	if s.demand != (Offer{}) {
		attributes = append(attributes, slog.String("peer", s.demand.String()))
	}
	s.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "attested handshake", attributes...)
}
