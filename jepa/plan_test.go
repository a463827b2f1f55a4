package jepa

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
)

// plans go from everything kept to one picture at a time, through batches that do not divide evenly.
var plans = []Plan{
	{},
	{Micro: 3},
	{Micro: 4, Head: 3, Segment: 70},
	{Head: 1, Segment: 1},
	{Head: 4, Recompute: 1, RecomputeHead: true},
	{Recompute: 99, Segment: 100},
	{Micro: 5, Head: 2, Recompute: 1},
	{Micro: 1, Recompute: 2, RecomputeHead: true, Segment: 1},
}

// The checkpoint has the same bytes whatever the plan and the number of threads.
func TestPlanChangesNothing(t *testing.T) {
	for _, r := range hashRuns {
		c := microConfig()
		r.change(&c)
		var want []byte
		for i, p := range plans {
			threads := []int{1, 2, 3}
			if testing.Short() || i > 3 {
				threads = []int{i%3 + 1}
			}
			for _, n := range threads {
				pool := parallel.New(n)
				tr, err := NewTrainer(c, p, pool)
				require.NoError(t, err)
				var stats []Stats
				for s := range 2 {
					stats = append(stats, tr.Step(pictures(c, uint64(s))))
				}
				require.False(t, stats[1].Skipped)
				got := append(checkpointBytes(t, tr), fmt.Sprint(stats)...)
				if want == nil {
					want = got
				}
				require.True(t, string(want) == string(got), "%s: %+v, %d threads", r.name, p, n)
				pool.Close()
			}
		}
	}
}
