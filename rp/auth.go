// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"net/http"
)

// authorize puts the verifier's credentials on a request. Requests go to the
// verifier's origin alone: see resolve.
func (c *client) authorize(ctx context.Context, req *http.Request) error {
	if c.cfg.Username != "" {
		req.SetBasicAuth(c.cfg.Username, c.cfg.Password)
	}
	if c.token == nil {
		return nil
	}
	token, err := c.token.Get(ctx)
	if err != nil {
		return err
	}
	token.SetAuthHeader(req)
	return nil
}
