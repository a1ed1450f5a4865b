// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package config reads the plugin's configuration: who may sign CoRIMs, whether
// an unsigned one is taken, and how much of anything. A configuration that is
// wrong in any way is an error, and the plugin then serves nothing.
package config

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
)

// Env names the environment variable that names the configuration file. The VTS
// hands its environment on.
const Env = "ATTESTED_TLS_PLUGIN_CONFIG"

// FileName is the configuration file beside the plugin's binary, which is read
// if Env is not set.
const FileName = "attested-tls.json"

// maxFileSize bounds the configuration and each file that it names, in bytes.
const maxFileSize = 1 << 20

// Config is what the plugin may take. Its zero value takes nothing.
type Config struct {
	// AcceptUnsigned takes CoRIMs without a signature from whoever may provision.
	AcceptUnsigned bool
	// HostVerifies says that the operator knows who verifies signed CoRIMs where
	// the host does: not this configuration.
	HostVerifies bool
	// Signers may sign CoRIMs, each with a key of its own.
	Signers []Signer
	// Roots are those of certificates that may sign CoRIMs; nil is none.
	Roots *x509.CertPool
	// MaxCorimSize is in bytes, with the signature if there is one.
	MaxCorimSize int
	// MaxTrustAnchors and MaxReferenceStates bound what is in one CoRIM.
	MaxTrustAnchors, MaxReferenceStates int
}

// Signer is a public key that is trusted to sign CoRIMs.
type Signer struct {
	// Name is for logs.
	Name string
	// Key is one that package endorsements/signed verifies with.
	Key crypto.PublicKey
}

// Default is the configuration without a file: unsigned CoRIMs, as Veraison's
// own plugin takes them, and no signed ones, whose signers nobody named.
func Default() Config { return Config{AcceptUnsigned: true}.withLimits() }

func (c Config) withLimits() Config {
	if c.MaxCorimSize == 0 {
		c.MaxCorimSize = endorsements.MaxSignedSize
	}
	if c.MaxTrustAnchors == 0 {
		c.MaxTrustAnchors = maxCount
	}
	if c.MaxReferenceStates == 0 {
		c.MaxReferenceStates = maxCount
	}
	return c
}

// maxCount is more than fits into a CoRIM.
const maxCount = endorsements.MaxCorimSize

// TakesSigned says whether anybody is trusted to sign.
func (c Config) TakesSigned() bool { return len(c.Signers) > 0 || c.Roots != nil }

// ErrHostDecides says that the configuration limits who may sign, where the host
// does not ask the plugin.
var ErrHostDecides = errors.New("this Veraison verifies signed CoRIMs itself, by vts.ca-certs and the system's roots: trusted-signers and roots-file " +
	"would not be enforced; take them out, or say host-verifies-signatures")

// CheckHostVerifies is an error unless it may be the host that says who signs.
func (c Config) CheckHostVerifies() error {
	if c.TakesSigned() && !c.HostVerifies {
		return ErrHostDecides
	}
	return nil
}

// Find returns the path of the configuration file: what Env says, or FileName
// beside the binary if there is one, or "" for Default. Beside the binary is
// where the host started it (started, its argument 0) and, if that is a link,
// where it leads; two files are an error.
func Find(getenv func(string) string, started string, executable func() (string, error)) (string, error) {
	if path := getenv(Env); path != "" {
		return path, nil
	}
	binary, err := executable()
	if err != nil {
		return "", fmt.Errorf("looking for %s beside the plugin: %w", FileName, err)
	}
	found := ""
	var first fs.FileInfo
	for _, beside := range []string{started, binary} {
		path := filepath.Join(filepath.Dir(beside), FileName)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			// One that is there and cannot be read is no permission to do without.
			return "", fmt.Errorf("looking for %s beside the plugin: %w", FileName, err)
		case found == "":
			found, first = path, info
		case !os.SameFile(first, info):
			return "", fmt.Errorf("both %s and %s are there, one beside a link to the plugin and one beside the plugin; keep one of them", found, path)
		}
	}
	return found, nil
}

