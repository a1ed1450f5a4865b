// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/veraison/attested-tls/internal/apihttp"
	"github.com/veraison/attested-tls/provisioning"
)

const (
	provisioningEnv = "ATLS_PROVISIONING_URL"
	clientSecretEnv = "ATLS_CLIENT_SECRET"
	tokenTimeout    = 30 * time.Second
)

// serviceFlags name a provisioning service, and who asks it.
type serviceFlags struct {
	url          string
	insecureHTTP bool
	caCert       string
	username     string
	passwordFile string

	tokenURL         string
	clientID         string
	clientSecretFile string
	scopes           []string
}

func (f *serviceFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.url, "url", "", "URL of the provisioning service (default $"+provisioningEnv+")")
	fs.BoolVar(&f.insecureHTTP, "insecure-http", false, "allow http: anybody on the way can then read the credentials and change what is sent")
	fs.StringVar(&f.caCert, "ca-cert", "", "trust these certification authorities (PEM) instead of the system's")
	fs.StringVar(&f.username, "username", "", "user for HTTP basic authentication, or for OAuth2's password grant;\n"+
		"the password is in --password-file or $"+passwordEnv)
	fs.StringVar(&f.passwordFile, "password-file", "", "file with the password")
	fs.StringVar(&f.tokenURL, "oauth2-token-url", "", "get OAuth2 access tokens here, with the client's credentials or, with\n"+
		"--username, with the user's password")
	fs.StringVar(&f.clientID, "client-id", "", "OAuth2 client")
	fs.StringVar(&f.clientSecretFile, "client-secret-file", "", "file with the OAuth2 client's secret (default $"+clientSecretEnv+")")
	fs.StringArrayVar(&f.scopes, "oauth2-scope", nil, "scope to ask for (repeatable)")
}

// provisioningClient makes a client of the service.
func (a *app) provisioningClient(ctx context.Context, f *serviceFlags) (*provisioning.Client, error) {
	address := cmp.Or(f.url, a.env.Getenv(provisioningEnv))
	if address == "" {
		return nil, usageErrorf("the provisioning service's URL is needed").withHint("give --url, or set $%s", provisioningEnv)
	}
	if err := checkHTTPS("--url", address, f.insecureHTTP); err != nil {
		return nil, err
	}
	cfg := provisioning.Config{InsecureHTTP: f.insecureHTTP, UserAgent: "atls"}
	var err error
	if cfg.TLS, err = a.tlsConfig(f.caCert); err != nil {
		return nil, err
	}
	password, err := a.password(f.username, f.passwordFile)
	if err != nil {
		return nil, err
	}
	switch {
	case f.tokenURL != "":
		cfg.TokenSource, err = a.tokenSource(ctx, f, password, cfg.TLS)
	case f.clientID != "" || f.clientSecretFile != "" || len(f.scopes) > 0:
		err = usageErrorf("--client-id, --client-secret-file and --oauth2-scope are for --oauth2-token-url, which is not given")
	default:
		cfg.Username, cfg.Password = f.username, password
	}
	if err != nil {
		return nil, err
	}
	client, err := provisioning.New(address, cfg)
	if err != nil {
		return nil, usageErrorf("--url: %w", err)
	}
	return client, nil
}

func checkHTTPS(flag, address string, insecureHTTP bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return usageErrorf("%s: it cannot be parsed as a URL", flag) // it may hold a password
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return usageErrorf("%s %q: want a URL such as https://verifier.example", flag, u.Redacted())
	case u.Scheme == "http" && !insecureHTTP:
		return usageErrorf("%s %s: it is not https", flag, u.Redacted()).withHint("--insecure-http allows it, for trying things out")
	}
	return nil
}

// tokenSource gives access tokens (RFC 6749): by the client's credentials
// (section 4.4), or by a user's password (section 4.3), as Keycloak is asked.
func (a *app) tokenSource(ctx context.Context, f *serviceFlags, password string, conf *tls.Config) (oauth2.TokenSource, error) {
	if f.clientID == "" {
		return nil, usageErrorf("--oauth2-token-url needs --client-id")
	}
	if err := checkHTTPS("--oauth2-token-url", f.tokenURL, f.insecureHTTP); err != nil {
		return nil, err
	}
	secret, err := a.clientSecret(f.clientSecretFile)
	if err != nil {
		return nil, err
	}
	if secret == "" && f.username == "" {
		return nil, usageErrorf("the client's credentials need a secret").
			withHint("put it into a file for --client-secret-file, or into $%s", clientSecretEnv)
	}
	style := oauth2.AuthStyleAutoDetect
	if secret == "" {
		style = oauth2.AuthStyleInParams
	}
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{
		Transport:     apihttp.Transport(conf, 1, time.Second),
		Timeout:       tokenTimeout,
		CheckRedirect: apihttp.NoRedirects,
	})
	if f.username == "" {
		cfg := clientcredentials.Config{ClientID: f.clientID, ClientSecret: secret, TokenURL: f.tokenURL, Scopes: f.scopes, AuthStyle: style}
		return tokenFunc(func() (*oauth2.Token, error) { return cfg.Token(ctx) }), nil
	}
	cfg := oauth2.Config{ClientID: f.clientID, ClientSecret: secret, Scopes: f.scopes,
		Endpoint: oauth2.Endpoint{TokenURL: f.tokenURL, AuthStyle: style}}
	return tokenFunc(func() (*oauth2.Token, error) { return cfg.PasswordCredentialsToken(ctx, f.username, password) }), nil
}

// tokenFunc asks for a token; the client keeps it.
type tokenFunc func() (*oauth2.Token, error)

// Token asks for one. What the server says is cut short.
func (t tokenFunc) Token() (*oauth2.Token, error) {
	token, err := t()
	var e *oauth2.RetrieveError
	switch {
	case errors.As(err, &e) && e.ErrorCode != "":
		return nil, fmt.Errorf("the token endpoint answers %s", apihttp.Printable(e.ErrorCode+" "+e.ErrorDescription))
	case errors.As(err, &e) && e.Response != nil:
		return nil, fmt.Errorf("the token endpoint answers HTTP %d: %s", e.Response.StatusCode, apihttp.Printable(string(e.Body)))
	case err != nil:
		return nil, apihttp.WithoutURL(err)
	}
	return token, nil
}

// clientSecret is of a file or the environment, and may be missing.
func (a *app) clientSecret(file string) (string, error) {
	if file == "" {
		return a.env.Getenv(clientSecretEnv), nil
	}
	data, err := a.readFile(file)
	if err != nil {
		return "", err
	}
	secret := bytes.TrimRight(data, "\r\n")
	if len(secret) == 0 {
		return "", inputErrorf("%s: the secret is empty", file)
	}
	return string(secret), nil
}
