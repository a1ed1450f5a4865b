// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmtest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

var (
	es256 = attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
	es384 = attester.KeyAlg{Scheme: attester.ECDSA, Bits: 384, Hash: crypto.SHA384}
	ps256 = attester.KeyAlg{Scheme: attester.RSAPSS, Bits: 2048, Hash: crypto.SHA256}

	nonce = []byte("0123456789abcdef")
)

func onEachTPM(t *testing.T, test func(*testing.T, *attester.TPM)) {
	t.Helper()
	for name, open := range map[string]func(testing.TB) *attester.TPM{"simulator": tpmtest.Simulator, "swtpm": tpmtest.SWTPM} {
		t.Run(name, func(t *testing.T) {
			tpm := open(t)
			test(t, tpm)
			handles, err := tpmtest.Handles(t.Context(), tpm)
			require.NoError(t, err)
			require.Empty(t, handles)
		})
	}
}

// TestDefects: each key differs from a TIK in what its name says and in
// nothing else, and an AK certifies it all the same.
func TestDefects(t *testing.T) {
	const (
		fixed = kat.Attributes(1<<1 | 1<<4) // fixedTPM, fixedParent
		sign  = kat.Attributes(1 << 18)
	)
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ctx := t.Context()
		ak, err := tpm.CreateAK(ctx, es256)
		require.NoError(t, err)
		ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		require.NoError(t, err)
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)

		certify := func(k *attester.Key, err error) (kat.Token, error) {
			if err != nil {
				return kat.Token{}, err
			}
			return tpm.Certify(ctx, ak.Key(), k, nonce)
		}
		for _, alg := range []attester.KeyAlg{es384, ps256} {
			tik, err := tpm.CreateTIK(ctx, alg)
			require.NoError(t, err)
			good := attributes(t, ak, mustToken(t)(certify(tik.Key(), nil)))
			require.Equal(t, fixed|sign|1<<5|1<<6|1<<10, good)

			var imported crypto.Signer = ecKey
			if alg.Scheme != attester.ECDSA {
				imported = rsaKey
			}
			for name, test := range map[string]struct {
				differs kat.Attributes
				token   func() (kat.Token, error)
			}{
				"NotFixedTPM":    {1 << 1, func() (kat.Token, error) { return certify(tpmtest.NotFixedTPM(ctx, tpm, alg)) }},
				"Duplicable":     {fixed, func() (kat.Token, error) { return certify(tpmtest.Duplicable(ctx, tpm, alg)) }},
				"Restricted":     {1 << 16, func() (kat.Token, error) { return certify(tpmtest.Restricted(ctx, tpm, alg)) }},
				"SignAndDecrypt": {1 << 17, func() (kat.Token, error) { return certify(tpmtest.SignAndDecrypt(ctx, tpm, alg)) }},
				"DecryptOnly":    {1<<17 | sign, func() (kat.Token, error) { return certify(tpmtest.DecryptOnly(ctx, tpm, alg)) }},
				"Imported": {fixed | 1<<5, func() (kat.Token, error) {
					k, err := tpmtest.Imported(ctx, tpm, alg, imported)
					if err == nil {
						assert.Equal(t, imported.Public(), k.Public())
					}
					return certify(k, err)
				}},
				"CertifyDerived": {1 << 5, func() (kat.Token, error) { return tpmtest.CertifyDerived(ctx, tpm, ak.Key(), alg, nonce) }},
			} {
				token, err := test.token()
				if name == "CertifyDerived" && alg.Scheme != attester.ECDSA {
					require.Error(t, err, "no TPM derives RSA keys")
					continue
				}
				require.NoError(t, err, name)
				got := attributes(t, ak, token)
				assert.Equal(t, test.differs, got^good, "%s has attributes %v, a TIK has %v", name, got, good)
			}
		}
		_, err = tpmtest.Imported(ctx, tpm, es256, nil)
		assert.ErrorContains(t, err, "neither")
	})
}

func mustToken(t *testing.T) func(kat.Token, error) kat.Token {
	return func(token kat.Token, err error) kat.Token {
		t.Helper()
		require.NoError(t, err)
		return token
	}
}

