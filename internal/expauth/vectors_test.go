// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/*.txt anew, except keys and certificates that are there")

// vector is a file of lines "name: value". The first three values are text, the
// others hex.
type vector map[string]string

var vectorNames = []string{
	"about", "hash", "sender",
	"exporter-secret", "request", "signature-scheme", "private-key", "certificate", "extensions",
	"handshake-context", "finished-key", "certificate-message", "signed-content", "certificate-verify", "finished",
	"authenticator",
}

func (v vector) get(t testing.TB, name string) []byte {
	t.Helper()
	data, err := hex.DecodeString(v[name])
	require.NoError(t, err, name)
	return data
}

func (v vector) put(name string, data []byte) { v[name] = hex.EncodeToString(data) }

func (v vector) text() string {
	var b strings.Builder
	for _, name := range vectorNames {
		if value, ok := v[name]; ok {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	return b.String()
}

func readVector(t testing.TB, path string) vector {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	v := make(vector)
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		require.True(t, ok, "%s: %q", path, line)
		v[name] = value
	}
	require.Equal(t, string(data), v.text(), "%s: names unknown, twice or out of order", path)
	return v
}

// isEmpty says whether the vector is of an empty authenticator.
func (v vector) isEmpty() bool { return v["private-key"] == "" }

// signer is the vector's key. Its ECDSA signatures are those of RFC 6979, which
// can be compared; RSA-PSS always has a random salt.
func (v vector) signer(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(v.get(t, "private-key"))
	require.NoError(t, err)
	signer, ok := key.(crypto.Signer)
	require.True(t, ok)
	if _, random := key.(*rsa.PrivateKey); random {
		return signer
	}
	return deterministic{signer}
}

type deterministic struct{ crypto.Signer }

func (d deterministic) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return d.Signer.Sign(nil, digest, opts)
}

// longhandSign is RFC 8446, section 4.2.3.
func longhandSign(signer crypto.Signer, scheme uint16, content []byte) []byte {
	sum256, sum384, sum512 := sha256.Sum256(content), sha512.Sum384(content), sha512.Sum512(content)
	switch scheme {
	case 0x0403:
		return must(signer.Sign(rand.Reader, sum256[:], crypto.SHA256))
	case 0x0503:
		return must(signer.Sign(rand.Reader, sum384[:], crypto.SHA384))
	case 0x0603:
		return must(signer.Sign(rand.Reader, sum512[:], crypto.SHA512))
	case 0x0804:
		return must(signer.Sign(rand.Reader, sum256[:], &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}))
	case 0x0807:
		return must(signer.Sign(rand.Reader, content, crypto.Hash(0)))
	default:
		panic(fmt.Sprintf("scheme %04x", scheme))
	}
}

// longhand is the longhand computation on the vector's inputs.
func (v vector) longhand(t testing.TB) *longhand {
	t.Helper()
	request := v.get(t, "request")
	l := &longhand{
		newHash: map[string]func() hash.Hash{"SHA-256": sha256.New, "SHA-384": sha512.New384}[v["hash"]],
		secret:  v.get(t, "exporter-secret"),
		sender:  v["sender"],
		request: request,
		context: request[5 : 5+request[4]],
		label:   "Exported Authenticator",
	}
	if !v.isEmpty() {
		signer := v.signer(t)
		l.scheme = binary.BigEndian.Uint16(v.get(t, "signature-scheme"))
		l.entries = []longhandEntry{{v.get(t, "certificate"), v.get(t, "extensions")}}
		l.sign = func(content []byte) []byte { return longhandSign(signer, l.scheme, content) }
	}
	return l
}

// vectorCase is what -update makes a file of. One without a key is an empty
// authenticator.
type vectorCase struct {
	about, hash string
	sender      Role
	scheme      tls.SignatureScheme
	key         func() crypto.Signer
	change      func(*Request)
}

func vectorCases() map[string]vectorCase {
	plain := func(*Request) {}
	return map[string]vectorCase{
		"server-ecdsa-p256": {"a server, with evidence", "SHA-256", Server, tls.ECDSAWithP256AndSHA256, p256, plain},
		"client-ecdsa-p256": {"a client, with evidence", "SHA-256", Client, tls.ECDSAWithP256AndSHA256, p256, plain},
		"server-ecdsa-p384": {"a server, the hash of the cipher suite is SHA-384", "SHA-384", Server, tls.ECDSAWithP384AndSHA384, p384, plain},
		"client-ecdsa-p521": {"a client, the hashes of cipher suite and signature differ", "SHA-384", Client, tls.ECDSAWithP521AndSHA512, p521, plain},
		"server-ed25519":    {"a server, nothing is hashed before signing", "SHA-256", Server, tls.Ed25519, edKey, plain},
		"client-rsa-pss":    {"a client, the signature has a random salt", "SHA-256", Client, tls.PSSWithSHA256, rsaKey, plain},
		"server-full-request": {
			"a server, all extensions of a request that have a meaning here and one that has none", "SHA-256", Server, tls.ECDSAWithP256AndSHA256, p256,
			func(r *Request) {
				// The name is CN=CA.
				r.CertificateAuthorities = [][]byte{{0x30, 0x0d, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x02, 'C', 'A'}}
				r.ServerName = "device.example"
				r.Extensions = append(r.Extensions, Extension{0x0a0a, []byte("nothing")})
			},
		},
		"server-empty": {"a server refuses", "SHA-256", Server, 0, nil, plain},
		"client-empty": {"a client refuses, the hash of the cipher suite is SHA-384", "SHA-384", Client, 0, nil, plain},
	}
}

