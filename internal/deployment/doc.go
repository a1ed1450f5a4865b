// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package deployment runs a real Veraison deployment on this machine: the vts,
// provisioning and verification services with a given folder of plugins, each
// on a free loopback port, started, waited for and stopped as one. It also has
// the small HTTP client that speaks to them.
//
// It is for integration tests, benchmarks and the demo. It is neither secure
// (plain HTTP, everybody may provision) nor meant to be: deploy/README.md is
// for those who run Veraison in earnest.
//
// The services are built by deploy/build.sh (make veraison).
package deployment
