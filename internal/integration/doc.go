// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package integration has tests alone: of the plugin in a real Veraison
// deployment, spoken to over HTTP as attesters, relying parties and operators
// do.
//
//   - TestChecks: each check of an appraisal, with one defect at a time, in
//     evidence of a TPM simulator and of swtpm.
//   - TestSwapOverFilledStore: stores that Veraison's own parsec-tpm plugin has
//     filled.
//   - TestBadInput: evidence and endorsements of any bytes and any order.
//   - TestConcurrent, TestPluginSurvives, TestMemoryFlat: what an operator
//     relies on when nobody looks.
//   - TestTLSBinding: attested connections between machines with a TPM each, and
//     those that are refused.
//
// They need the Veraison services (make veraison), swtpm and the go command,
// and fail without. The plugin is built anew for each run. Under the race
// detector so is the plugin's process, and a race in it ends it.
package integration
