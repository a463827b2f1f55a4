package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// tree reads a machine of testdata/sysfs: files after lines "-- path --".
func tree(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "sysfs", name+".txt"))
	require.NoError(t, err)
	root := fstest.MapFS{}
	_, rest, _ := strings.Cut(string(b), "\n-- ")
	for part := range strings.SplitSeq(rest, "\n-- ") {
		path, content, ok := strings.Cut(part, " --\n")
		require.True(t, ok, part)
		root[path] = &fstest.MapFile{Data: []byte(content + "\n")}
	}
	return root
}

func TestPi5(t *testing.T) {
	p, err := Probe(tree(t, "pi5"))
	require.NoError(t, err)
	require.Equal(t, Profile{
		Board: "Raspberry Pi 5 Model B Rev 1.0", CPU: "4 × Cortex-A76", Cores: 4,
		Caches: []Cache{
			{1, "Data", 64 << 10, 4}, {1, "Instruction", 64 << 10, 4}, {2, "Unified", 512 << 10, 4}, {3, "Unified", 2 << 20, 1},
		},
		Clocks:       []Clock{{Cores: "0,1,2,3", Governor: "ondemand", MHz: 1500, MaxMHz: 2400}},
		Memory:       Memory{Total: 8256352 << 10, Available: 7410080 << 10, Swap: 524272 << 10},
		Temperatures: []Temperature{{"cpu-thermal", 51.25}},
		Power:        &Power{},
	}, p)
	require.Empty(t, p.Advice())
	require.Equal(t, 4, p.Workers())
	var out bytes.Buffer
	require.NoError(t, p.WriteText(&out))
	require.Equal(t, `board        Raspberry Pi 5 Model B Rev 1.0
cpu          4 × Cortex-A76
cores        4
cache        L1 data 4 × 64 KiB
cache        L1 instruction 4 × 64 KiB
cache        L2 unified 4 × 512 KiB
cache        L3 unified 2048 KiB
clock        1500 of 2400 MHz, governor ondemand, cores 0,1,2,3
memory       7.9 GiB, 7.1 GiB available, 512 MiB swap
temperature  cpu-thermal 51.2 °C
power        no under-voltage
`, out.String())
}

func TestPiZero2W(t *testing.T) {
	p, err := Probe(tree(t, "pizero2w"))
	require.NoError(t, err)
	require.Equal(t, Profile{
		Board: "Raspberry Pi Zero 2 W Rev 1.0", CPU: "4 × Cortex-A53", Cores: 4, CPUQuota: 2.5,
		Caches:       []Cache{{1, "Data", 32 << 10, 4}, {1, "Instruction", 32 << 10, 4}, {2, "Unified", 512 << 10, 1}},
		Clocks:       []Clock{{Cores: "0,1,2,3", Governor: "powersave", MHz: 600, MaxMHz: 1000}},
		Memory:       Memory{Total: 436652 << 10, Available: 289404 << 10, Swap: 102396 << 10, Limit: 200 << 20},
		Temperatures: []Temperature{{"cpu-thermal", 82.123}},
		Power:        &Power{UnderVoltage: true, Throttled: true, WasUnderVoltage: true, WasThrottled: true},
	}, p)
	require.Equal(t, int64(200<<20), p.Usable())
	require.Equal(t, 3, p.Workers())
	advice := strings.Join(p.Advice(), "\n")
	for _, part := range []string{"voltage is too low", "holds the clock down", "82 °C", "powersave"} {
		require.Contains(t, advice, part)
	}
	var out bytes.Buffer
	require.NoError(t, p.WriteText(&out))
	require.Contains(t, out.String(), "limited to 200 MiB by the control group")
	require.Contains(t, out.String(), "of which the control group grants 2.5")
}