func updateVectors(t *testing.T) {
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	for name, c := range vectorCases() {
		path := filepath.Join("testdata", name+".txt")
		v := vector{"about": c.about, "hash": c.hash, "sender": c.sender.String()}
		secret := make([]byte, map[string]int{"SHA-256": 32, "SHA-384": 48}[c.hash])
		for i := range secret {
			secret[i] = byte(i)
		}
		v.put("exporter-secret", secret)
		r := requestFrom(c.sender.Peer())
		c.change(r)
		v.put("request", marshal(t, r))
		if c.key != nil {
			v.put("signature-scheme", binary.BigEndian.AppendUint16(nil, uint16(c.scheme)))
			v.put("private-key", must(x509.MarshalPKCS8PrivateKey(c.key())))
			v.put("certificate", selfSigned(t, c.key()))
			if _, err := os.Stat(path); err == nil {
				old := readVector(t, path)
				v["private-key"], v["certificate"] = old["private-key"], old["certificate"]
			}
			v.put("extensions", extension(cmw, evidence))
		}

		l := v.longhand(t)
		v.put("handshake-context", l.handshakeContext())
		v.put("finished-key", l.finishedKey())
		certificate := l.certificate()
		v.put("certificate-message", certificate)
		if v.isEmpty() {
			v.put("finished", l.empty())
			v.put("authenticator", l.empty())
		} else {
			verify := l.verify(certificate)
			finished := l.finished(certificate, verify)
			v.put("signed-content", l.content(certificate))
			v.put("certificate-verify", verify)
			v.put("finished", finished)
			v.put("authenticator", bytes.Join([][]byte{certificate, verify, finished}, nil))
		}
		require.NoError(t, os.WriteFile(path, []byte(v.text()), 0o644))
	}
}

// TestVectors: testdata holds one authenticator a file with all that it is made
// of, from which another implementation can be tested. The longhand computation
// made them; the package makes and accepts the same.
func TestVectors(t *testing.T) {
	if *update {
		updateVectors(t)
	}
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.Len(t, files, len(vectorCases()))
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			v := readVector(t, path)
			l := v.longhand(t)
			c := l.connection(map[string]crypto.Hash{"SHA-256": crypto.SHA256, "SHA-384": crypto.SHA384}[v["hash"]])
			sender := map[string]Role{"client": Client, "server": Server}[v["sender"]]
			request, want := v.get(t, "request"), v.get(t, "authenticator")

			r, err := ParseRequest(request)
			require.NoError(t, err)
			require.Equal(t, sender.Peer(), r.From)
			require.Equal(t, request, marshal(t, r))
			handshakeContext, finishedKey, err := c.keys(sender)
			require.NoError(t, err)
			require.Equal(t, v.get(t, "handshake-context"), handshakeContext)
			require.Equal(t, v.get(t, "finished-key"), finishedKey)
			got, err := c.Validate(sender, request, want)

			if v.isEmpty() {
				require.ErrorIs(t, err, ErrEmpty)
				require.Equal(t, want, v.get(t, "finished"))
				unsent, err := (&certificateMessage{context: r.Context}).marshal()
				require.NoError(t, err)
				require.Equal(t, v.get(t, "certificate-message"), unsent)
				refusal, err := c.Refuse(sender, request)
				require.NoError(t, err)
				require.Equal(t, want, refusal)
				return
			}
			require.NoError(t, err)
			require.Equal(t, v.get(t, "certificate"), got.Certificates[0].Raw)
			require.Equal(t, []Extension{{cmw, evidence}}, got.Extensions)
			certificate := v.get(t, "certificate-message")
			require.Equal(t, want, bytes.Join([][]byte{certificate, v.get(t, "certificate-verify"), v.get(t, "finished")}, nil))
			require.Equal(t, v.get(t, "signed-content"), signedContent(c.digest(handshakeContext, request, certificate)))

			made, err := c.Authenticate(t.Context(), sender, request, &Credential{
				Chain: [][]byte{v.get(t, "certificate")}, Signer: v.signer(t), Extensions: []Extension{{cmw, evidence}},
				SignatureSchemes: []tls.SignatureScheme{tls.SignatureScheme(l.scheme)},
			})
			require.NoError(t, err)
			if _, compares := v.signer(t).(deterministic); compares {
				require.Equal(t, want, made)
				return
			}
			require.True(t, bytes.HasPrefix(made, certificate))
			_, err = c.Validate(sender, request, made)
			require.NoError(t, err)
		})
	}
}
