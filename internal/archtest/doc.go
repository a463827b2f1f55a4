// Package archtest holds the architecture in tests: who may import whom, and that floating-point code gives the same bits
// on every machine.
package archtest

const module = "edgejepa"
