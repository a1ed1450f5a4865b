// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package embedded is a verifier in this process: package appraisal over
// CoRIMs, for those who are too small for a Veraison deployment, and for tests.
//
// New takes the endorsements (LoadFiles reads them), and makes an rp.Verifier
// that gives the same results for the same evidence as Veraison with this
// project's plugin: signed EARs, which go through the same verification. Evidence
// that is bad has a result too, which condemns it.
//
// The endorsements are trusted: they decide what is good. See package
// endorsements for what is not checked about them. The key that signs the
// results matters only where a result leaves the process.
package embedded
