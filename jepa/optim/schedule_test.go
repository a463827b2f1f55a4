package optim

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGoldenSchedule(t *testing.T) {
	text, err := os.ReadFile("../../testdata/golden/schedule.json")
	require.NoError(t, err)
	var g struct {
		TotalSteps       int     `json:"total_steps"`
		WarmupSteps      int     `json:"warmup_steps"`
		StartLR          float64 `json:"start_lr"`
		LR               float64
		FinalLR          float64    `json:"final_lr"`
		WeightDecay      float64    `json:"weight_decay"`
		FinalWeightDecay float64    `json:"final_weight_decay"`
		EMA              [2]float64 `json:"ema"`
		Steps            []struct {
			Step        int
			LR          float64
			WeightDecay float64 `json:"weight_decay"`
			EMA         float64
		}
	}
	require.NoError(t, json.Unmarshal(text, &g))
	require.Len(t, g.Steps, 200)
	s := Schedule{g.TotalSteps, g.WarmupSteps, g.StartLR, g.LR, g.FinalLR, g.WeightDecay, g.FinalWeightDecay, g.EMA[0], g.EMA[1]}
	for i, want := range g.Steps {
		require.InDelta(t, want.LR, s.LR(i), 1e-9, "step %d", want.Step)
		require.InDelta(t, want.WeightDecay, s.WeightDecay(i), 1e-9, "step %d", want.Step)
		require.InDelta(t, want.EMA, s.EMA(i), 1e-9, "step %d", want.Step)
	}
	require.Equal(t, g.FinalLR, s.LR(g.TotalSteps+5), "past the end")
}

func TestEdges(t *testing.T) {
	s := Schedule{Steps: 1, Warmup: 0, PeakLR: 1, FinalLR: 0.5, StartWD: 0.1, FinalWD: 0.1, StartEMA: 0.9, FinalEMA: 1}
	require.Equal(t, 0.5, s.LR(0))
	require.InDelta(t, 0.1, s.WeightDecay(0), 1e-15)
	require.Equal(t, 0.9, s.EMA(0))
	require.Equal(t, 1.0, ClipScale(5, 0))
	require.Equal(t, 1.0, ClipScale(0.5, 1))
	require.InDelta(t, 0.2, ClipScale(5, 1), 1e-6)
}

func TestAdamWCorrections(t *testing.T) {
	u := AdamW(1e-3, 0.05, 1)
	require.InDelta(t, 0.1, u.Corr1, 1e-7)
	require.InDelta(t, 0.0316227766, u.Corr2, 1e-6)
	u = AdamW(1e-3, 0.05, 1<<20)
	require.EqualValues(t, 1, u.Corr1)
	require.EqualValues(t, 1, u.Corr2)
}
