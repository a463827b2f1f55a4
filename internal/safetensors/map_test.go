package safetensors

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample is a checked file of about 5 MB: what Drop gives back and what Pour takes at a time are parts of it.
func sample(t *testing.T) (path string, data []byte) {
	t.Helper()
	big := make([]float32, 5*dropEvery/16+3)
	for i := range big {
		big[i] = float32(i%1000) / 8
	}
	var b bytes.Buffer
	require.NoError(t, WriteChecked(&b, map[string]string{"k": "v"}, []Tensor{F64("wide", []int{2}, []float64{1, 2}),
		F32("a", []int{len(big)}, big), F32("b", []int{3, 1}, []float32{1, -2, 0.5}), F32("none", []int{0}, nil),
		F32("c", []int{len(big)}, big), F32("d", []int{len(big)}, big)}))
	path = filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path, b.Bytes()
}

// Map gives what Open gives, before and after its memory was given back.
func TestMap(t *testing.T) {
	path, data := sample(t)
	want, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, want.Close())
	got, err := Map(path)
	require.NoError(t, err)
	require.Equal(t, want.Metadata, got.Metadata)
	require.Equal(t, path, got.Path)
	require.NoError(t, got.Guard(got.Verify))
	require.NoError(t, got.CheckFinite())
	require.Len(t, got.Tensors, len(want.Tensors))
	for range 2 {
		for i := range want.Tensors {
			w, g := &want.Tensors[i], &got.Tensors[i]
			require.Equal(t, w.Name, g.Name)
			require.Equal(t, w.Shape, g.Shape)
			require.True(t, bytes.Equal(w.Data, g.Data), w.Name)
			got.Drop(g.Data)
			want.Drop(w.Data)
			got.Drop(w.Data)
		}
	}
	h := sha256.New()
	n, err := got.Pour(h).Write(got.raw)
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	sum := sha256.Sum256(data)
	require.Equal(t, sum[:], h.Sum(nil))
	var e *os.PathError
	require.ErrorAs(t, got.Guard(func() error { return &os.PathError{} }), &e, "errors pass")
	require.NoError(t, got.Close())
	require.Nil(t, got.Tensors[1].Data)
	require.NoError(t, got.Close(), "once more does nothing")

	// What Open refuses, Map refuses.
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o644))
	got, err = Map(path)
	require.NoError(t, err)
	defer got.Close()
	var sumErr *ChecksumError
	require.ErrorAs(t, got.Guard(got.Verify), &sumErr)
	require.NoError(t, os.WriteFile(path+"2", data[:len(data)-1], 0o644))
	_, err = Map(path + "2")
	require.ErrorContains(t, err, path+"2: tensor")
	_, err = Map(filepath.Dir(path))
	require.ErrorContains(t, err, "not a regular file")
}

// A file that is cut short under the reader is an error, in every page of it; so is every later look.
func TestMapShrinks(t *testing.T) {
	if testing.Short() {
		t.Skip("qemu-user does not tell the address that faulted")
	}
	path, data := sample(t)
	f, err := Map(path)
	require.NoError(t, err)
	defer f.Close()
	if !f.mapped {
		t.Skip("no mapping on this system: Map reads the file")
	}
	last := f.Tensors[len(f.Tensors)-1].Data
	look := func() error {
		sum := 0
		for _, v := range last {
			sum += int(v)
		}
		require.NotZero(t, sum)
		return nil
	}
	require.NoError(t, f.Guard(look))
	require.NoError(t, os.Truncate(path, int64(len(data)/2)))
	var bad *FormatError
	for _, do := range []func() error{look, f.Verify, f.CheckFinite} {
		err := f.Guard(do)
		require.ErrorAs(t, err, &bad)
		require.Equal(t, path, bad.Path)
		require.ErrorContains(t, err, "shrank")
	}
	require.NoError(t, os.WriteFile(path, data, 0o644))
	require.NoError(t, f.Guard(f.Verify), "it is back")
}

// Guard lets panics through that are about something else, faults included.
func TestGuardPanics(t *testing.T) {
	path, _ := sample(t)
	f, err := Map(path)
	require.NoError(t, err)
	defer f.Close()
	boom := errors.New("boom")
	require.PanicsWithValue(t, boom, func() { _ = f.Guard(func() error { panic(boom) }) })
	var none *int
	require.Panics(t, func() { _ = f.Guard(func() error { return errors.New(string(rune(*none))) }) })
}

// A Stream's CheckFinite looks at what is in the file, in every piece of it.
func TestStreamCheckFinite(t *testing.T) {
	for _, at := range []int{-1, 3, piece/4 + 2} {
		x := make([]float32, piece/4+5)
		if at >= 0 {
			x[at] = float32(math.NaN())
			x[len(x)-1] = float32(math.Inf(1))
		}
		var b bytes.Buffer
		require.NoError(t, Write(&b, nil, []Tensor{F32("ok", []int{2}, []float32{1, 2}), F32("x", []int{len(x)}, x)}))
		path := filepath.Join(t.TempDir(), "x.safetensors")
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
		f, err := Stream(path)
		require.NoError(t, err)
		if err := f.CheckFinite(); at < 0 {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, fmt.Sprintf(`"x": element %d is not a finite number`, at))
		}
		require.NoError(t, f.Close())
	}
}
