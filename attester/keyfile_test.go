// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// TestKeysAreKept: keys come back from files and handles as they were, in a
// process that knows nothing of them, and after a reset of the TPM.
func TestKeysAreKept(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	dir := t.TempDir()
	for i, places := range [][2]string{
		{filepath.Join(dir, "ak.pem"), filepath.Join(dir, "tik.pem")},
		{"0x81010002", "0x81010003"},
		{"0x81810002", "0x81010004"}, // the former is the platform's
	} {
		for _, alg := range []string{"ecdsa-p256-sha256", "rsapss-2048-sha256"} {
			tpm := p.Open(t)
			ak, tik := createAK(t, tpm, keyAlg(t, alg)), createTIK(t, tpm, keyAlg(t, alg))
			if i == 2 {
				assert.ErrorIs(t, tpm.SaveKey(t.Context(), ak.Key(), places[0]), tpm2.TPMRCRange)
				require.NoError(t, tpm.Close())
				continue
			}
			require.NoError(t, tpm.ReplaceKey(t.Context(), ak.Key(), places[0]))
			require.NoError(t, tpm.ReplaceKey(t.Context(), tik.Key(), places[1]))
			requireEmpty(t, tpm)
			require.NoError(t, tpm.Close())
			require.NoError(t, p.Stop())
			require.NoError(t, p.Start())

			tpm = p.Open(t)
			ak2, err := tpm.LoadAK(t.Context(), places[0])
			require.NoError(t, err)
			tik2, err := tpm.LoadTIK(t.Context(), places[1])
			require.NoError(t, err)
			assert.Equal(t, ak.KID(), ak2.KID())
			assert.Equal(t, tik.PubArea(), tik2.PubArea())
			assert.Equal(t, tik.SignatureSchemes(), tik2.SignatureSchemes())
			a, err := attester.NewAttester(t.Context(), attester.AttestConfig{AK: ak2, TIK: tik2, Selection: selection(t, "sha256:0")})
			require.NoError(t, err)
			evidence, err := a.Bundle(t.Context(), nonce)
			require.NoError(t, err)
			require.NoError(t, verifyEvidence(evidence, ak, nonce))
			requireEmpty(t, tpm)
			require.NoError(t, tpm.Close())
		}
	}
}

// TestNoOverwrite: what is there stays, unless it is asked to be replaced.
func TestNoOverwrite(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ctx := t.Context()
		dir := t.TempDir()
		path := filepath.Join(dir, "key.pem")
		old, other := createTIK(t, tpm, p256), createTIK(t, tpm, p256)
		for _, where := range []string{path, "0x81010007"} {
			require.NoError(t, tpm.SaveKey(ctx, old.Key(), where))
			err := tpm.SaveKey(ctx, other.Key(), where)
			require.ErrorIs(t, err, fs.ErrExist)
			require.ErrorContains(t, err, where)
			got, err := tpm.LoadTIK(ctx, where)
			require.NoError(t, err)
			require.Equal(t, old.PubArea(), got.PubArea())

			require.NoError(t, tpm.ReplaceKey(ctx, other.Key(), where))
			got, err = tpm.LoadTIK(ctx, where)
			require.NoError(t, err)
			require.Equal(t, other.PubArea(), got.PubArea())
		}
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
		requireFiles(t, dir, "key.pem")
		// The same key once more takes no harm at a handle.
		require.NoError(t, tpm.SaveKey(ctx, other.Key(), "0x81010007"))

		// A directory that takes no file.
		err = tpm.SaveKey(ctx, old.Key(), filepath.Join(dir, "none", "key.pem"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorIs(t, tpm.ReplaceKey(ctx, old.Key(), dir), fs.ErrExist)
		requireFiles(t, dir, "key.pem")
	})
}

func requireFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	require.Equal(t, want, names, "something is left in the folder")
}

// TestSaveRace: of many who create a file at once one does, and the file is
// that one's.
func TestSaveRace(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	var won atomic.Pointer[attester.TIK]
	var wg sync.WaitGroup
	for range 8 {
		tik := createTIK(t, tpm, p256)
		wg.Go(func() {
			if err := tpm.SaveKey(t.Context(), tik.Key(), path); err == nil {
				assert.True(t, won.CompareAndSwap(nil, tik), "two won")
			} else {
				assert.ErrorIs(t, err, fs.ErrExist)
			}
		})
	}
	wg.Wait()
	got, err := tpm.LoadTIK(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, won.Load().PubArea(), got.PubArea())
	requireFiles(t, dir, "key.pem")
}

