// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
)

// relay is somebody between a client and the server at address, with a TLS key
// that clients take for the server's. It speaks TLS with both, and hands on what
// either says, word by word.
func relay(address string, stolen tls.Certificate, roots *x509.CertPool) (net.Listener, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{stolen}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
	})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}})
			if err != nil {
				client.Close()
				continue
			}
			var both sync.WaitGroup
			both.Go(func() { carry(server, client.(*tls.Conn)) })
			carry(client.(*tls.Conn), server)
			both.Wait()
			client.Close()
			server.Close()
		}
	}()
	return l, nil
}

func carry(to, from *tls.Conn) {
	_, _ = io.Copy(to, from) // the ends say what went wrong
	_ = to.CloseWrite()
}