func TestAMD64VM(t *testing.T) {
	p, err := Probe(tree(t, "amd64vm"))
	require.NoError(t, err)
	require.Equal(t, Profile{
		CPU: "AMD EPYC", Cores: 2,
		Caches: []Cache{
			{1, "Data", 48 << 10, 2}, {1, "Instruction", 32 << 10, 2}, {2, "Unified", 1 << 20, 2}, {3, "Unified", 32 << 20, 1},
		},
		Memory: Memory{Total: 24684084 << 10, Available: 24146868 << 10},
	}, p)
	b, err := json.Marshal(p)
	require.NoError(t, err)
	require.JSONEq(t, `{"cpu":"AMD EPYC","cores":2,"caches":[{"level":1,"type":"Data","bytes":49152,"count":2},
		{"level":1,"type":"Instruction","bytes":32768,"count":2},{"level":2,"type":"Unified","bytes":1048576,"count":2},
		{"level":3,"type":"Unified","bytes":33554432,"count":1}],"memory":{"total":25276502016,"available":24726392832}}`, string(b))
}

func TestControlGroups(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		cores float64
		bytes int64
	}{
		{nil, 0, 0},
		// Version 2: the tightest of a group and those around it.
		{map[string]string{"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/memory.max": "100", "sys/fs/cgroup/a/b/memory.max": "200", "sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 0.5, 100},
		// In a container the path is the host's and only the mount point is there.
		{map[string]string{"proc/self/cgroup": "0::/../../kubepods/x", "sys/fs/cgroup/memory.max": "300", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2, 300},
		// Version 1, with controllers mounted together.
		{map[string]string{"proc/self/cgroup": "4:memory:/d\n2:cpu,cpuacct:/d", "sys/fs/cgroup/memory/d/memory.limit_in_bytes": "400", "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_quota_us": "150000", "sys/fs/cgroup/cpu,cpuacct/d/cpu.cfs_period_us": "100000"}, 1.5, 400},
		{map[string]string{"proc/self/cgroup": "4:memory:/", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 0, 0},
	} {
		root := fstest.MapFS{}
		for name, content := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(content + "\n")}
		}
		p, err := Probe(root)
		require.NoError(t, err)
		require.Equal(t, c.cores, p.CPUQuota, "%v", c.files)
		require.Equal(t, c.bytes, p.Memory.Limit, "%v", c.files)
	}
}

func TestPowerBits(t *testing.T) {
	flags := []struct {
		bit int
		of  func(*Power) *bool
	}{
		{0, func(p *Power) *bool { return &p.UnderVoltage }}, {1, func(p *Power) *bool { return &p.FrequencyCapped }},
		{2, func(p *Power) *bool { return &p.Throttled }}, {3, func(p *Power) *bool { return &p.SoftLimit }},
		{16, func(p *Power) *bool { return &p.WasUnderVoltage }}, {17, func(p *Power) *bool { return &p.WasCapped }},
		{18, func(p *Power) *bool { return &p.WasThrottled }}, {19, func(p *Power) *bool { return &p.WasSoftLimit }},
	}
	for _, f := range flags {
		for _, format := range []string{"%x\n", "0x%x\n"} {
			p, err := Probe(fstest.MapFS{"sys/devices/platform/soc/soc:firmware/get_throttled": {Data: fmt.Appendf(nil, format, 1<<f.bit)}})
			require.NoError(t, err)
			var want Power
			*f.of(&want) = true
			require.Equal(t, &want, p.Power)
			require.Len(t, p.Advice(), 1)
		}
	}
	p, err := Probe(fstest.MapFS{"sys/class/hwmon/hwmon7/name": {Data: []byte("rpi_volt\n")}, "sys/class/hwmon/hwmon7/in0_lcrit_alarm": {Data: []byte("1\n")}})
	require.NoError(t, err)
	require.Equal(t, &Power{UnderVoltage: true}, p.Power)
}

func TestMixedCores(t *testing.T) {
	var b strings.Builder
	for i := range 6 {
		part := "0xd03"
		if i >= 4 {
			part = "0xd09"
		}
		fmt.Fprintf(&b, "processor : %d\nCPU implementer : 0x41\nCPU part : %s\n", i, part)
	}
	p, err := Probe(fstest.MapFS{"proc/cpuinfo": {Data: []byte(b.String() + "processor: 6\nCPU implementer : 0x61\nCPU part : 0x022\n")}})
	require.NoError(t, err)
	require.Equal(t, "4 × Cortex-A53 + 2 × Cortex-A73 + 1 × core 0x61:0x022", p.CPU)
	require.Equal(t, 7, p.Cores)
}

// TestNonsense: files that make no sense are named, the rest of the profile stays.
func TestNonsense(t *testing.T) {
	root := tree(t, "pi5")
	bad := map[string]string{
		"proc/meminfo":                                            "MemTotal: lots\nMemAvailable: 100 kB\n",
		"sys/devices/system/cpu/online":                           "7-3",
		"sys/class/thermal/thermal_zone0/temp":                    "\x1b[2Jwarm",
		"sys/devices/system/cpu/cpu0/cache/index0/size":           "64 furlongs",
		"proc/self/cgroup":                                        "zzz",
		"sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": strings.Repeat("9", 400),
	}
	for name, content := range bad {
		root[name] = &fstest.MapFile{Data: []byte(content)}
	}
	p, err := Probe(root)
	for name := range bad {
		require.ErrorContains(t, err, "/"+name)
	}
	require.NotContains(t, err.Error(), "\x1b")
	require.Less(t, len(err.Error()), 1000)
	require.Equal(t, int64(100<<10), p.Memory.Available)
	require.Equal(t, "Raspberry Pi 5 Model B Rev 1.0", p.Board)

	// Nothing there, or nothing readable, is no error.
	for _, empty := range []fs.FS{fstest.MapFS{}, asleep{tree(t, "pi5")}} {
		p, err = Probe(empty)
		require.NoError(t, err)
		require.Equal(t, Profile{}, p)
		require.Zero(t, p.Usable())
		require.Equal(t, 1, p.Workers())
	}
	var out bytes.Buffer
	require.NoError(t, Profile{}.WriteText(&out))
	require.Empty(t, out.String())
	require.NoError(t, Profile{Board: "a\nb\x1b[2J"}.WriteText(&out))
	require.Equal(t, "board        a?b?[2J\n", out.String())
}

// asleep is a file system whose files fail when read, as some sensors do.
type asleep struct{ fs.FS }

func (a asleep) Open(name string) (fs.File, error) {
	f, err := a.FS.Open(name)
	if info, serr := fs.Stat(a.FS, name); err == nil && serr == nil && info.Mode().IsRegular() {
		return failing{f}, nil
	}
	return f, err
}

type failing struct{ fs.File }

func (failing) Read([]byte) (int, error) { return 0, errors.New("no data available") }

func TestBudget(t *testing.T) {
	p := Profile{Memory: Memory{Total: 1 << 30, Available: 256 << 20}}
	for _, c := range []struct{ asked, want int64 }{{0, 224 << 20}, {100 << 20, 100 << 20}, {256 << 20, 256 << 20}} {
		got, err := Budget(p, c.asked)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	_, err := Budget(p, 257<<20)
	require.ErrorContains(t, err, "257 MiB is more than the 256 MiB")
	_, err = Budget(p, -1)
	require.Error(t, err)
	p.Memory.Limit = 40 << 20
	got, err := Budget(p, 0)
	require.NoError(t, err)
	require.Equal(t, int64(20<<20), got)
	p.Memory.Limit, p.Memory.Available = 2<<30, 8<<30
	got, err = Budget(p, 0)
	require.NoError(t, err)
	require.Equal(t, int64(2<<30-256<<20), got)
	got, err = Budget(Profile{}, 0)
	require.NoError(t, err)
	require.Zero(t, got)
	got, err = Budget(Profile{}, 5)
	require.NoError(t, err)
	require.Equal(t, int64(5), got)
}

func TestHere(t *testing.T) {
	p, err := Here()
	require.NoError(t, err)
	require.Equal(t, runtime.GOOS+"/"+runtime.GOARCH, p.System)
	require.NotEmpty(t, p.ISA)
	require.Positive(t, p.Cores)
	require.NoError(t, p.WriteText(io.Discard))
	if runtime.GOOS == "linux" {
		require.Positive(t, p.Usable())
	}
}
