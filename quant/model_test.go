package quant

import (
	"bytes"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// A model whose file is cut short, at whatever place, while it is being loaded is refused and does not end the program.
func TestLoadShrinks(t *testing.T) {
	if testing.Short() {
		t.Skip("qemu-user does not tell the address that faulted")
	}
	data := written(t, calibrated(t, randomEncoder(t), 1))
	for _, left := range []int{0, len(data) / 3, len(data) - os.Getpagesize()} {
		path := save(t, data)
		f, err := safetensors.Map(path)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, int64(left)))
		m := &Model{}
		err = m.loadInt8(f, vit.ContextPrefix)
		if runtime.GOOS == "js" || runtime.GOOS == "windows" { // it was read
			require.NoError(t, err)
			return
		}
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "shrank")
		require.Nil(t, m.fixed)
		require.NoError(t, f.Close())
	}
}

// A loaded model does not need its file: no page of it stays mapped, and it may be overwritten.
func TestOpenModelLetsGo(t *testing.T) {
	e := calibrated(t, randomEncoder(t), 1)
	path := save(t, written(t, e))
	m, err := OpenModel(path, vit.ContextPrefix)
	require.NoError(t, err)
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil {
		require.NotContains(t, string(maps), path)
	}
	for _, l := range m.fixed.linears() {
		require.Nil(t, l.w)
	}
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte{7}, int(st.Size())), 0o600))
	pix := pictures(e.Config, 3)
	require.Equal(t, embed(e, 1, 3, pix, 3), embed(m.fixed, 2, 1, pix, 3))
}

// Whatever damage looks like, the message is about damage, where the file has a checksum.
func TestOpenModelDamaged(t *testing.T) {
	data := written(t, calibrated(t, randomEncoder(t), 1))
	var sum *safetensors.ChecksumError
	for what, damage := range map[string]func(b []byte){
		"a weight of -128":   func(b []byte) { b[len(b)-40] = 0x80 },
		"the end":            func(b []byte) { b[len(b)-1] ^= 1 },
		"another preset":     func(b []byte) { edit(b, `\"dim\":32`, `\"dim\":64`) },
		"a tensor's name":    func(b []byte) { edit(b, "encoder.norm.bias", "encoder.norm.bial") },
		"another precision":  func(b []byte) { edit(b, `"precision":"int8"`, `"precision":"int7"`) },
		"half of the file":   func(b []byte) { clear(b[len(b)/2:]) },
		"the checksum":       func(b []byte) { edit(b, `"sha256":"`, `"sha256":"`); b[bytes.Index(b, []byte(`"sha256":"`))+12] ^= 1 },
		"the fidelity's end": func(b []byte) { edit(b, `{\"a\":1}`, `{\"a\":2}`) },
	} {
		b := bytes.Clone(data)
		damage(b)
		require.NotEqual(t, data, b, what)
		_, err := OpenModel(save(t, b), vit.ContextPrefix)
		require.ErrorAs(t, err, &sum, what)
	}
	b := []byte(strings.Replace(string(data), `"sha256"`, `"sha255"`, 1))
	m, err := OpenModel(save(t, b), vit.ContextPrefix)
	require.NoError(t, err)
	require.False(t, m.Info().Checksummed)
	edit(b, "encoder.norm.bias", "encoder.norm.bial")
	_, err = OpenModel(save(t, b), vit.ContextPrefix)
	require.ErrorContains(t, err, "encoder.norm.bial")
}

// edit replaces a piece of b by another of the same length.
func edit(b []byte, old, new string) {
	if at := bytes.Index(b, []byte(old)); at >= 0 {
		copy(b[at:at+len(old)], new)
	}
}