// Load reads the configuration file, or for the path "" returns Default.
func Load(path string) (Config, error) {
	if path == "" {
		return Default(), nil
	}
	data, err := readFile(path)
	if err != nil {
		return Config{}, err
	}
	c, err := parse(data, filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// file is the form of the configuration: one JSON object.
type file struct {
	AcceptUnsigned     *bool        `json:"accept-unsigned"`
	HostVerifies       bool         `json:"host-verifies-signatures"`
	TrustedSigners     []fileSigner `json:"trusted-signers"`
	RootsFile          *string      `json:"roots-file"`
	MaxCorimSize       *int         `json:"max-corim-size"`
	MaxTrustAnchors    *int         `json:"max-trust-anchors"`
	MaxReferenceStates *int         `json:"max-reference-states"`
}

type fileSigner struct {
	Name    string  `json:"name"`
	Key     *string `json:"key"`
	KeyFile *string `json:"key-file"`
}

// parse reads a configuration; files that it names are relative to dir.
func parse(data []byte, dir string) (Config, error) {
	f, err := decode(data)
	if err != nil {
		return Config{}, err
	}
	if f.AcceptUnsigned == nil {
		return Config{}, errors.New("accept-unsigned: missing; expected true or false")
	}
	c := Config{AcceptUnsigned: *f.AcceptUnsigned, HostVerifies: f.HostVerifies}
	for i, s := range f.TrustedSigners {
		signer, err := s.load(dir)
		if err != nil {
			return Config{}, fmt.Errorf("trusted-signers[%d]: %w", i, err)
		}
		c.Signers = append(c.Signers, signer)
	}
	if f.RootsFile != nil {
		if c.Roots, err = loadRoots(resolve(dir, *f.RootsFile)); err != nil {
			return Config{}, fmt.Errorf("roots-file: %w", err)
		}
	}
	for _, limit := range []struct {
		name string
		from *int
		to   *int
		most int
	}{
		{"max-corim-size", f.MaxCorimSize, &c.MaxCorimSize, endorsements.MaxSignedSize},
		{"max-trust-anchors", f.MaxTrustAnchors, &c.MaxTrustAnchors, maxCount},
		{"max-reference-states", f.MaxReferenceStates, &c.MaxReferenceStates, maxCount},
	} {
		if limit.from == nil {
			continue
		}
		if *limit.from < 1 || *limit.from > limit.most {
			return Config{}, fmt.Errorf("%s: expected 1 to %d, found %d", limit.name, limit.most, *limit.from)
		}
		*limit.to = *limit.from
	}
	if !c.AcceptUnsigned && !c.TakesSigned() && !c.HostVerifies {
		return Config{}, errors.New("no CoRIM would be accepted; expected trusted-signers or a roots-file, or accept-unsigned to be true")
	}
	return c.withLimits(), nil
}

// decode is stricter than encoding/json: a misspelt or repeated name could make
// a verifier trust more than its operator meant.
func decode(data []byte) (*file, error) {
	if err := checkNames(json.NewDecoder(bytes.NewReader(data)), 0); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var f *file
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, errors.New("expected a JSON object, found null")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return f, nil
}

// maxDepth is how deep a configuration nests: the object, a list, its objects,
// their members.
const maxDepth = 3

// checkNames refuses a name that is twice in one object, or not in lower case:
// encoding/json would take either.
func checkNames(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			token, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string)
			if name != strings.ToLower(name) {
				return fmt.Errorf("unknown field %.40q; names are in lower case", name)
			}
			if seen[name] {
				return fmt.Errorf("%.40s: there twice", name)
			}
			seen[name] = true
		}
		if err := checkNames(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // } or ]
	return err
}

func (s fileSigner) load(dir string) (Signer, error) {
	if s.Name == "" {
		return Signer{}, errors.New("name: missing")
	}
	var text []byte
	switch {
	case s.Key != nil && s.KeyFile == nil:
		text = []byte(*s.Key)
	case s.Key == nil && s.KeyFile != nil:
		var err error
		if text, err = readFile(resolve(dir, *s.KeyFile)); err != nil {
			return Signer{}, fmt.Errorf("key-file: %w", err)
		}
	default:
		return Signer{}, errors.New("expected either a key or a key-file")
	}
	key, err := parseKey(text)
	if err != nil {
		return Signer{}, fmt.Errorf("key: %w", err)
	}
	return Signer{Name: s.Name, Key: key}, nil
}

// parseKey reads one PEM block PUBLIC KEY (RFC 7468, 13).
func parseKey(text []byte) (crypto.PublicKey, error) {
	ders, err := blocks(text, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	if len(ders) != 1 {
		return nil, fmt.Errorf("expected one PEM block PUBLIC KEY, found %d", len(ders))
	}
	key, err := x509.ParsePKIXPublicKey(ders[0])
	if err != nil {
		return nil, fmt.Errorf("expected a SubjectPublicKeyInfo: %w", err)
	}
	return key, signed.CheckKey(key)
}

// loadRoots reads PEM blocks CERTIFICATE, at least one.
func loadRoots(path string) (*x509.CertPool, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	ders, err := blocks(text, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	if len(ders) == 0 {
		return nil, errors.New("expected PEM blocks CERTIFICATE, found none")
	}
	pool := x509.NewCertPool()
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// blocks returns the content of the PEM blocks, which are all of one type. Text
// around them is a comment, unless it looks like a block that cannot be read.
func blocks(text []byte, typ string) (ders [][]byte, err error) {
	want := bytes.Count(text, []byte("-----BEGIN "))
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != typ {
			return nil, fmt.Errorf("expected PEM blocks %s, found one of %.40q", typ, block.Type)
		}
		ders = append(ders, block.Bytes)
		text = rest
	}
	if len(ders) != want {
		return nil, fmt.Errorf("expected PEM blocks %s, found a malformed one", typ)
	}
	return ders, nil
}

func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxFileSize)
	}
	return data, nil
}
