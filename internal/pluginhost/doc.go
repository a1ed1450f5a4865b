// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package pluginhost does with the plugin what a Veraison VTS does, for tests:
// it starts the built binary as go-plugin's host, dispenses a handler and
// calls it in the VTS's order, with stores in memory between the calls.
//
// There are two generations. [Before2603] speaks to the evidence-, store- and
// endorsement-handler through Veraison v0.0.2501's own client code.
// [Since2603] speaks to the scheme-handler, through a client that is written
// here from the interface of v0.0.2603, and with CoRIM triples that Veraison's
// corim module encodes. Neither has HTTP, policies or signatures: what a real
// deployment adds is for package deployment.
package pluginhost