func attributes(t *testing.T, ak *attester.AK, token kat.Token) kat.Attributes {
	t.Helper()
	u, err := kat.Parse(token)
	require.NoError(t, err)
	v, err := u.Verify(ak.Public(), nonce)
	require.NoError(t, err)
	return v.Claims().Attributes
}

// TestForged: statements that no TPM makes verify under an UnrestrictedKey.
func TestForged(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ctx := t.Context()
		tik, err := tpm.CreateTIK(ctx, es256)
		require.NoError(t, err)
		for _, alg := range []attester.KeyAlg{es384, ps256} {
			key, err := tpmtest.NewUnrestrictedKey(ctx, tpm, alg)
			require.NoError(t, err)

			pubArea, err := tpmtest.WithAttributes(tik.PubArea(), func(a *tpm2.TPMAObject) { a.FixedParent = false })
			require.NoError(t, err)
			certify, err := tpmtest.CertifyInfo(pubArea, nonce)
			require.NoError(t, err)
			k := kat.Token{TPMVer: "2.0", KID: key.KID(), CertInfo: tpm2.Marshal(certify), PubArea: pubArea}
			k.Sig, err = key.Sign(ctx, k.CertInfo)
			require.NoError(t, err)
			uk, err := kat.Parse(k)
			require.NoError(t, err)
			vk, err := uk.Verify(key.Public(), nonce)
			require.NoError(t, err)
			assert.Zero(t, vk.Claims().Attributes&(1<<4))
			certified, err := vk.Claims().PublicKey()
			require.NoError(t, err)
			assert.Equal(t, tik.Public(), certified)

			quote := tpmtest.QuoteInfo([]tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{1, 0, 0}}}, make([]byte, 32), nonce)
			p := pat.Token{TPMVer: "2.0", KID: key.KID(), AttestInfo: tpm2.Marshal(quote)}
			p.Sig, err = key.Sign(ctx, p.AttestInfo)
			require.NoError(t, err)
			up, err := pat.Parse(p)
			require.NoError(t, err)
			_, err = up.Verify(key.Public(), nonce)
			require.NoError(t, err)

			_, err = key.SignDigest(ctx, []byte("short"))
			assert.Error(t, err)
		}
		_, err = tpmtest.CertifyInfo([]byte{1}, nonce)
		assert.Error(t, err)
	})
}

// TestSimulatorIsNew: nothing passes from one test to the next.
func TestSimulatorIsNew(t *testing.T) {
	sel, err := attester.ParseSelection("sha256:0")
	require.NoError(t, err)
	var storage []string
	for range 2 {
		t.Run("", func(t *testing.T) {
			tpm := tpmtest.Simulator(t)
			values, err := tpm.ReadPCRs(t.Context(), sel)
			require.NoError(t, err)
			require.Equal(t, make([]byte, 32), values[crypto.SHA256][0])
			require.NoError(t, tpmtest.ExtendPCR(t.Context(), tpm, crypto.SHA256, 0, make([]byte, 32)))
			tik, err := tpm.CreateTIK(t.Context(), es256)
			require.NoError(t, err)
			storage = append(storage, tik.Key().PEM())
		})
	}
	assert.NotEqual(t, storage[0], storage[1])
}

// fatalTB records Fatalf, which ends the goroutine as it must.
type fatalTB struct {
	testing.TB
	name  string
	fatal chan string
}

func (f *fatalTB) Helper()      {}
func (f *fatalTB) Name() string { return f.name }
func (f *fatalTB) Fatalf(format string, _ ...any) {
	f.fatal <- format
	select {} // a goroutine that is leaked by this test alone
}

// TestSimulatorTwice: a test that would wait for itself fails instead.
func TestSimulatorTwice(t *testing.T) {
	tpmtest.Simulator(t)
	for _, name := range []string{t.Name(), t.Name() + "/sub"} {
		f := &fatalTB{name: name, fatal: make(chan string, 1)}
		go tpmtest.Simulator(f)
		select {
		case message := <-f.fatal:
			assert.Contains(t, message, "would wait for itself")
		case <-time.After(10 * time.Second):
			t.Fatal("it waits")
		}
	}
}

