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

// Each flag of the firmware, alone and with all others, is told of once when it appears, and anew when it has been gone for
// an hour: the four of now, and the four of since boot unless the same has been told of already.
func TestPaceTellsOfEachFlag(t *testing.T) {
	for flags := range uint32(256) {
		root := fstest.MapFS{}
		var said []string
		p := &Pace{Limit: 80, Say: func(s string) { said = append(said, s) }, root: root}
		at := time.Unix(0, 0)
		look := func(now, ever uint32, after time.Duration) {
			said = nil
			board(root, 50, now|ever<<16)
			at = at.Add(after)
			p.Rest(at, 0)
		}
		now, ever := flags&15, flags>>4
		throttled := now&4 != 0 && now&1 == 0
		var want []string
		for i, strain := range strains {
			if now>>i&1 != 0 {
				want = append(want, strain.is)
			} else if ever>>i&1 != 0 {
				want = append(want, strain.was)
			}
		}
		if throttled {
			want = append(want, "resting part of the time until the firmware no longer holds the clock down; better cooling gives full speed")
		}
		look(now, ever, paceEvery)
		require.Equal(t, want, said, "%08b", flags)
		require.Equal(t, Power{now&1 != 0, now&2 != 0, now&4 != 0, now&8 != 0, ever&1 != 0, ever&2 != 0, ever&4 != 0, ever&8 != 0}, p.Heat().Power)
		require.Equal(t, now&14 != 0, p.Heat().Slowed())
		require.Equal(t, throttled, p.Rest(at, time.Second) > 0, "rests from heat, not because of a weak supply: %08b", flags)

		p.Limit = 0
		for range 3 { // comes and goes
			look(now, ever, paceQuiet-2*paceEvery)
			require.Empty(t, said, "%08b", flags)
			look(0, now|ever, paceEvery)
			require.Empty(t, said, "%08b", flags)
		}
		var again []string
		for i, strain := range strains {
			if now>>i&1 != 0 {
				again = append(again, strain.is)
			}
		}
		look(now, now|ever, paceQuiet)
		require.Equal(t, again, said, "%08b", flags)
	}
}

func TestPaceWithoutSensors(t *testing.T) {
	p := &Pace{Limit: 80, Say: func(s string) { t.Error(s) }, root: fstest.MapFS{}}
	require.Zero(t, p.Rest(time.Unix(9, 0), time.Hour))
	require.Zero(t, p.Heat())
}
