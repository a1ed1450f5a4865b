// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// reattestPath is where clients have the server attest again.
const reattestPath = "/.well-known/attested-tls"

// serveFlags are all of what serve takes.
type serveFlags struct {
	attested  attestedFlags
	cert, key string
	clientCA  string
	forward   string
	echo      bool
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve ADDRESS (--ak KEY --tik KEY --pcrs PCRS | --require …)",
		Short: "Serve attested TLS connections",
		Long: `Accept attested TLS connections at ADDRESS, until it is interrupted. With --ak, --tik
and --pcrs this side attests to clients that demand it; with --require clients
have to attest, and are appraised by --verifier or --corim.

--forward carries each connection on to a TCP address: attested TLS in front of a
server that knows nothing of it. --echo sends back what comes. Without either it is
an HTTPS server (HTTP/1.1 and HTTP/2) that answers every request with what is known
of the client, as JSON.

The TLS certificate is that of --cert and --key or, without them, the TLS identity
key's own.`,
		Example: `  atls serve :4433 --ak ak.pem --tik tik.pem --tik-cert tik.crt --pcrs sha256:0,1,7 --forward 127.0.0.1:5432
  atls serve :4433 --cert server.crt --key server.key --require --client-ca ca.pem \
      --verifier https://verifier.example --verifier-key verifier.jwk`,
		Args: cobra.ExactArgs(1),
	}
	f.attested.register(cmd, "client")
	cmd.Flags().StringVar(&f.cert, "cert", "", "the server's TLS certificate and its chain (PEM)")
	cmd.Flags().StringVar(&f.key, "key", "", "the private key of --cert (PEM)")
	cmd.Flags().StringVar(&f.clientCA, "client-ca", "", "trust these certification authorities (PEM) for clients' certificates")
	cmd.Flags().StringVar(&f.forward, "forward", "", "forward connections to this TCP address")
	cmd.Flags().BoolVar(&f.echo, "echo", false, "send back what comes")
	cmd.MarkFlagsRequiredTogether("cert", "key")
	cmd.MarkFlagsMutuallyExclusive("forward", "echo")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.serve(cmd.Context(), &f, args[0]) }
	return cmd
}

func (f *serveFlags) check(address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return usageErrorf("%q: want HOST:PORT, or :PORT", address)
	}
	if err := f.attested.check(); err != nil {
		return err
	}
	if f.cert == "" && !f.attested.attest.given() {
		return usageErrorf("a TLS server needs a certificate: --cert and --key")
	}
	if f.attested.require && !f.attested.skipPKI && f.clientCA == "" {
		return usageErrorf("clients' certificates are validated up to --client-ca").
			withHint("give it, or know clients by their instance: --insecure-skip-pki --instance")
	}
	if !f.attested.require && (f.clientCA != "" || f.attested.skipPKI) {
		return usageErrorf("--client-ca and --insecure-skip-pki are for --require: without it nothing is asked of clients")
	}
	if f.attested.skipPKI && f.clientCA != "" {
		return usageErrorf("--client-ca and --insecure-skip-pki: want one of them")
	}
	if f.forward != "" {
		if _, _, err := net.SplitHostPort(f.forward); err != nil {
			return usageErrorf("--forward %q: want HOST:PORT", f.forward)
		}
	}
	return nil
}

func (a *app) serve(ctx context.Context, f *serveFlags, address string) error {
	if err := f.check(address); err != nil {
		return err
	}
	t := &tls.Config{}
	if f.cert != "" {
		c, err := a.keyPair(f.cert, f.key)
		if err != nil {
			return err
		}
		t.Certificates = []tls.Certificate{c}
	}
	if f.clientCA != "" {
		var err error
		if t.ClientCAs, err = a.pool(f.clientCA); err != nil {
			return err
		}
	}
	if f.forward == "" && !f.echo {
		t.NextProtos = tlsbinding.NextProtos()
	}
	return a.withConfig(ctx, &f.attested, t, func(cfg *tlsbinding.Config, tik tls.Certificate) error {
		if len(cfg.TLS.Certificates) == 0 {
			cfg.TLS.Certificates = []tls.Certificate{tik}
		}
		cfg.Logger = a.logger()
		inner, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return inputErrorf("listening: %w", err)
		}
		l, err := tlsbinding.NewListener(inner, cfg)
		if err != nil {
			return errors.Join(err, inner.Close())
		}
		defer l.Close()
		a.say("listening on %s", l.Addr())
		switch {
		case f.forward != "":
			return serveConns(ctx, l, func(ctx context.Context, conn net.Conn) { a.forward(ctx, conn, f.forward) })
		case f.echo:
			return serveConns(ctx, l, a.echo)
		}
		return a.serveHTTP(ctx, l)
	})
}

func (a *app) keyPair(certPath, keyPath string) (tls.Certificate, error) {
	cert, err := a.readFile(certPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := a.readFile(keyPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, inputErrorf("%s and %s: %w", certPath, keyPath, err)
	}
	return c, nil
}

func (a *app) announce(conn net.Conn) {
	if peer, ok := tlsbinding.PeerOf(conn); ok {
		a.say("%v: %s", conn.RemoteAddr(), describe(peer))
		return
	}
	a.say("%v: connected", conn.RemoteAddr())
}

func (a *app) forward(ctx context.Context, conn net.Conn, to string) {
	a.announce(conn)
	dialer := net.Dialer{Timeout: 10 * time.Second}
	plain, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		a.say("%v: %v", conn.RemoteAddr(), err)
		_ = conn.Close()
		return
	}
	splice(ctx, conn, plain)
}

func (a *app) echo(ctx context.Context, conn net.Conn) {
	a.announce(conn)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.Copy(conn, conn); err != nil && ctx.Err() == nil {
		a.say("%v: %v", conn.RemoteAddr(), err)
	}
}

// clientInfo is what the HTTPS server answers.
type clientInfo struct {
	Attested bool        `json:"attested"`
	How      string      `json:"how,omitempty"`
	Key      string      `json:"key,omitempty"`
	Result   *resultInfo `json:"result,omitempty"`
}

func (a *app) serveHTTP(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle(reattestPath, tlsbinding.NewReattestHandler())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		info, err := newClientInfo(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		data, err := marshalJSON(info)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data) // the client is gone if this fails
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	tlsbinding.HookServer(s)
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(grace) // what is left then is cut off
		_ = s.Close()
	})
	err := s.Serve(l)
	if !stop() {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return verifierErrorf("serving: %w", err)
}

func newClientInfo(ctx context.Context) (*clientInfo, error) {
	peer, ok := tlsbinding.PeerFromContext(ctx)
	if !ok {
		return &clientInfo{}, nil
	}
	result, err := newResultInfo(peer.Result)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(peer.Key())
	if err != nil {
		return nil, err
	}
	return &clientInfo{Attested: true, How: peer.Offer.String(), Key: fingerprint(der), Result: result}, nil
}
