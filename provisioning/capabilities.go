// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/apihttp"
)

const (
	wellKnownPath         = "/.well-known/veraison/provisioning"
	wellKnownType         = "application/vnd.veraison.discovery+json"
	capabilitiesOperation = "asking what the provisioning service takes"

	maxMediaTypes = 1000
)

// Capabilities is what a provisioning service says of itself.
type Capabilities struct {
	// MediaTypes are those of the endorsements that it takes, in its spelling.
	MediaTypes []string
	// Version is the service's, as it names it.
	Version string
	// State is the verifier's behind it, such as READY.
	State string
}

// Capabilities asks what the service takes.
func (c *Client) Capabilities(ctx context.Context) (*Capabilities, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	a, _, err := c.do(ctx, &request{
		operation: capabilitiesOperation,
		method:    http.MethodGet,
		url:       apihttp.Endpoint(c.base, wellKnownPath, ""),
		accept:    wellKnownType,
		attempts:  attempts,
	})
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, a.problem(capabilitiesOperation)
	}
	capabilities, err := readCapabilities(a.body)
	if err != nil {
		return nil, &ProtocolError{Operation: capabilitiesOperation, Err: err}
	}
	return capabilities, nil
}

func readCapabilities(body []byte) (*Capabilities, error) {
	var document struct {
		MediaTypes []string `json:"media-types"`
		Version    *string  `json:"version"`
		State      string   `json:"service-state"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return nil, fmt.Errorf("malformed document: %w", err)
	}
	// Any JSON object would pass for a service that takes nothing.
	if document.Version == nil {
		return nil, fmt.Errorf("the document has no version; is it a Veraison provisioning service?")
	}
	if len(document.MediaTypes) > maxMediaTypes {
		return nil, fmt.Errorf("the document has %d media types, more than %d", len(document.MediaTypes), maxMediaTypes)
	}
	for _, text := range document.MediaTypes {
		if _, _, err := mime.ParseMediaType(text); err != nil {
			return nil, fmt.Errorf("the media type %.100q: %w", text, err)
		}
	}
	return &Capabilities{
		MediaTypes: document.MediaTypes,
		Version:    apihttp.Printable(*document.Version),
		State:      apihttp.Printable(document.State),
	}, nil
}

// Spelling returns a media type as the service spells it, and whether the
// service takes it. Veraison since v0.0.2603 compares the text, so send this.
func (c *Capabilities) Spelling(mediaType string) (string, bool) {
	wanted, params, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return "", false
	}
	i := slices.IndexFunc(c.MediaTypes, func(text string) bool {
		t, p, err := mime.ParseMediaType(text)
		return err == nil && t == wanted && maps.Equal(p, params)
	})
	if i < 0 {
		return "", false
	}
	return c.MediaTypes[i], true
}

// MediaType returns the media type, in the service's spelling, of CoRIMs of
// this project's profile in a dialect, signed or not, and whether the service
// takes them.
func (c *Capabilities) MediaType(d endorsements.Dialect, signed bool) (string, bool) {
	mediaType := d.MediaType(signed)
	if mediaType == "" {
		return "", false
	}
	return c.Spelling(mediaType)
}

// Dialect returns the newest dialect in which the service takes unsigned CoRIMs
// of this project's profile; false if it takes none.
func (c *Capabilities) Dialect() (endorsements.Dialect, bool) {
	for _, d := range []endorsements.Dialect{endorsements.DialectV2, endorsements.DialectV1} {
		if _, ok := c.MediaType(d, false); ok {
			return d, true
		}
	}
	return 0, false
}
