package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFidelityOfRun is TestExportFidelity for a network that has learnt something, and for what it is used for: k-NN and
// linear probe. It is for those who have such a run, and pictures in one folder a class or not:
//
//	EDGEJEPA_FIDELITY_RUN=RUN EDGEJEPA_FIDELITY_PICTURES=DIR go test ./cmd/edge-train -run FidelityOfRun -v
func TestFidelityOfRun(t *testing.T) {
	run, pictures := os.Getenv("EDGEJEPA_FIDELITY_RUN"), os.Getenv("EDGEJEPA_FIDELITY_PICTURES")
	if run == "" || pictures == "" {
		t.Skip("not asked for: EDGEJEPA_FIDELITY_RUN and EDGEJEPA_FIDELITY_PICTURES name no run and pictures")
	}
	report := filepath.Join(t.TempDir(), "report.json")
	code, stdout, stderr := command(t, "export", "--model", run, "--out", filepath.Join(t.TempDir(), "m"),
		"--calibrate", pictures, "--report-pictures", "10000", "--report", report)
	require.Zero(t, code, stderr)
	t.Log(stdout)
	var r exportReport
	require.NoError(t, json.Unmarshal(file(t, report), &r))
	f := r.Fidelity
	require.True(t, faithful(f), "%+v", f)
	if f.KNN != nil {
		require.InDelta(t, *f.KNNFloat, *f.KNN, 0.5)
		require.InDelta(t, *f.LinearFloat, *f.Linear, 0.5)
	}
	require.Less(t, float64(r.Bytes), 1.15*float64(r.Parameters))
}
