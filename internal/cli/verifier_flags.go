// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"strings"

	"github.com/spf13/cobra"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
)

// passwordEnv has the password of HTTP's basic authentication.
const passwordEnv = "ATLS_PASSWORD"

// verifierFlags name a Veraison deployment and the keys of its results.
type verifierFlags struct {
	url          string
	keys         []string
	discover     bool
	insecureHTTP bool
	caCert       string
	username     string
	passwordFile string
}

func (f *verifierFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.url, "verifier", "", "URL of a Veraison deployment's verification service")
	fs.StringArrayVar(&f.keys, "verifier-key", nil, "the key that the verifier signs results with: a JWK or a PEM public key (repeatable)")
	fs.BoolVar(&f.discover, "discover", false, "ask the verifier for its keys: whoever answers under its name is trusted")
	fs.BoolVar(&f.insecureHTTP, "insecure-http", false, "allow http: anybody on the way can then forge what the verifier says")
	fs.StringVar(&f.caCert, "ca-cert", "", "trust these certification authorities (PEM) for the verifier instead of the system's")
	fs.StringVar(&f.username, "username", "", "user for HTTP basic authentication; the password is in --password-file or $"+passwordEnv)
	fs.StringVar(&f.passwordFile, "password-file", "", "file with the password")
}

// unused finds flags that would do nothing.
func (f *verifierFlags) unused() error {
	if f.url == "" && (len(f.keys) > 0 || f.discover || f.insecureHTTP || f.caCert != "" || f.username != "" || f.passwordFile != "") {
		return usageErrorf("--verifier-key, --discover, --ca-cert, --insecure-http, --username and --password-file are for --verifier")
	}
	return nil
}

// client makes a client of the deployment. It must be closed.
func (a *app) client(f *verifierFlags) (*rp.Veraison, error) {
	if err := checkHTTPS("--verifier", f.url, f.insecureHTTP); err != nil {
		return nil, err
	}
	keys, err := a.verifierKeys(f, strings.HasPrefix(strings.ToLower(f.url), "http:"))
	if err != nil {
		return nil, err
	}
	cfg := rp.Config{InsecureHTTP: f.insecureHTTP, UserAgent: "atls", Username: f.username}
	if cfg.TLS, err = a.tlsConfig(f.caCert); err != nil {
		return nil, err
	}
	if cfg.Password, err = a.password(f.username, f.passwordFile); err != nil {
		return nil, err
	}
	v, err := rp.NewVeraison(f.url, keys, cfg)
	if err != nil {
		return nil, usageErrorf("--verifier: %w", err)
	}
	return v, nil
}

// verifierKeys are the keys of files, or those that the verifier names.
func (a *app) verifierKeys(f *verifierFlags, plain bool) (ear.KeySource, error) {
	switch {
	case len(f.keys) > 0 && f.discover:
		return nil, usageErrorf("--verifier-key and --discover: want one of them")
	case len(f.keys) > 0:
		return a.pinnedKeys(f.keys)
	case f.discover && plain:
		return rp.InsecureDiscoverOverHTTP(), nil
	case f.discover:
		return rp.Discover(), nil
	}
	return nil, usageErrorf("the verifier's key is needed to trust its results").
		withHint("give --verifier-key, or --discover to ask the verifier itself")
}

func (a *app) pinnedKeys(paths []string) (ear.KeySource, error) {
	var keys []ear.Key
	for _, path := range paths {
		data, err := a.readFile(path)
		if err != nil {
			return nil, err
		}
		key, err := ear.ParseKey(data)
		if err != nil {
			return nil, inputErrorf("%s: %w", path, err)
		}
		keys = append(keys, key)
	}
	return ear.Pin(keys...), nil
}

// tlsConfig trusts the authorities of a file, or the system's.
func (a *app) tlsConfig(caCert string) (*tls.Config, error) {
	if caCert == "" {
		return nil, nil
	}
	data, err := a.readFile(caCert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, inputErrorf("%s: it holds no PEM certificate", caCert)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

// password is never an argument, which other users of the machine can read.
func (a *app) password(username, file string) (string, error) {
	switch {
	case username == "" && file == "":
		return "", nil
	case username == "":
		return "", usageErrorf("--password-file needs --username")
	case file == "":
		if password := a.env.Getenv(passwordEnv); password != "" {
			return password, nil
		}
		return "", usageErrorf("--username needs a password").withHint("put it into a file for --password-file, or into $%s", passwordEnv)
	}
	data, err := a.readFile(file)
	if err != nil {
		return "", err
	}
	password := bytes.TrimRight(data, "\r\n")
	if len(password) == 0 {
		return "", inputErrorf("%s: the password is empty", file)
	}
	return string(password), nil
}