// TestWrongKeys: each differs from an AK or a TIK in what its name says, and
// is refused when it is loaded.
func TestWrongKeys(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ctx := t.Context()
		for name, test := range map[string]struct {
			make func(context.Context, *attester.TPM, attester.KeyAlg) (*attester.Key, error)
			tik  string
			ak   string
		}{
			"NotFixedTPM":    {tpmtest.NotFixedTPM, "it may leave the TPM (fixedTPM is not set)", "it may leave the TPM"},
			"Duplicable":     {tpmtest.Duplicable, "it may be given another parent (fixedParent is not set)", "another parent"},
			"Restricted":     {tpmtest.Restricted, "so no handshake (restricted is set)", ""},
			"SignAndDecrypt": {tpmtest.SignAndDecrypt, "it decrypts as well (decrypt is set)", "it decrypts as well"},
			"DecryptOnly":    {tpmtest.DecryptOnly, "it does not sign (sign is not set)", "it does not sign"},
			"TIK": {func(ctx context.Context, tpm *attester.TPM, alg attester.KeyAlg) (*attester.Key, error) {
				tik, err := tpm.CreateTIK(ctx, alg)
				return tik.Key(), err
			}, "", "it signs whatever it is given"},
		} {
			k, err := test.make(ctx, tpm, p256)
			require.NoError(t, err, name)
			tik, err := k.TIK(ctx)
			if test.tik == "" {
				assert.NoError(t, err, name)
			} else {
				assert.ErrorIs(t, err, attester.ErrNotTIK, name)
				assert.ErrorContains(t, err, test.tik, name)
				assert.Nil(t, tik, name)
			}
			ak, err := k.AK(ctx)
			if test.ak == "" {
				assert.NoError(t, err, name)
			} else {
				assert.ErrorIs(t, err, attester.ErrNotAK, name)
				assert.ErrorContains(t, err, test.ak, name)
				assert.Nil(t, ak, name)
			}
		}
	})
}

// TestKeyFileRefused: files that are not keys, or not ones that can be used.
func TestKeyFileRefused(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	good := createTIK(t, tpm, p256).Key()
	file, err := good.KeyFile()
	require.NoError(t, err)
	_, err = tpm.LoadKeyFile(t.Context(), file)
	require.NoError(t, err, "the test's own file is wrong")
	block, _ := pem.Decode(file)
	require.NotNil(t, block)

	armour := func(typ string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
	}
	change := func(f func(*keyfile.TPMKey)) []byte {
		k, err := keyfile.Parse(block.Bytes)
		require.NoError(t, err)
		f(k)
		return armour("TSS2 PRIVATE KEY", keyfile.Marshal(k))
	}
	// field inserts a field behind the type, where the optional ones are.
	field := func(tag int, content []byte) []byte {
		var seq, oid asn1.RawValue
		_, err := asn1.Unmarshal(block.Bytes, &seq)
		require.NoError(t, err)
		rest, err := asn1.Unmarshal(seq.Bytes, &oid)
		require.NoError(t, err)
		extra, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: content})
		require.NoError(t, err)
		// emptyAuth comes first and is there already.
		if tag != 0 {
			extra = append(bytes.Clone(rest[:5]), extra...)
		}
		der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append(append(bytes.Clone(oid.FullBytes), extra...), rest[5:]...)})
		require.NoError(t, err)
		return armour("TSS2 PRIVATE KEY", der)
	}
	policy := []*keyfile.TPMPolicy{{CommandCode: 1, CommandPolicy: []byte{1}}}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"empty":              {nil, "it is not PEM"},
		"not PEM":            {block.Bytes, "it is not PEM"},
		"a public key":       {[]byte(good.PEM()), `it holds a "PUBLIC KEY"`},
		"too large":          {append(bytes.Clone(file), make([]byte, 64<<10)...), "at most 65536"},
		"no DER":             {armour("TSS2 PRIVATE KEY", []byte("junk")), "not DER"},
		"left over":          {armour("TSS2 PRIVATE KEY", append(bytes.Clone(block.Bytes), 0)), "bytes left over"},
		"cut off":            {armour("TSS2 PRIVATE KEY", block.Bytes[:100]), "not DER"},
		"policy":             {change(func(k *keyfile.TPMKey) { k.Policy = policy }), "needs its policy"},
		"authPolicy":         {change(func(k *keyfile.TPMKey) { k.AuthPolicy = []*keyfile.TPMAuthPolicy{{Policy: policy}} }), "needs its policy"},
		"importable":         {change(func(k *keyfile.TPMKey) { k.Keytype = keyfile.OIDImportableKey }), "yet to be imported"},
		"sealed":             {change(func(k *keyfile.TPMKey) { k.Keytype = keyfile.OIDSealedKey }), "sealed data"},
		"secret":             {change(func(k *keyfile.TPMKey) { k.Secret.Buffer = []byte{1} }), "it holds a secret"},
		"RSA parent":         {field(5, []byte{1, 1, 0xff}), "field [5], which is not known"},
		"null hierarchy":     {change(func(k *keyfile.TPMKey) { k.Parent = tpm2.TPMRHNull }), "its parent is 0x40000007"},
		"endorsement":        {change(func(k *keyfile.TPMKey) { k.Parent = tpm2.TPMRHEndorsement }), "its parent is 0x4000000b"},
		"transient parent":   {change(func(k *keyfile.TPMKey) { k.Parent = 0x80000000 }), "its parent is 0x80000000"},
		"parent not there":   {change(func(k *keyfile.TPMKey) { k.Parent = 0x81000099 }), "handle 0x81000099: there is no key"},
		"another private":    {change(func(k *keyfile.TPMKey) { k.Privkey.Buffer[40] ^= 1 }), "made in another TPM"},
		"empty private":      {change(func(k *keyfile.TPMKey) { k.Privkey.Buffer = nil }), "TPM2_Load"},
		"emptyAuth is FALSE": {change(func(k *keyfile.TPMKey) { k.EmptyAuth = false }), ""},
		"description":        {change(func(k *keyfile.TPMKey) { k.Description = "a key" }), ""},
		"text around it":     {append([]byte("a comment\n"), append(bytes.Clone(file), "and another"...)...), ""},
	} {
		k, err := tpm.LoadKeyFile(t.Context(), test.data)
		if test.want == "" {
			assert.NoError(t, err, name)
			continue
		}
		assert.ErrorContains(t, err, test.want, name)
		assert.ErrorContains(t, err, "key file", name)
		assert.Nil(t, k, name)
	}
	_, err = tpm.LoadKeyFile(t.Context(), change(func(k *keyfile.TPMKey) { k.Policy = policy }))
	assert.ErrorIs(t, err, attester.ErrPolicy)
	requireEmpty(t, tpm)
}

