// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// connectFlags are all of what connect takes.
type connectFlags struct {
	attested     attestedFlags
	ca, name     string
	alpn         []string
	listen       string
	json, silent bool
}

func (a *app) connectCommand() *cobra.Command {
	var f connectFlags
	cmd := &cobra.Command{
		Use:   "connect HOST:PORT (--require … | --ak KEY --tik KEY --pcrs PCRS)",
		Short: "Make an attested TLS connection, as a client",
		Long: `Make an attested TLS connection to a server that speaks the protocol of
docs/PROTOCOL.md, such as "atls serve". With --require the server has to attest,
and is appraised by --verifier or --corim; with --ak, --tik and --pcrs this side
attests if the server demands it.

The appraisal goes to standard error. Then standard input goes to the server, and
what it answers to standard output, until both have ended. --json prints the
appraisal on standard output instead, and ends.

With --listen it accepts plain TCP connections there, and makes an attested one for
each: attested TLS for a client that knows nothing of it.`,
		Example: `  atls connect server.example:4433 --require --ca ca.pem \
      --verifier https://verifier.example --verifier-key verifier.jwk
  atls connect 10.0.0.7:4433 --require --corim machine.cbor --insecure-skip-pki --instance 01a5…
  atls connect server.example:4433 --require --corim machine.cbor --ca ca.pem --listen 127.0.0.1:5432`,
		Args: cobra.ExactArgs(1),
	}
	f.attested.register(cmd, "server")
	cmd.Flags().StringVar(&f.ca, "ca", "", "trust these certification authorities (PEM) for the server instead of the system's")
	cmd.Flags().StringVar(&f.name, "server-name", "", "the name that the server's certificate has to be for (default HOST)")
	cmd.Flags().StringSliceVar(&f.alpn, "alpn", nil, "application protocols to offer, such as http/1.1")
	cmd.Flags().StringVar(&f.listen, "listen", "", "forward the TCP connections that come to this address")
	jsonFlag(cmd, &f.json)
	cmd.Flags().BoolVar(&f.silent, "quiet", false, "do not print the appraisal")
	cmd.MarkFlagsMutuallyExclusive("json", "listen")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.connect(cmd.Context(), &f, args[0]) }
	return cmd
}

func (a *app) connect(ctx context.Context, f *connectFlags, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usageErrorf("%q: want HOST:PORT", address)
	}
	if err := f.attested.check(); err != nil {
		return err
	}
	if f.attested.skipPKI && !f.attested.require {
		return usageErrorf("--insecure-skip-pki without --require would leave the server without any identity")
	}
	if f.attested.skipPKI && f.ca != "" {
		return usageErrorf("--ca and --insecure-skip-pki: want one of them")
	}
	if f.json && !f.attested.require {
		return usageErrorf("--json prints the server's appraisal: it needs --require")
	}
	t := &tls.Config{ServerName: f.name, NextProtos: f.alpn, InsecureSkipVerify: f.attested.skipPKI}
	if t.ServerName == "" {
		t.ServerName = host
	}
	if f.ca != "" {
		if t.RootCAs, err = a.pool(f.ca); err != nil {
			return err
		}
	}
	return a.withConfig(ctx, &f.attested, t, func(cfg *tlsbinding.Config, _ tls.Certificate) error {
		if f.listen != "" {
			return a.forwardPlain(ctx, f.listen, address, cfg)
		}
		conn, err := tlsbinding.Dial(ctx, "tcp", address, cfg)
		if err != nil {
			return a.connectError(err)
		}
		defer conn.Close()
		if peer, ok := tlsbinding.PeerOf(conn); ok {
			if f.json {
				return a.showResult(peer.Result, true, false)
			}
			if !f.silent {
				if err := a.showResult(peer.Result, false, true); err != nil {
					return err
				}
			}
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
		defer stop()
		return a.converse(conn)
	})
}

// connectError tells apart what goes wrong; the network is the verifier's kind.
func (a *app) connectError(err error) error {
	err = handshakeError(err)
	if asExitError(err) == nil && is[net.Error](err) {
		return verifierErrorf("%w", err)
	}
	return err
}

// converse sends standard input and prints what comes back.
func (a *app) converse(conn *tls.Conn) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, a.env.Stdin)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	if _, err := io.Copy(a.env.Stdout, conn); err != nil {
		return verifierErrorf("receiving: %w", err)
	}
	select {
	case err := <-sent:
		if err != nil {
			return verifierErrorf("sending: %w", err)
		}
	default: // the server has ended; standard input need not
	}
	return nil
}

func (a *app) pool(path string) (*x509.CertPool, error) {
	chain, err := a.certificates(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, inputErrorf("%s: %w", path, err)
		}
		pool.AddCert(c)
	}
	return pool, nil
}

// forwardPlain carries plain TCP connections over attested ones.
func (a *app) forwardPlain(ctx context.Context, listen, address string, cfg *tlsbinding.Config) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return inputErrorf("--listen: %w", err)
	}
	a.say("listening on %s for %s", l.Addr(), address)
	return serveConns(ctx, l, func(ctx context.Context, plain net.Conn) {
		conn, err := tlsbinding.Dial(ctx, "tcp", address, cfg)
		if err != nil {
			a.say("%v: %v", plain.RemoteAddr(), err)
			_ = plain.Close()
			return
		}
		if peer, ok := tlsbinding.PeerOf(conn); ok {
			a.say("%v: %s", plain.RemoteAddr(), describe(peer))
		}
		splice(ctx, plain, conn)
	})
}

// serveConns serves each connection until the context ends, which is no failure.
func serveConns(ctx context.Context, l net.Listener, serve func(context.Context, net.Conn)) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// Such as too many open files: it passes.
			if temporary, ok := err.(interface{ Temporary() bool }); ok && temporary.Temporary() {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			return verifierErrorf("accepting connections: %w", err)
		}
		wg.Go(func() { serve(ctx, conn) })
	}
}

// splice copies both ways until both have ended, or the context does, and closes
// both.
func splice(ctx context.Context, a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	defer context.AfterFunc(ctx, func() {
		_ = a.Close() // ends the copying
		_ = b.Close()
	})()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, err := io.Copy(way[0], way[1])
			if half, ok := way[0].(interface{ CloseWrite() error }); ok && err == nil {
				_ = half.CloseWrite() // the other end may be gone
				return
			}
			// What was cut off must not look as if it had ended.
			for _, conn := range way {
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
}

// say tells a person what happens, while it happens.
func (a *app) say(format string, args ...any) {
	a.speak.Lock()
	defer a.speak.Unlock()
	fmt.Fprintf(a.env.Stderr, "atls: "+format+"\n", args...)
}
