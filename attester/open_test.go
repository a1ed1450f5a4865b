// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for uri, want := range map[string]string{
		"":                              `scheme "" is not known: want simulator:, device:`,
		"/dev/tpmrm0":                   "is not known: want simulator:, device:/dev/tpmrm0, swtpm:unix:/path or swtpm:tcp:host:port",
		"tpm:/dev/tpmrm0":               `scheme "tpm" is not known`,
		"simulator:":                    "import github.com/veraison/attested-tls/attester/simulator",
		"device:":                       "no device named",
		"device:" + dir + "/missing":    "no such file",
		"device:" + file:                "not a device",
		"swtpm:":                        `network "" is not known`,
		"swtpm:/tmp/sock":               "is not known: want swtpm:unix:/path or swtpm:tcp:host:port",
		"swtpm:unix:":                   "no socket named",
		"swtpm:unix:" + dir + "/s":      "no such file",
		"swtpm:unix:" + file:            "connection refused",
		"swtpm:unix:/" + longName():     "at most 107 are possible",
		"swtpm:tcp:":                    "want swtpm:tcp:host:port",
		"swtpm:tcp:localhost":           "want swtpm:tcp:host:port",
		"swtpm:tcp:127.0.0.1:notaport0": "connecting to the TPM",
	} {
		tpm, err := attester.Open(t.Context(), uri)
		assert.ErrorContains(t, err, want, uri)
		assert.ErrorContains(t, err, "opening TPM", uri)
		assert.Nil(t, tpm, uri)
	}
}

// TestOpener: a scheme that a program brings along.
func TestOpener(t *testing.T) {
	tpm, err := attester.Open(t.Context(), "simulator:", simulator.Opener())
	require.NoError(t, err)
	_, err = attester.Open(t.Context(), "simulator:", simulator.Opener())
	require.ErrorIs(t, err, simulator.ErrOpen)
	_, err = tpm.Attest(t.Context(), config(t, tpm), nonce)
	require.NoError(t, err)
	require.NoError(t, tpm.Close())
	for _, uri := range []string{"simulator:here", "simulator"} {
		_, err = attester.Open(t.Context(), uri, simulator.Opener())
		require.Error(t, err, uri)
	}
	sim, err := simulator.Open() // nothing holds it any more
	require.NoError(t, err)
	require.NoError(t, sim.Close())
}

func longName() string { return strings.Repeat("s", 107) }

// TestOpenTCP goes through a listener of the test's, so that no port needs to
// be guessed for swtpm.
func TestOpenTCP(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	address := relay(t, p.Socket(), func(dst io.Writer, src io.Reader) { io.Copy(dst, src) })
	tpm, err := attester.Open(t.Context(), "swtpm:tcp:"+address)
	require.NoError(t, err)
	t.Cleanup(func() { tpm.Close() })
	_, err = tpm.Attest(t.Context(), config(t, tpm), nonce)
	require.NoError(t, err)
	requireEmpty(t, tpm)
}

// relay passes connections on to a unix socket. back carries what comes back.
func relay(t *testing.T, socket string, back func(dst io.Writer, src io.Reader)) string {
	t.Helper()
	return serve(t, func(client net.Conn) {
		server, err := net.Dial("unix", socket)
		if err != nil {
			return
		}
		go func() {
			io.Copy(server, client)
			server.Close()
		}()
		back(client, server)
		server.Close()
	})
}

// serve listens on a loopback port until t ends.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// TestNotATPM: peers that are something else.
func TestNotATPM(t *testing.T) {
	family := func(value string) []byte {
		body := []byte{0}
		body = binary.BigEndian.AppendUint32(body, uint32(tpm2.TPMCapTPMProperties))
		body = binary.BigEndian.AppendUint32(body, 1)
		body = binary.BigEndian.AppendUint32(body, uint32(tpm2.TPMPTFamilyIndicator))
		return success(append(body, value...))
	}
	sized := func(size uint32) []byte {
		b := success(nil)
		binary.BigEndian.PutUint32(b[2:], size)
		return b
	}
	for name, test := range map[string]struct {
		response []byte
		want     string
	}{
		"closes at once":        {nil, "closed the connection"},
		"HTTP":                  {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "the response says that it has"},
		"closes in the header":  {success(nil)[:9], "closed the connection"},
		"closes in the body":    {family("2.0\x00")[:20], "closed the connection"},
		"size too small":        {sized(9), "want 10 to 4096"},
		"size zero":             {sized(0), "want 10 to 4096"},
		"size too large":        {sized(4097), "want 10 to 4096"},
		"size 4 GiB":            {sized(0xffffffff), "want 10 to 4096"},
		"TPM 1.2":               {failure(0x1e), "does not answer as a TPM 2.0"},
		"another family":        {family("1.2\x00"), "not a TPM of family 2.0"},
		"no family":             {success([]byte{0, 0, 0, 0, 6, 0, 0, 0, 0}), "not a TPM of family 2.0"},
		"nothing in the answer": {success(nil), "does not answer as a TPM 2.0"},
		"not started":           {failure(tpm2.TPMRCInitialize), "run tpm2_startup -c, or swtpm with --flags startup-clear"},
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, func(conn net.Conn) {
				io.ReadFull(conn, make([]byte, 22)) // TPM2_GetCapability
				conn.Write(test.response)
			})
			tpm, err := attester.Open(t.Context(), "swtpm:tcp:"+address)
			require.ErrorContains(t, err, test.want)
			require.Nil(t, tpm)
		})
	}
	tpm, err := attester.Open(t.Context(), "swtpm:tcp:"+serve(t, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 22))
		conn.Write(family("2.0\x00"))
	}))
	require.NoError(t, err, "the test's own answer is wrong")
	require.NoError(t, tpm.Close())
}

