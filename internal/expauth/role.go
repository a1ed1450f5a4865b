// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import "fmt"

// Role is a side of the TLS connection. The zero value is neither.
type Role int

// The sides of a TLS connection.
const (
	Client Role = iota + 1
	Server
)

// Peer is the other side.
func (r Role) Peer() Role {
	switch r {
	case Client:
		return Server
	case Server:
		return Client
	default:
		return r
	}
}

// String is "client" or "server".
func (r Role) String() string {
	switch r {
	case Client:
		return "client"
	case Server:
		return "server"
	default:
		return fmt.Sprintf("role %d", int(r))
	}
}

func (r Role) check() error {
	if r != Client && r != Server {
		return fmt.Errorf("%v is neither the client nor the server", r)
	}
	return nil
}
