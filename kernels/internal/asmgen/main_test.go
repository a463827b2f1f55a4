package main

import (
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
