// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// Entity is an organisation that has to do with a CoRIM
// (draft-ietf-rats-corim-11, 7.2). It describes the author and decides nothing:
// anybody can write any name.
type Entity struct {
	Name string
	// RegID is a URI that identifies the organisation, or empty.
	RegID string
	// Roles has at least one element.
	Roles []Role
}

// Role is what an entity does for a CoRIM (draft-ietf-rats-corim-11, 4.1.5).
type Role int

const (
	RoleManifestCreator Role = 1
	// RoleManifestSigner is not in DialectV1, which is older.
	RoleManifestSigner Role = 2
)

// String is the name that the specification has for the role.
func (r Role) String() string {
	switch r {
	case RoleManifestCreator:
		return "manifest-creator"
	case RoleManifestSigner:
		return "manifest-signer"
	}
	return fmt.Sprintf("Role(%d)", int(r))
}

const (
	entityName = iota
	entityRegID
	entityRoles
)

// roles are the numbers of an entity's roles in one kind of container.
type roles struct {
	names       string
	first, last uint64
}

var comidRoles = roles{"the role tag-creator (0), creator (1) or maintainer (2)", 0, 2}

func corimRoles(d Dialect) roles {
	if d == DialectV1 {
		return roles{"the role manifest-creator (1)", 1, 1}
	}
	return roles{"the role manifest-creator (1) or manifest-signer (2)", 1, 2}
}

func (r roles) has(role uint64) bool { return r.first <= role && role <= r.last }

var entityFields = []string{"name", "regid", "roles"}

// readEntities reads entities (draft-ietf-rats-corim-11, 7.2), whose roles are
// those that their container knows.
func readEntities(r *reader, roles roles) (entities []Entity, err error) {
	err = r.list("an array of entities", func(i int) error {
		e, err := readEntity(r, roles)
		if err != nil {
			return inElement(i, err)
		}
		entities = append(entities, e)
		return nil
	})
	return entities, err
}

func readEntity(r *reader, roles roles) (e Entity, err error) {
	seen, err := r.fields("an entity map", entityFields, func(key int) error {
		switch key {
		case entityName:
			e.Name, err = r.text("a text string")
			if err == nil && e.Name == "" {
				return fault("expected a text string, found an empty one")
			}
			return err
		case entityRegID:
			e.RegID, err = readURI(r)
			return err
		default:
			return r.list("an array of roles", func(i int) error {
				before := *r
				role, err := r.uint(roles.names)
				if err == nil && !roles.has(role) {
					err = fault("expected %s, found %s", roles.names, before.next())
				}
				if err != nil {
					return inElement(i, err)
				}
				e.Roles = append(e.Roles, Role(role))
				return nil
			})
		}
	})
	if err != nil {
		return e, err
	}
	for _, key := range []int{entityName, entityRoles} {
		if !seen.has(key) {
			return e, inField(entityFields[key], fault("missing"))
		}
	}
	return e, nil
}

// readURI reads a URI (RFC 8949, 3.4.5.3), whose form is its author's affair.
func readURI(r *reader) (string, error) {
	if err := r.tag(tagURI, "a URI (tag 32)"); err != nil {
		return "", err
	}
	uri, err := r.text("a URI (tag 32)")
	if err == nil && uri == "" {
		return "", fault("expected a URI (tag 32), found an empty one")
	}
	return uri, err
}

// checkSigners: a CoRIM has one signer at most (draft-ietf-rats-corim-11,
// 4.1.5).
func checkSigners(entities []Entity) error {
	signer := -1
	for i, e := range entities {
		if !slices.Contains(e.Roles, RoleManifestSigner) {
			continue
		}
		if signer >= 0 {
			return inElement(i, inField("roles", fault("a second entity with the role manifest-signer (2); entities[%d] has it", signer)))
		}
		signer = i
	}
	return nil
}

// checkEntities checks entities that anybody can have put together.
func checkEntities(entities []Entity, d Dialect) error {
	roles := corimRoles(d)
	for i, e := range entities {
		if e.Name == "" || !utf8.ValidString(e.Name) {
			return inElement(i, inField("name", fault("expected text, found %s", quote(e.Name))))
		}
		if !utf8.ValidString(e.RegID) {
			return inElement(i, inField("regid", fault("expected a URI, found %s", quote(e.RegID))))
		}
		if len(e.Roles) == 0 {
			return inElement(i, inField("roles", fault("none; expected %s", roles.names)))
		}
		for j, role := range e.Roles {
			if role < 0 || !roles.has(uint64(role)) {
				return inElement(i, inField("roles", inElement(j, fault("expected %s, found %s (%d), which dialect %s does not have",
					roles.names, role, int(role), d))))
			}
		}
	}
	return checkSigners(entities)
}
