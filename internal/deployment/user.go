// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"fmt"
	"net/http"

	"golang.org/x/crypto/bcrypt"
)

// hashed returns a user's name and the hash of his password, as the services'
// configuration has them; nothing without a user.
func (u *User) hashed() (name, hash string, err error) {
	if u == nil {
		return "", "", nil
	}
	// The cheapest: it is spent on every request, and guards nothing here.
	h, err := bcrypt.GenerateFromPassword([]byte(u.Password), bcrypt.MinCost)
	if err != nil {
		return "", "", fmt.Errorf("hashing password: %w", err)
	}
	return u.Name, string(h), nil
}

// authorize puts a user's credentials on a request.
func (u *User) authorize(req *http.Request) {
	if u != nil {
		req.SetBasicAuth(u.Name, u.Password)
	}
}
