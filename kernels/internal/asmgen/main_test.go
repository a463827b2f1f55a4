package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The committed listings are what the generator prints.
func TestListingsAreFresh(t *testing.T) {
	for name, print := range listings {
		want, err := print(routines())
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join("..", "..", name))
		require.NoError(t, err)
		require.Equal(t, strings.Split(string(want), "\n"), strings.Split(string(got), "\n"),
			"%s is stale: run go generate ./kernels", name)
	}
}

func TestGenerateWritesEveryListing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, generate(dir))
	for name := range listings {
		require.FileExists(t, filepath.Join(dir, name))
	}
	require.Error(t, generate(filepath.Join(dir, "missing")))
}

// Products and sums are rounded one by one, and no instruction approximates.
func TestNoFusedOrApproximateInstructions(t *testing.T) {
	forbidden := regexp.MustCompile(`VFN?M(ADD|SUB)|VRCP|VRSQRT|FML[AS]|FRECP|FRSQRT`)
	require.Regexp(t, forbidden, "VFMADD231PS Y0, Y1, Y2")
	for name, print := range listings {
		text, err := print(routines())
		require.NoError(t, err)
		require.NotRegexp(t, forbidden, string(text), name)
	}
}

// The words are those that LLVM's and GNU's assemblers give for the same instructions: op v3, v1[, v2].
func TestARM64Encodings(t *testing.T) {
	want := map[string]uint32{
		"FADD4S":   0x4e22d423, // fadd v3.4s, v1.4s, v2.4s
		"FSUB4S":   0x4ea2d423, // fsub v3.4s, v1.4s, v2.4s
		"FMUL4S":   0x6e22dc23, // fmul v3.4s, v1.4s, v2.4s
		"FDIV4S":   0x6e22fc23, // fdiv v3.4s, v1.4s, v2.4s
		"FSQRT4S":  0x6ea1f823, // fsqrt v3.4s, v1.4s
		"FCMGT4S":  0x6ea2e423, // fcmgt v3.4s, v1.4s, v2.4s
		"BIC16B":   0x4e621c23, // bic v3.16b, v1.16b, v2.16b
		"FCVTL2D":  0x0e617823, // fcvtl v3.2d, v1.2s
		"FCVTL2D2": 0x4e617823, // fcvtl2 v3.2d, v1.4s
		"FADD2D":   0x4e62d423, // fadd v3.2d, v1.2d, v2.2d
		"FMUL2D":   0x6e62dc23, // fmul v3.2d, v1.2d, v2.2d
		"MUL4S":    0x4ea29c23, // mul v3.4s, v1.4s, v2.4s
		"FMIN4S":   0x4ea2f423, // fmin v3.4s, v1.4s, v2.4s
		"FCVTL4S":  0x0e217823, // fcvtl v3.4s, v1.4h
		"FCVTN4H":  0x0e216823, // fcvtn v3.4h, v1.4s
	}
	require.Len(t, arm64Macro, len(want))
	for _, m := range arm64Macro {
		word := m.base | 3 | 1<<5
		if !m.unary {
			word |= 2 << 16
		}
		require.Equal(t, fmt.Sprintf("%08x", want[m.name]), fmt.Sprintf("%08x", word), m.name)
	}
}

// A body that needs more registers than there are is an error, not a wrong listing.
func TestOutOfRegisters(t *testing.T) {
	k := &kernel{name: "greedy"}
	x := k.slice("x")
	k.n()
	var v []*value
	for range 40 {
		v = append(v, k.load(x))
	}
	sum := v[0]
	for _, u := range v[1:] {
		sum = k.add("sum", sum, u)
	}
	k.store(x, sum)
	for name, print := range listings {
		_, err := print([]*kernel{k})
		require.ErrorContains(t, err, "greedy: out of registers", name)
	}
}
