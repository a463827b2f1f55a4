// Package licenses carries the licences of what is linked into the programs, so that a copied program has them with it.
package licenses

import _ "embed"

// Text lists the modules linked into each program, with version and licence, and then holds the licences themselves.
//
//go:embed THIRD_PARTY_LICENSES.txt
var Text string
