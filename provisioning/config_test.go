// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/provisioning"
)

func TestConfig(t *testing.T) {
	const https = "https://verifier.example"
	for name, tc := range map[string]struct {
		url  string
		cfg  provisioning.Config
		want string
	}{
		"two transports":   {https, provisioning.Config{TLS: new(tls.Config), Transport: http.DefaultTransport}, "both Transport and TLS"},
		"two credentials":  {https, provisioning.Config{TokenSource: noToken{}, Username: "x"}, "both TokenSource and Username"},
		"password alone":   {https, provisioning.Config{Password: "x"}, "a Password without Username"},
		"colon":            {https, provisioning.Config{Username: "a:b"}, "a Username with a colon"},
		"timeout":          {https, provisioning.Config{Timeout: -1}, "negative Timeout"},
		"no TLS":           {"http://127.0.0.1", provisioning.Config{}, "without TLS"},
		"no URL":           {"", provisioning.Config{}, "is not one of https"},
		"no scheme":        {"verifier.example", provisioning.Config{}, "is not one of https"},
		"credentials":      {"https://a:b@verifier.example", provisioning.Config{}, "credentials in the provisioning service's URL"},
		"query":            {https + "/?x", provisioning.Config{}, "has a query"},
		"not to be parsed": {"https://a:b@%zz", provisioning.Config{}, "cannot be parsed"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := provisioning.New(tc.url, tc.cfg)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "a:b")
			require.Nil(t, c)
		})
	}
	c, err := provisioning.New(https+"/below/", provisioning.Config{})
	require.NoError(t, err)
	require.Equal(t, https+"/below", c.URL())
}