// TestSimulatorTakesTurns: tests that run at once get one after the other.
func TestSimulatorTakesTurns(t *testing.T) {
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			tpm := tpmtest.Simulator(t)
			_, err := tpm.CreateTIK(t.Context(), es256)
			require.NoError(t, err)
		})
	}
}

// TestSWTPMLeavesNothing: no process and no file outlives a test.
func TestSWTPMLeavesNothing(t *testing.T) {
	var dir string
	t.Run("", func(t *testing.T) {
		p := tpmtest.StartSWTPM(t)
		dir = filepath.Dir(p.Socket())
		require.DirExists(t, dir)
		require.NoError(t, p.Pause(), "a stopped process is ended, too")
	})
	require.NoDirExists(t, dir)
	out, err := exec.Command("pgrep", "-f", dir).Output()
	var exit *exec.ExitError
	if !errors.Is(err, exec.ErrNotFound) {
		require.True(t, errors.As(err, &exit), "a process is left: %s", out)
	}
}

// TestSWTPMKeepsItsState over a reset, and so a key's blob its worth.
func TestSWTPMKeepsItsState(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	tpm := p.Open(t)
	tik, err := tpm.CreateTIK(t.Context(), es256)
	require.NoError(t, err)
	for _, end := range []func() error{p.Stop, p.Kill} {
		require.NoError(t, tpm.Close())
		require.NoError(t, end())
		require.NoError(t, end(), "a second time")
		require.NoError(t, p.Start())
		tpm = p.Open(t)
		_, err = tpm.LoadKey(t.Context(), nil, tik.Key().PubArea(), tik.Key().PrivateBlob())
		require.NoError(t, err)
	}
}

// TestSWTPMDiesWithTheTest starts this test binary again, lets it start an
// swtpm, and kills it.
func TestSWTPMDiesWithTheTest(t *testing.T) {
	const variable = "TPMTEST_CHILD_SOCKET"
	if file := os.Getenv(variable); file != "" {
		p := tpmtest.StartSWTPM(t)
		require.NoError(t, os.WriteFile(file+".tmp", []byte(p.Socket()), 0o600))
		require.NoError(t, os.Rename(file+".tmp", file))
		select {}
	}
	file := filepath.Join(t.TempDir(), "socket")
	child := exec.Command(os.Args[0], "-test.run=^TestSWTPMDiesWithTheTest$")
	child.Env = append(os.Environ(), variable+"="+file)
	child.SysProcAttr = &syscall.SysProcAttr{}
	require.NoError(t, child.Start())
	var socket []byte
	require.Eventually(t, func() bool {
		var err error
		socket, err = os.ReadFile(file)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(string(socket))) })
	require.NoError(t, child.Process.Kill())
	child.Wait()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := attester.Open(ctx, "swtpm:unix:"+string(socket))
		return errors.Is(err, syscall.ECONNREFUSED)
	}, 10*time.Second, 10*time.Millisecond)
}

// TestSWTPMMissing: a machine without swtpm fails the test and says what to
// install.
func TestSWTPMMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	f := &fatalTB{name: t.Name(), fatal: make(chan string, 1)}
	go tpmtest.StartSWTPM(f)
	assert.Contains(t, <-f.fatal, "apt-get install swtpm")
}

// TestToolsMissing: the same of tpm2-tools.
func TestToolsMissing(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	t.Setenv("PATH", t.TempDir())
	f := &fatalTB{name: t.Name(), fatal: make(chan string, 1)}
	go p.Tool(f, t.TempDir(), "tpm2_getrandom", "8")
	assert.Contains(t, <-f.fatal, "apt-get install tpm2-tools")
}

// TestTool: tpm2-tools and package attester use the same TPM in turns, and
// the former leave nothing in it.
func TestTool(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	dir := t.TempDir()
	p.Tool(t, dir, "tpm2_createprimary", "-C", "o", "-c", "primary.ctx")
	require.FileExists(t, filepath.Join(dir, "primary.ctx"))
	handles, err := tpmtest.Handles(t.Context(), p.Open(t))
	require.NoError(t, err)
	require.Empty(t, handles)
}
