// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/provisioning"
)

func TestCapabilities(t *testing.T) {
	s := serve(t, hangUp, reply(500, ""), func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/.well-known/veraison/provisioning" {
			w.WriteHeader(http.StatusNotFound)
		}
		reply(200, wellKnown)(w, r)
	})
	c, err := s.client(t, nil).Capabilities(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{mediaTypeV1}, c.MediaTypes)
	require.Equal(t, "v0.0.2501", c.Version)
	require.Equal(t, "READY", c.State)
	require.EqualValues(t, 3, s.count.Load()) // asking is safe to repeat
}

func TestBadCapabilities(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"no JSON":         {reply(200, "<html>"), "malformed document"},
		"another service": {reply(200, "{}"), "is it a Veraison provisioning service?"},
		"media type":      {reply(200, `{"version":"1","media-types":["a/b; c"]}`), `the media type "a/b; c"`},
		"too many":        {reply(200, `{"version":"1","media-types":["a/b"`+strings.Repeat(`,"a/b"`, 1000)+"]}"), "1001 media types"},
		"unauthorized":    {problem(401, "no Basic Authorization given"), "HTTP 401: Unauthorized: no Basic Authorization given"},
		"too long":        {reply(200, strings.Repeat(" ", 1<<20)+wellKnown), "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.answer)
			c, err := s.client(t, nil).Capabilities(t.Context())
			require.ErrorContains(t, err, tc.want)
			require.Nil(t, c)
		})
	}
}

func TestMediaTypes(t *testing.T) {
	const profile = `profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`
	v1, v2 := "application/corim-unsigned+cbor; "+profile, "application/rim+cbor; "+profile
	cose := "application/rim+cose; " + profile
	for _, tc := range []struct {
		announced []string
		dialect   endorsements.Dialect
		unsigned  string
		signed    string
	}{
		{announced: []string{v1}, dialect: endorsements.DialectV1, unsigned: v1},
		{announced: []string{v1, v2, cose}, dialect: endorsements.DialectV2, unsigned: v2, signed: cose},
		// The spelling is the service's.
		{announced: []string{"application/rim+cbor;" + profile}, dialect: endorsements.DialectV2, unsigned: "application/rim+cbor;" + profile},
		{announced: []string{`application/rim+cbor; profile="tag:other"`, "application/rim+cbor"}},
		{announced: nil},
	} {
		t.Run(fmt.Sprint(tc.announced), func(t *testing.T) {
			c := provisioning.Capabilities{MediaTypes: tc.announced}
			d, ok := c.Dialect()
			require.Equal(t, tc.dialect, d)
			require.Equal(t, tc.dialect != 0, ok)
			unsigned, ok := c.MediaType(d, false)
			require.Equal(t, tc.unsigned, unsigned)
			require.Equal(t, tc.unsigned != "", ok)
			signed, ok := c.MediaType(d, true)
			require.Equal(t, tc.signed, signed)
			require.Equal(t, tc.signed != "", ok)
		})
	}
	_, ok := (&provisioning.Capabilities{MediaTypes: []string{""}}).Spelling("")
	require.False(t, ok)
}