// TestOpenSilentPeer: the context ends what nothing else does.
func TestOpenSilentPeer(t *testing.T) {
	done := make(chan struct{})
	address := serve(t, func(net.Conn) { <-done })
	t.Cleanup(func() { close(done) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := attester.Open(ctx, "swtpm:tcp:"+address)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begin), 2*time.Second)
}

// TestDeadSWTPM: an error at once, and a TPM that comes back is used again.
func TestDeadSWTPM(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	tpm := p.Open(t)
	cfg := config(t, tpm)
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)

	require.NoError(t, p.Kill())
	for range 3 {
		begin := time.Now()
		evidence, err := tpm.Attest(t.Context(), cfg, nonce)
		require.Error(t, err)
		require.Nil(t, evidence)
		require.Less(t, time.Since(begin), time.Second)
	}
	_, err = tpm.Attest(t.Context(), cfg, nonce)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	// The TPM was reset: saved contexts are void, keys are not.
	require.NoError(t, p.Start())
	_, err = tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
	requireEmpty(t, tpm)
}

// TestKilledUnderOperations kills swtpm while several callers use it.
func TestKilledUnderOperations(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	tpm := p.Open(t)
	cfg := config(t, tpm)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				if _, err := tpm.Attest(t.Context(), cfg, nonce); err != nil {
					return
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, p.Kill())
	wg.Wait()
	require.NoError(t, p.Start())
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
	requireEmpty(t, tpm)
}

// TestHungSWTPM: callers get away at their deadline; Close does not hang.
func TestHungSWTPM(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	tpm := p.Open(t)
	attester.SetGrace(tpm, 200*time.Millisecond)
	cfg := config(t, tpm)
	require.NoError(t, p.Pause())
	for range 2 { // the second waits for its turn
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		begin := time.Now()
		_, err := tpm.Attest(ctx, cfg, nonce)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(begin), 2*time.Second)
	}

	// A TPM that was only slow is used again, and the connection with it.
	require.NoError(t, p.Resume())
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
	requireEmpty(t, tpm)

	require.NoError(t, p.Pause())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = tpm.Attest(ctx, cfg, nonce)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	begin := time.Now()
	tpm.Close()
	require.Less(t, time.Since(begin), 2*time.Second)
}

// TestBrokenConnection: objects that could not be flushed are flushed by the
// next operation, over a new connection.
func TestBrokenConnection(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	var mu sync.Mutex
	limit := 0 // responses until the connection breaks; 0 for never
	address := relay(t, p.Socket(), func(dst io.Writer, src io.Reader) {
		for {
			response := make([]byte, 4096)
			n, err := src.Read(response)
			if err != nil {
				return
			}
			mu.Lock()
			breaks := limit == 1
			limit--
			mu.Unlock()
			if breaks {
				return
			}
			dst.Write(response[:n])
		}
	})
	tpm, err := attester.Open(t.Context(), "swtpm:tcp:"+address)
	require.NoError(t, err)
	t.Cleanup(func() { tpm.Close() })
	cfg := config(t, tpm)
	_, err = tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)

	// Certify's response carries no handle. It is the first while the keys are
	// in the TPM, and comes after two loads when they are not.
	for _, n := range []int{1, 3} {
		mu.Lock()
		limit = n
		mu.Unlock()
		_, err = tpm.Attest(t.Context(), cfg, nonce)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		requireEmpty(t, tpm)
	}
	_, err = tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
}

// TestOthersFillTheTPM: the error says what to do about it.
func TestOthersFillTheTPM(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	raw, err := net.Dial("unix", p.Socket())
	require.NoError(t, err)
	other := transport.FromReadWriteCloser(raw)
	for range 3 {
		_, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(other)
		require.NoError(t, err)
	}
	require.NoError(t, other.Close())
	tpm := p.Open(t)
	_, err = tpm.CreateAK(t.Context(), p256)
	require.ErrorIs(t, err, tpm2.TPMRCObjectMemory)
	require.ErrorContains(t, err, "tpm2_flushcontext -t")
}

// TestOwnerPassword: keys below an owner hierarchy with a password say so.
func TestOwnerPassword(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		require.NoError(t, tpm.Do(t.Context(), func(raw transport.TPM, _ []tpm2.AuthHandle) error {
			_, err := tpm2.HierarchyChangeAuth{
				AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Name: tpm2.HandleName(tpm2.TPMRHOwner), Auth: tpm2.PasswordAuth(nil)},
				NewAuth:    tpm2.TPM2BAuth{Buffer: []byte("secret")},
			}.Execute(raw)
			return err
		}))
		_, err := tpm.CreateAK(t.Context(), p256)
		require.ErrorContains(t, err, "the owner hierarchy has a password")
	})
}
