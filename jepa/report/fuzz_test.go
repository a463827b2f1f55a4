package report

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/jepa"
	"edgejepa/vit"
)

// A log of any content gives a page.
func FuzzMetrics(f *testing.F) {
	p, err := vit.PresetNamed("micro")
	require.NoError(f, err)
	c := jepa.Default(p, 0, 0)
	c.SetSteps(100)
	f.Add([]byte(`{"step":1,"epoch":0.1,"loss":0.5,"lr":1e-3,"grad_norm":1e-300,"rankme":9,"feature_std":1,"temperature":50}
{"step":2,"epoch":0.2,"loss":null,"lr":1e308,"knn":50,"knn_random":20,"linear":60,"linear_random":30,"best":"knn"}
{"step":2,"loss":-0.5,"consistency":0,"consistency_random":100,"rankme":1e-308,"rested":1,"rollbacks":3,"skipped_steps":-1}
`))
	f.Add([]byte("{\"step\":9223372036854775807}\n{\"step\":-5,\"loss\":1e400}\n\x00\n[]\n{\"step\":3"))
	f.Add([]byte("{\"step\":50,\"loss\":1,\"best\":\"</script>\",\"lr\":5e-324}\n{\"step\":60,\"loss\":1.7976931348623157e308}\n{\"step\":70,\"loss\":-1.7976931348623157e308}\n"))
	f.Add([]byte("{\"step\":60,\"loss\":1.7976931348623157e308,\"temperature\":-1e300}\n")) // axes that never ended
	f.Fuzz(func(t *testing.T, log []byte) {
		lines, err := readLines(bytes.NewReader(log))
		require.NoError(t, err)
		require.LessOrEqual(t, len(lines), bytes.Count(log, []byte("\n"))+1)
		page := Page{Name: "run", Config: c, Lines: lines}
		require.NoError(t, page.Write(io.Discard))
	})
}