// TestForeignKeyFile: another TPM's.
func TestForeignKeyFile(t *testing.T) {
	tpm, other := tpmtest.Simulator(t), tpmtest.SWTPM(t)
	file, err := createAK(t, other, p256).Key().KeyFile()
	require.NoError(t, err)
	_, err = tpm.LoadKeyFile(t.Context(), file)
	assert.ErrorContains(t, err, "made in another TPM")
}

// TestParents: keys below others than the storage root key.
func TestParents(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ctx := t.Context()
		parent, err := tpm.CreateKey(ctx, nil, tpm2.RSASRKTemplate)
		require.NoError(t, err)
		template, err := p256.Template()
		require.NoError(t, err)
		child, err := tpm.CreateKey(ctx, parent, template)
		require.NoError(t, err)
		_, err = child.KeyFile()
		require.ErrorContains(t, err, "save the parent first")

		require.NoError(t, tpm.SaveKey(ctx, parent, "0x81000001"))
		persistent, err := tpm.LoadHandle(ctx, 0x81000001)
		require.NoError(t, err)
		_, err = persistent.KeyFile()
		require.ErrorContains(t, err, "no private part")
		require.ErrorContains(t, tpm.SaveKey(ctx, persistent, "0x81000002"), "at handle 0x81000001 already")
		child, err = tpm.CreateKey(ctx, persistent, template)
		require.NoError(t, err)
		file, err := child.KeyFile()
		require.NoError(t, err)
		again, err := tpm.LoadKeyFile(ctx, file)
		require.NoError(t, err)
		require.Equal(t, child.KID(), again.KID())
		_, err = again.TIK(ctx)
		require.NoError(t, err)
	})
}

