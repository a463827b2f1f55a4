package device

import (
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

// board is a fake of the sensors that Pace reads.
func board(root fstest.MapFS, celsius float64, throttled uint32) {
	put := func(name, text string) { root[name] = &fstest.MapFile{Data: []byte(text)} }
	put("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
	put("sys/class/thermal/thermal_zone0/temp", fmt.Sprintf("%.0f\n", celsius*1000))
	put("sys/devices/platform/soc/soc:firmware/get_throttled", fmt.Sprintf("0x%x\n", throttled))
	put("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1500000\n")
	put("sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "2400000\n")
}

func TestPaceRestsWhileHot(t *testing.T) {
	root := fstest.MapFS{}
	var said []string
	p := &Pace{Limit: 80, Say: func(s string) { said = append(said, s) }, root: root}
	now := time.Unix(0, 0)
	rest := func(celsius float64) float64 { // as a share of the work, after a look at the sensors
		board(root, celsius, 0)
		now = now.Add(paceEvery)
		return p.Rest(now, time.Second).Seconds()
	}

	require.Zero(t, rest(60))
	require.Zero(t, rest(79.9))
	require.Empty(t, said)
	require.Equal(t, Heat{Celsius: 79.9, MHz: 1500, MaxMHz: 2400}, p.Heat())

	first := rest(80)
	require.InDelta(t, 0.15/0.85, first, 1e-9)
	require.Len(t, said, 1)
	require.Greater(t, rest(83), first)
	held := rest(78) // between the two limits: as before
	require.InDelta(t, 0.30/0.70, held, 1e-9)
	for range 20 {
		rest(90)
	}
	require.InDelta(t, 3, rest(90), 1e-9, "never more than three quarters")
	require.Len(t, said, 1, "said once")
	for range 20 {
		rest(70)
	}
	require.Zero(t, rest(70))
	require.Len(t, said, 2)

	p.Limit = 0
	require.Zero(t, rest(120))
}

func TestPaceLooksSeldom(t *testing.T) {
	root := fstest.MapFS{}
	board(root, 90, 0)
	p := &Pace{Limit: 80, Say: func(string) {}, root: root}
	now := time.Unix(0, 0)
	before := p.Rest(now, time.Second)
	require.NotZero(t, before)
	require.Equal(t, before, p.Rest(now.Add(paceEvery-1), time.Second))
	require.Greater(t, p.Rest(now.Add(paceEvery), time.Second), before)
}

func TestPaceTellsOfVoltageAndThrottling(t *testing.T) {
	for bits := range uint32(16) {
		root := fstest.MapFS{}
		var said int
		p := &Pace{Say: func(string) { said++ }, root: root}
		now := time.Unix(0, 0)
		look := func(bits uint32) {
			board(root, 50, bits|bits<<16)
			now = now.Add(paceEvery)
			p.Rest(now, 0)
		}
		look(bits)
		want := 0
		if bits&1 != 0 {
			want++
		}
		if bits>>1 != 0 {
			want++
		}
		require.Equal(t, want, said, "bits %04b", bits)
		look(bits)
		require.Equal(t, want, said, "said once")
		require.Equal(t, bits&1 != 0, p.Heat().UnderVoltage)
		require.Equal(t, bits>>1 != 0, p.Heat().Throttled)
	}
}

func TestPaceWithoutSensors(t *testing.T) {
	p := &Pace{Limit: 80, Say: func(s string) { t.Error(s) }, root: fstest.MapFS{}}
	require.Zero(t, p.Rest(time.Unix(9, 0), time.Hour))
	require.Zero(t, p.Heat())
}
