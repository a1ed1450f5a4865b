// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"hash"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// opensslConnection makes a connection whose client is OpenSSL's, which writes
// its exporter secret to a file, as crypto/tls never does.
func opensslConnection(t *testing.T, suite string) (server *Connection, exporterSecret []byte) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("this test needs openssl: apt-get install openssl (%v)", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	require.NoError(t, listener.(*net.TCPListener).SetDeadline(time.Now().Add(20*time.Second)))

	dir := t.TempDir()
	log := filepath.Join(dir, "keys")
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	require.NoError(t, err)
	defer stderr.Close()
	defer func() {
		if t.Failed() {
			said, _ := os.ReadFile(stderr.Name())
			t.Logf("openssl s_client: %s", said)
		}
	}()
	cmd := exec.CommandContext(ctx, openssl, "s_client", "-connect", listener.Addr().String(),
		"-tls1_3", "-ciphersuites", suite, "-keylogfile", log, "-quiet")
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe() // open, or the client leaves
	require.NoError(t, err)
	defer stdin.Close()
	require.NoError(t, cmd.Start())
	defer func() {
		cancel()
		_ = cmd.Wait() // killed
	}()

	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	key := p256()
	s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{selfSigned(t, key)}, PrivateKey: key}}})
	require.NoError(t, s.HandshakeContext(ctx))
	state := s.ConnectionState()
	require.Equal(t, suite, tls.CipherSuiteName(state.CipherSuite))
	server, err = NewConnection(&state)
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		data, err := os.ReadFile(log)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "EXPORTER_SECRET" && strings.HasSuffix(line, "\n") {
				exporterSecret, err = hex.DecodeString(fields[2])
				return err == nil
			}
		}
		return false
	}, 10*time.Second, 10*time.Millisecond, "no EXPORTER_SECRET in OpenSSL's key log")
	return server, exporterSecret
}

// From the exporter secret that OpenSSL has for a real connection, the longhand
// computation makes what the package makes of crypto/tls's own end, and each
// accepts the other's.
func TestAgainstLonghand(t *testing.T) {
	for suite, newHash := range map[string]func() hash.Hash{
		"TLS_AES_128_GCM_SHA256":       sha256.New,
		"TLS_AES_256_GCM_SHA384":       sha512.New384,
		"TLS_CHACHA20_POLY1305_SHA256": sha256.New,
	} {
		t.Run(suite, func(t *testing.T) {
			connection, secret := opensslConnection(t, suite)
			exported, err := connection.Export("EXPORTER-cmw-attestation", []byte("context"), 32)
			require.NoError(t, err)
			require.Equal(t, longhandExport(newHash, secret, "EXPORTER-cmw-attestation", []byte("context"), 32), exported)

			for _, sender := range []Role{Client, Server} {
				t.Run(sender.String(), func(t *testing.T) {
					key := edKey() // signs the same always
					l := &longhand{
						newHash: newHash, secret: secret, sender: sender.String(),
						request: marshal(t, requestFrom(sender.Peer())), context: requestFrom(sender.Peer()).Context,
						entries: []longhandEntry{{selfSigned(t, key), extension(cmw, evidence)}},
						scheme:  uint16(tls.Ed25519), label: "Exported Authenticator",
						sign: func(content []byte) []byte { return must(key.Sign(rand.Reader, content, crypto.Hash(0))) },
					}
					ours, err := connection.Authenticate(t.Context(), sender, l.request, &Credential{
						Chain: [][]byte{l.entries[0].der}, Signer: key, Extensions: []Extension{{cmw, evidence}},
					})
					require.NoError(t, err)
					require.Equal(t, l.authenticator(), ours)
					_, err = connection.Validate(sender, l.request, l.authenticator())
					require.NoError(t, err)

					refusal, err := connection.Refuse(sender, l.request)
					require.NoError(t, err)
					require.Equal(t, l.empty(), refusal)
					_, err = connection.Validate(sender, l.request, l.empty())
					require.ErrorIs(t, err, ErrEmpty)
				})
			}
		})
	}
}