func TestWhere(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	k := createTIK(t, tpm, p256).Key()
	t.Chdir(t.TempDir())
	for where, want := range map[string]string{
		"":            "no place named",
		"0x":          "not a persistent handle",
		"0x80000001":  "not a persistent handle",
		"0x8101000g":  "not a persistent handle",
		"0x181010002": "not a persistent handle",
	} {
		assert.ErrorContains(t, tpm.SaveKey(t.Context(), k, where), want, where)
		_, err := tpm.LoadTIK(t.Context(), where)
		assert.ErrorContains(t, err, want, where)
	}
	require.NoError(t, tpm.SaveKey(t.Context(), k, "./0x81010002"))
	_, err := tpm.LoadTIK(t.Context(), "./0x81010002")
	require.NoError(t, err)
	_, err = tpm.LoadTIK(t.Context(), "0x81010002")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "handle 0x81010002: there is no key")
	_, err = tpm.LoadAK(t.Context(), "missing.pem")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = tpm.LoadAK(t.Context(), "/dev/zero")
	require.ErrorContains(t, err, "at most 65536")
	_, err = tpm.LoadHandle(t.Context(), 0x80000000)
	require.ErrorContains(t, err, "not a persistent one")
}

// TestReplacedHandle: a key at a handle that became another's is found out.
func TestReplacedHandle(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		ctx := t.Context()
		ak, tik, other := createAK(t, tpm, p256), createTIK(t, tpm, p256), createTIK(t, tpm, p256)
		require.NoError(t, tpm.SaveKey(ctx, tik.Key(), "0x81010003"))
		loaded, err := tpm.LoadTIK(ctx, "0x81010003")
		require.NoError(t, err)
		cfg := attester.AttestConfig{AK: ak, TIK: loaded, Selection: selection(t, "sha256:0")}
		_, err = tpm.Attest(ctx, cfg, nonce)
		require.NoError(t, err)
		require.NoError(t, tpm.ReplaceKey(ctx, other.Key(), "0x81010003"))
		_, err = tpm.Attest(ctx, cfg, nonce)
		require.ErrorContains(t, err, "another object has its place")
		_, err = loaded.Signer().Sign(nil, make([]byte, 32), keyAlg(t, "ecdsa-p256-sha256").Hash)
		require.ErrorContains(t, err, "another object has its place")
	})
}

// TestOwnerPasswordPersistent: a handle needs the owner's password.
func TestOwnerPasswordPersistent(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	tik := createTIK(t, tpm, p256)
	require.NoError(t, tpm.Do(t.Context(), func(raw transport.TPM, _ []tpm2.AuthHandle) error {
		_, err := tpm2.HierarchyChangeAuth{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Name: tpm2.HandleName(tpm2.TPMRHOwner), Auth: tpm2.PasswordAuth(nil)},
			NewAuth:    tpm2.TPM2BAuth{Buffer: []byte("secret")},
		}.Execute(raw)
		return err
	}))
	require.ErrorContains(t, tpm.SaveKey(t.Context(), tik.Key(), "0x81010003"), "the owner hierarchy has a password")
}

// TestKeyFilesOfOthers: as tpm2_encodeobject, which gets emptyAuth wrong, and
// OpenSSL's tpm2 provider write them. What the latter makes decrypts as well,
// so it is no TIK; the file is in order.
func TestKeyFilesOfOthers(t *testing.T) {
	for _, name := range []string{"attester.pem", "tpm2-tools.pem", "tpm2-openssl.pem"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		parent, public, private, err := attester.ParseKeyFile(data)
		require.NoError(t, err, name)
		assert.Equal(t, tpm2.TPMHandle(tpm2.TPMRHOwner), parent, name)
		assert.Equal(t, name != "tpm2-openssl.pem", !attributes(t, public).Decrypt, name)
		assert.NotEmpty(t, private, name)
	}
}

// FuzzKeyFile: a file is refused, or says the same when it is written again.
func FuzzKeyFile(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.pem")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range seeds {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		block, _ := pem.Decode(data)
		f.Add(block.Bytes)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		parent, public, private, err := attester.ParseKeyFile(pem.EncodeToMemory(&pem.Block{Type: "TSS2 PRIVATE KEY", Bytes: der}))
		if err != nil {
			return
		}
		var b bytes.Buffer
		err = keyfile.Encode(&b, keyfile.NewTPMKey(keyfile.OIDLoadableKey,
			tpm2.BytesAs2B[tpm2.TPMTPublic](public), tpm2.TPM2BPrivate{Buffer: private}, keyfile.WithParent(parent)))
		if err != nil {
			t.Fatal(err)
		}
		parent2, public2, private2, err := attester.ParseKeyFile(b.Bytes())
		if err != nil || parent2 != parent || !bytes.Equal(public2, public) || !bytes.Equal(private2, private) {
			t.Fatalf("written again it is another: %v", err)
		}
	})
}
